-- depends: 0012.hub

set local role audit_owner;

create table audit.distributed_month (
    partition text primary key,
    ends timestamptz not null,
    server name not null,
    remote_name text not null,
    events bigint not null,
    first_id bigint not null,
    last_id bigint not null,
    last_xid xid8 not null,
    distributed_by name not null default session_user,
    distributed_at timestamptz not null default clock_timestamp(),
    dropped_at timestamptz,
    constraint ids_lie_within check (events > 0 and first_id <= last_id)
);

comment on table audit.distributed_month is
    'The months of which the organizations'' events lie on another server, or distributed by Citus, and are read from there. Written by audit.distribute_month() and audit.gather_month().';
comment on column audit.distributed_month.partition is 'The month, a partition of audit.event.';
comment on column audit.distributed_month.ends is 'When the month ended.';
comment on column audit.distributed_month.server is 'The foreign server that is asked for them.';
comment on column audit.distributed_month.remote_name is 'What their table is called there.';
comment on column audit.distributed_month.events is 'How many lie there.';
comment on column audit.distributed_month.first_id is 'The lowest of their ids.';
comment on column audit.distributed_month.last_id is
    'The highest of their ids: what the month gets later has a higher one, and stays here, as do events of no organization.';
comment on column audit.distributed_month.last_xid is 'The highest of their transactions: by it a look for new events leaves the month out.';
comment on column audit.distributed_month.distributed_by is 'The role that distributed it.';
comment on column audit.distributed_month.distributed_at is 'When.';
comment on column audit.distributed_month.dropped_at is
    'When retention dropped it: what lies there is emptied next, by audit.sweep_history(); null: it has not been dropped.';

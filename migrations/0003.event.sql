-- depends: 0002.tracking

set local role audit_owner;

create type audit.actor as (
    type text,
    id text,
    label text,
    ip inet,
    user_agent text,
    request_id text,
    reason text
);

comment on type audit.actor is
    'Who did it, as the application says (or, where it says nothing, the database role).';

create sequence audit.event_id_seq as bigint;

create table audit.event (
    id bigint not null default nextval('audit.event_id_seq'),
    xid xid8 not null default pg_current_xact_id(),
    occurred_at timestamptz not null default clock_timestamp(),
    org_id text,
    category text not null,
    action text not null,
    operation text,
    table_name text,
    resource_type text not null,
    resource_id text,
    resource_label text,
    actor_type text not null,
    actor_id text,
    actor_label text,
    actor_ip inet,
    user_agent text,
    request_id text,
    reason text,
    db_role text not null default session_user,
    client_addr inet default inet_client_addr(),
    application_name text default current_setting('application_name', true),
    before jsonb,
    after jsonb,
    changed text[],
    primary key (id, occurred_at),
    constraint operation_is_known check (operation in ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE')),
    constraint rows_fit_operation check (
        case operation
            when 'INSERT' then before is null and after is not null
            when 'UPDATE' then before is not null and after is not null
            when 'DELETE' then before is not null and after is null
            when 'TRUNCATE' then before is not null and after is null
            else true
        end
    ),
    constraint changed_says_what_an_update_moved check ((operation = 'UPDATE') = (changed is not null))
)
partition by range (occurred_at);

alter sequence audit.event_id_seq owned by audit.event.id;

comment on table audit.event is
    'One row an event. Append-only: UPDATE, DELETE and TRUNCATE are refused for everyone. Partitioned by month of occurred_at.';
comment on column audit.event.id is 'Identity, and the idempotency key when forwarded. Given before commit: ids do not become visible in their order.';
comment on column audit.event.xid is 'The transaction that recorded it (and made the change). What the forwarding cursor compares with snapshots.';
comment on column audit.event.occurred_at is 'The wall clock when the change was recorded, not when its transaction began.';
comment on column audit.event.org_id is 'The organization it belongs to, as text; null: none.';
comment on column audit.event.category is 'What the log is filtered by; a name of audit.category.';
comment on column audit.event.action is 'What happened: `key.rotated`.';
comment on column audit.event.operation is 'INSERT, UPDATE, DELETE or TRUNCATE; null where no row changed.';
comment on column audit.event.table_name is 'The table, schema-qualified and quoted where need be.';
comment on column audit.event.resource_type is 'What kind of thing it happened to: `key`.';
comment on column audit.event.resource_id is 'Its key as text, after the change (before it, where nothing is left); several columns are separated by commas, quoted as in a row literal.';
comment on column audit.event.resource_label is 'The name that people know it by.';
comment on column audit.event.actor_type is '`user`, `service` or whatever the application said; `database` where it said nothing.';
comment on column audit.event.actor_id is 'The actor''s stable id, as claimed by the application; else the database role.';
comment on column audit.event.actor_label is 'The actor''s name or e-mail address, as claimed.';
comment on column audit.event.actor_ip is 'The actor''s address, as claimed.';
comment on column audit.event.user_agent is 'The actor''s user agent, as claimed.';
comment on column audit.event.request_id is 'The application''s request id, as claimed.';
comment on column audit.event.reason is 'Why, as claimed.';
comment on column audit.event.db_role is 'The role that really logged in (session_user), whatever was claimed.';
comment on column audit.event.client_addr is 'The address that the connection really came from; null: a Unix socket.';
comment on column audit.event.application_name is 'The connection''s application_name.';
comment on column audit.event.before is 'The audited columns before the change, secrets redacted.';
comment on column audit.event.after is 'The audited columns after the change, secrets redacted.';
comment on column audit.event.changed is 'The columns that an UPDATE moved, redacted ones included; null for other operations.';

-- The newest page, with or without an organization. (The primary key serves `show` and the forwarder's order.)
create index event_time on audit.event (occurred_at, id);
create index event_org_time on audit.event (org_id, occurred_at, id);
-- A batch is found by transaction id: see audit.batch().
create index event_xid on audit.event (xid);

create table audit.event_default partition of audit.event default;

comment on table audit.event_default is
    'Catches events of months that have no partition yet; audit.make_partitions() turns it into one.';

create table audit.org_grant (
    role_name name not null,
    org_id text not null,
    granted_at timestamptz not null default now(),
    primary key (role_name, org_id)
);

comment on table audit.org_grant is
    'Which organizations'' events a role under audit_reader may read. Written by audit.grant_org() and audit.revoke_org().';
comment on column audit.org_grant.role_name is 'The role; its members may read too.';
comment on column audit.org_grant.org_id is 'The organization.';
comment on column audit.org_grant.granted_at is 'When it was granted.';

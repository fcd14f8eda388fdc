-- depends: 0008.hub

-- Imports of logs that another tool recorded.
set local role audit_owner;

create table audit.import (
    id integer generated always as identity primary key,
    tool text not null,
    relation regclass not null unique,
    source text not null,
    settled_key bigint not null default -9223372036854775808,
    settled_row text not null default '',
    last_key bigint not null default -9223372036854775808,
    last_row text not null default '',
    high_key bigint not null default -9223372036854775808,
    high_row text not null default '',
    bound_key bigint,
    bound_xid xid8,
    begun_at timestamptz,
    rows bigint not null default 0,
    imported bigint not null default 0,
    events bigint not null default 0,
    unfit bigint not null default 0,
    skipped bigint not null default 0,
    first_at timestamptz,
    last_at timestamptz,
    constraint tool_is_known check (tool in ('supa_audit', 'audit_trigger', 'litellm')),
    constraint positions_are_in_order check (
        (settled_key, settled_row) <= (last_key, last_row) and (last_key, last_row) <= (high_key, high_row)
    )
);

comment on table audit.import is
    'The tables of other tools that were imported, and how far: one row a table. Written by pgtrail import. What it read is `rows`, and so on, of the run in progress or the last one.';
comment on column audit.import.id is 'Identity.';
comment on column audit.import.tool is 'Whose table it is: `supa_audit`, `audit_trigger` or `litellm`.';
comment on column audit.import.relation is 'The table. A rename is followed.';
comment on column audit.import.source is 'Its name when it was first read, as in imported_from.';
comment on column audit.import.settled_key is 'No more rows can appear up to here: the next run begins behind it. (The key of a row is its id, or its time in microseconds where ids have no order.)';
comment on column audit.import.settled_row is 'The row''s id among those with the same key; empty: keys are unique.';
comment on column audit.import.last_key is 'How far the run in progress has got …';
comment on column audit.import.last_row is '… among rows with the same key.';
comment on column audit.import.high_key is 'The highest row that was ever read: rows behind it were never imported …';
comment on column audit.import.high_row is '… among rows with the same key.';
comment on column audit.import.bound_key is 'The highest key when the run began.';
comment on column audit.import.bound_xid is 'The first transaction that had not begun by then: once all before it have ended, no more rows can appear up to bound_key. Null: judged by time.';
comment on column audit.import.begun_at is 'When the run in progress began; null: none is.';
comment on column audit.import.rows is 'Rows read.';
comment on column audit.import.imported is 'Of these, rows that gave events; the others changed no audited column, or are in the log already.';
comment on column audit.import.events is 'Events recorded.';
comment on column audit.import.unfit is 'Rows that do not fit the tracked table as it is now, imported by the names of their fields alone.';
comment on column audit.import.skipped is 'Rows that could not be imported at all.';
comment on column audit.import.first_at is 'The earliest time of a row.';
comment on column audit.import.last_at is 'The latest time of a row.';

create table audit.import_problem (
    import_id integer not null references audit.import (id) on delete cascade,
    row_id text not null,
    table_name text,
    skipped boolean not null,
    problem text not null,
    noted_at timestamptz not null default now(),
    primary key (import_id, row_id)
);

comment on table audit.import_problem is
    'Rows of other tools'' tables that were not imported, or not as their tracked table says. Written by pgtrail import.';
comment on column audit.import_problem.import_id is 'The import.';
comment on column audit.import_problem.row_id is 'The row''s id there.';
comment on column audit.import_problem.table_name is 'The table that the row is about.';
comment on column audit.import_problem.skipped is 'Whether it gave no event at all.';
comment on column audit.import_problem.problem is 'Why. Never a value of the row.';
comment on column audit.import_problem.noted_at is 'When it was found.';

create type audit.imported_row as (
    key bigint,
    row_id text,
    occurred_at timestamptz,
    xid xid8,
    operation text,
    verb text,
    table_name text,
    table_oid oid,
    object_id text,
    record_id text,
    actor_type text,
    actor_id text,
    actor_ip inet,
    user_agent text,
    before jsonb,
    after jsonb
);

comment on type audit.imported_row is
    'A row of another tool''s log, in one form for all of them.';

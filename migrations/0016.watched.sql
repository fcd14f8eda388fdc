-- depends: 0015.fields

set local role audit_owner;

alter table audit.own_trigger
    add column trigger_version text,
    add column function_version text,
    add column function_digest text,
    add column trigger_altered boolean not null default false,
    add column function_altered boolean not null default false;

comment on column audit.own_trigger.trigger_version is
    'Which version of its row in pg_trigger was last compared with what pgtrail creates: only another one is compared again.';
comment on column audit.own_trigger.function_version is
    'Which version of its function''s row in pg_proc was last compared with what compiling gives; of the functions that protect the log: a digest of them as installed.';
comment on column audit.own_trigger.function_digest is
    'A digest of that function, by which one that was only written anew, or granted, is told without compiling it.';
comment on column audit.own_trigger.trigger_altered is 'Whether it differs from what pgtrail creates, in more than being enabled.';
comment on column audit.own_trigger.function_altered is 'Whether its function differs from what compiling gives.';

create table audit.table_shape (
    relation regclass primary key,
    root regclass not null references audit.tracked_table (relation) on delete cascade,
    shape jsonb not null,
    relatives jsonb not null,
    rewritten boolean not null default false
);

create index table_shape_root on audit.table_shape (root);

comment on table audit.table_shape is
    'The tracked tables and their partitions as they were last seen, so that a change of their schema is an event, once. Written by audit.note_altered().';
comment on column audit.table_shape.relation is 'The table or partition.';
comment on column audit.table_shape.root is 'The tracked table that it is, or is a partition of.';
comment on column audit.table_shape.shape is
    'As audit.present_shape() gives it: of expressions (defaults, conditions, policies) only digests.';
comment on column audit.table_shape.relatives is
    'As audit.relatives() gives it: of a tracked table the oids of its parents and children; `{}` of a partition.';
comment on column audit.table_shape.rewritten is
    'Whether the statement that is being executed rewrites the values of its rows.';

create type audit.finding as (
    problem text,
    subject text,
    finding text,
    hint text
);

comment on type audit.finding is
    'Something that is wrong: what kind of problem, of what (a table, a destination), what was found, and what to do about it. See audit.doctor().';

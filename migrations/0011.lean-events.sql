-- depends: 0010.imported

set local role audit_owner;

-- Postgres reads the text of a check constraint, and of a generated column, anew for each statement that inserts: that was
-- a third of what recording an update cost. What they said is said by whoever writes events: the compiled functions,
-- audit.record(), audit.snapshot() and the import.
alter table audit.event
    drop constraint operation_is_known,
    drop constraint rows_fit_operation,
    drop constraint changed_says_what_an_update_moved;
alter table audit.event
    alter column resource_hash drop expression,
    alter column actor_hash drop expression;

comment on column audit.event.resource_hash is
    'hashtextextended(resource_id, 0): what the index of its history begins with.';
comment on column audit.event.actor_hash is
    'hashtextextended(actor_id, 0): what the index of its activity begins with.';
comment on column audit.event.before is
    'Of an UPDATE the fields that moved, as they were, without those that were null (what did not move was as in after: see audit.row_before()); of a DELETE or TRUNCATE the whole row. Audited columns only, secrets redacted.';
comment on column audit.event.changed is
    'The columns that an UPDATE moved, redacted ones included; null for other operations.';

alter table audit.tracked_table add column bulk boolean not null default false;
comment on column audit.tracked_table.bulk is
    'Whether an UPDATE is recorded by statement rather than by row: half the cost where it updates many rows.';

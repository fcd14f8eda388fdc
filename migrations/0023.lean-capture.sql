-- depends: 0022.steps-by-name

set local role audit_owner;

-- The functions that these arguments had; sql/ makes them anew.
drop function if exists audit.compiled_redaction(text, text[]);
drop function if exists audit.compiled_record(audit.tracked_table, text, text[]);
drop function if exists audit.compiled_moves(audit.tracked_table);
drop function if exists audit.compiled_suspicion(audit.tracked_table, text);
drop function if exists audit.compiled_writer(audit.tracked_table, text);
drop function if exists audit.compiled_insert(audit.tracked_table, text, text, boolean, text, boolean);
drop function if exists audit.compiled_updates(audit.tracked_table, boolean, boolean, boolean);
drop function if exists audit.compiled_recording(audit.tracked_table, text, boolean, boolean, boolean);

alter table audit.tracked_table add column hot boolean not null default false;
comment on column audit.tracked_table.hot is
    'Whether the UPDATE trigger is called for updates of audited columns alone (UPDATE OF), so that all others cost nothing.';

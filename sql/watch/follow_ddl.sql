-- The functions of the event triggers for what is created or altered.

create or replace function audit_internal.follow_ddl()
returns event_trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
-- A small query over large catalogues looks costly: to compile it would take longer than the statement that is followed.
set jit = off
-- (The planner expects a hundred altered tables where there is one, and would read all tables and triggers for these.)
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    touched regclass[];
    changes_types boolean;
    altered regclass;
begin
    if tg_tag in ('CREATE FUNCTION', 'ALTER FUNCTION', 'ALTER ROUTINE') then
        perform audit_internal.follow_functions();
        return;
    end if;
    touched := array(select audit_internal.touched_tables());
    if tg_tag in ('ALTER TABLE', 'CREATE TABLE', 'ALTER FOREIGN TABLE', 'CREATE FOREIGN TABLE') then
        touched := touched || array(select audit_internal.tables_with_other_relatives());
    end if;
    changes_types := tg_tag in ('ALTER TYPE', 'ALTER DOMAIN')
        or (tg_tag in ('ALTER TABLE', 'ALTER FOREIGN TABLE', 'ALTER VIEW', 'ALTER MATERIALIZED VIEW') and audit_internal.alters_a_column_type());
    -- A table whose triggers are being made is watched once they are all there.
    if (touched = '{}' and not changes_types)
        or (tg_tag = 'CREATE TRIGGER' and not exists (select from audit.own_trigger where relation = any (touched)))
    then
        return;
    end if;
    perform audit_internal.record_altered_tables(
        array(
            select audit_internal.tracked_root(relation) from unnest(touched) as touched_table (relation)
            union
            select audit_internal.tables_with_own_types() where changes_types
        ),
        tg_tag
    );
    if touched = '{}' then
        return;
    end if;
    if tg_tag = 'ALTER TABLE' then
        perform audit_internal.record_attached_partitions(touched);
    end if;
    if tg_tag not in ('CREATE TRIGGER', 'ALTER TRIGGER', 'CREATE RULE', 'ALTER RULE') then
        -- Compiling puts right what somebody altered.
        perform audit_internal.record_trigger_changes(
            array(select audit_internal.tracked_root(relation) from unnest(touched) as touched_table (relation))
        );
        for altered in
            select distinct concerned.relation
            from unnest(touched) as touched_table (relation)
            cross join lateral audit_internal.affected_tables(touched_table.relation) as concerned (relation)
        loop
            perform audit_internal.compile_table(altered);
        end loop;
        perform audit_internal.recompile_misfits();
    elsif tg_tag = 'CREATE TRIGGER' and exists (
        select
        from pg_event_trigger_ddl_commands() as command
        join pg_trigger on pg_trigger.oid = command.objid and command.classid = 'pg_trigger'::regclass
        -- (One of ours that was altered is reported, and stays as it is for whoever investigates.)
        where pg_trigger.tgname <> all (audit_internal.trigger_names())
    )
    then
        perform audit_internal.recompile_misfits();
    end if;
    perform audit_internal.watch_triggers();
exception
    when others then
        perform audit_internal.fail_or_warn(tg_tag, sqlstate, sqlerrm);
end
$$;

comment on function audit_internal.follow_ddl() is
    'Follows a tracked table''s new shape, name, schema and partitions, and records when one of pgtrail''s triggers no longer fires.';

create or replace function audit_internal.follow_rewrite()
returns event_trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
set jit = off
as $$
begin
    -- (2: a default fills the rows; 4: the type of a column changes. What else writes a table anew leaves its values.)
    if pg_event_trigger_table_rewrite_reason() & 6 <> 0 then
        update audit.table_shape
        set rewritten = true
        where relation = audit_internal.tracked_root(pg_event_trigger_table_rewrite_oid());
    end if;
exception
    when others then
        perform audit_internal.fail_or_warn(tg_tag, sqlstate, sqlerrm);
end
$$;

comment on function audit_internal.follow_rewrite() is
    'Remembers, until the statement ends and is recorded, that it writes the values of a tracked table''s rows anew.';

-- Watching the watcher: an event when one of pgtrail's own triggers no longer fires, or is altered or put back.

create or replace function audit_internal.judged_triggers(only_roots regclass[] default null, with_grants boolean default true)
returns table (
    kind text, root regclass, relation regclass, trigger_name text, state text,
    function_oid oid, trigger_version text, function_version text, trigger_altered boolean, function_altered boolean
)
language sql
stable
as $$
    -- To compare a function takes as long as to compile it, so only what was not compared before. And what pgtrail created is
    -- not altered because its table was, which no event trigger may have followed: that is out of date.
    select
        present.kind,
        present.root,
        present.relation,
        present.trigger_name,
        present.state,
        present.function_oid,
        present.trigger_version,
        present.function_version,
        case
            when present.state = 'missing' then false
            when present.trigger_version is distinct from known.trigger_version
                then not audit_internal.is_as_created(present.trigger_oid, present.root)
                    or (
                        -- Another function than before, and not its own.
                        present.kind = 'capture'
                        and pg_catalog.split_part(present.function_version, ' ', 1)
                            is distinct from pg_catalog.split_part(known.function_version, ' ', 1)
                        and audit_internal.has_another_name(present.function_oid, present.root, present.trigger_name)
                    )
            else known.trigger_altered
        end,
        case
            when present.state = 'missing' then false
            when present.kind = 'protection' then present.function_version <> known.function_version
            when present.function_version = called.function_version then called.function_altered
            when not called.function_altered and called.function_digest = audit_internal.function_digest(present.function_oid)
                then audit_internal.has_another_name(present.function_oid, present.root, present.trigger_name)
                    or (with_grants and audit_internal.is_executed_by_others(present.function_oid, present.root))
            -- (It was compiled since.)
            when not called.function_altered and called.function_version is null then false
            else (
                    audit_internal.is_as_compiled(
                        present.function_oid, present.root, pg_catalog.upper(pg_catalog.substr(present.trigger_name, 9) collate "C")
                    )
                    and not (with_grants and audit_internal.is_executed_by_others(present.function_oid, present.root))
                ) is not true
        end is true
    from audit_internal.own_triggers(only_roots) as present
    left join audit.own_trigger as known
        on known.relation = present.relation and known.trigger_name = present.trigger_name
    -- A new partition calls what the others call.
    left join lateral (
        select sibling.function_version, sibling.function_digest, sibling.function_altered
        from audit.own_trigger as sibling
        where sibling.root = present.root and sibling.trigger_name = present.trigger_name
        order by sibling.relation = present.relation desc
        limit 1
    ) as called on true
    -- (Without it a caller's query is merged with this one, which would compile once for each place that names the column.)
    offset 0
$$;

comment on function audit_internal.judged_triggers(regclass[], boolean) is
    'The triggers that pgtrail should have, how each is, and whether it, or its function, is what pgtrail made.';

create or replace function audit_internal.trigger_state(state text, trigger_altered boolean, function_altered boolean)
returns text
language sql
immutable
as $$
    select case
        when state = 'missing' then state
        when trigger_altered then 'altered'
        when function_altered then 'function altered'
        else state
    end
$$;

comment on function audit_internal.trigger_state(text, boolean, boolean) is 'How a trigger is, in a word or two, as events have it.';

create or replace function audit_internal.trigger_verb(shown_state text)
returns text
language sql
immutable
as $$
    select case
        when shown_state in ('enabled', 'always') then 'enabled'
        when shown_state in ('altered', 'function altered') then 'altered'
        else 'disabled'
    end
$$;

comment on function audit_internal.trigger_verb(text) is 'The second half of the action that a trigger''s new state gives: audit.capture_disabled.';

create or replace function audit_internal.record_detached_partitions()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    left_partition record;
begin
    for left_partition in
        with known_no_more as (
            delete from audit.own_trigger as known
            where not exists (
                select
                from audit_internal.own_triggers() as present
                where present.root = known.root and present.relation = known.relation
            )
            returning known.*
        )
        select distinct audit_internal.qualified_name(root) as root, audit_internal.qualified_name(relation) as name
        from known_no_more
        -- A table that is gone, or is tracked no more, has lost nothing.
        where exists (select from pg_class where pg_class.oid = known_no_more.relation)
            and exists (select from audit_internal.own_triggers() as present where present.root = known_no_more.root)
        order by 1, 2
    loop
        perform audit.record(
            'audit.partition_detached', 'partition', left_partition.name, left_partition.name,
            jsonb_build_object('table', left_partition.root), null
        );
    end loop;
end
$$;

comment on function audit_internal.record_detached_partitions() is 'Records which partition left a tracked table, or the log.';

create or replace function audit_internal.record_trigger_changes(only_roots regclass[] default null, with_grants boolean default true)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    changed record;
begin
    for changed in
        with changed_trigger as materialized (
            select
                present.*,
                shown.*,
                (present.trigger_altered and present.trigger_version is distinct from known.trigger_version)
                    or (present.function_altered and present.function_version is distinct from known.function_version)
                    as is_altered_anew
            from audit_internal.judged_triggers(only_roots, with_grants) as present
            left join audit.own_trigger as known
                on known.relation = present.relation and known.trigger_name = present.trigger_name
            cross join lateral (
                select
                    audit_internal.trigger_state(present.state, present.trigger_altered, present.function_altered) as shown_state,
                    -- One that is seen for the first time counts as having been enabled.
                    coalesce(
                        audit_internal.trigger_state(known.state, known.trigger_altered, known.function_altered), 'enabled'
                    ) as known_state
            ) as shown
            where (
                    (known.state, known.trigger_altered, known.function_altered, known.trigger_version)
                        is distinct from (present.state, present.trigger_altered, present.function_altered, present.trigger_version)
                    or known.function_version is distinct from present.function_version
                )
                -- What is being made is not whole before its last trigger is there.
                and (known.state is not null or present.state <> 'missing')
        ),
        remembered_trigger as (
            insert into audit.own_trigger as known (
                relation, trigger_name, root, kind, state, trigger_version, function_version, function_digest, trigger_altered,
                function_altered
            )
            select
                relation, trigger_name, root, kind, state, trigger_version, function_version,
                case kind when 'capture' then audit_internal.function_digest(function_oid) end, trigger_altered, function_altered
            from changed_trigger
            on conflict on constraint own_trigger_pkey do update
            set
                root = excluded.root,
                kind = excluded.kind,
                state = excluded.state,
                trigger_version = excluded.trigger_version,
                function_version = case excluded.kind
                    -- As installed.
                    when 'protection' then coalesce(known.function_version, excluded.function_version)
                    else excluded.function_version
                end,
                function_digest = excluded.function_digest,
                trigger_altered = excluded.trigger_altered,
                function_altered = excluded.function_altered
        )
        select
            root,
            kind,
            verb,
            jsonb_object_agg(shown_name, known_state) as before,
            jsonb_object_agg(shown_name, shown_state) as after
        from changed_trigger
        cross join lateral (
            select
                audit_internal.trigger_verb(shown_state) as verb,
                audit_internal.trigger_verb(known_state) as known_verb,
                trigger_name || case when relation = root then '' else ' on ' || audit_internal.qualified_name(relation) end as shown_name
        ) as reported
        -- What is altered once more is an event once more.
        where verb <> known_verb or (verb = 'altered' and is_altered_anew and kind = 'capture')
        group by root, kind, verb
        order by kind, verb, root
    loop
        perform audit.record(
            format('audit.%s_%s', changed.kind, changed.verb),
            case changed.kind when 'capture' then 'tracked_table' else 'protected_table' end,
            audit_internal.qualified_name(changed.root),
            audit_internal.qualified_name(changed.root),
            jsonb_build_object('triggers', changed.before),
            jsonb_build_object('triggers', changed.after)
        );
    end loop;
end
$$;

comment on function audit_internal.record_trigger_changes(regclass[], boolean) is
    'Compares pgtrail''s triggers (of some tables, or all) with what audit.own_trigger knows of them, and records what was switched off, dropped, altered or put back since.';

create or replace function audit_internal.watch_triggers()
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
-- To compile small queries over large catalogues takes longer than what they follow.
set jit = off
as $$
begin
    perform audit_internal.record_detached_partitions();
    perform audit_internal.record_trigger_changes();
end
$$;

comment on function audit_internal.watch_triggers() is
    'Records what happened to pgtrail''s triggers since the last look, and what partition left.';

create or replace function audit_internal.event_trigger_text(name text)
returns text
language sql
immutable
as $$
    select case name
        when 'pgtrail_extend_capture' then
            'create event trigger pgtrail_extend_capture on ddl_command_end '
            'when tag in (''ALTER TABLE'', ''ALTER EXTENSION'', ''CREATE TABLE'', ''CREATE SCHEMA'') '
            'execute function audit_internal.extend_capture()'
        -- (ALTER INDEX renames tables too; ALTER VIEW and its like rename their columns, as far as Postgres goes.)
        when 'pgtrail_follow_ddl' then
            'create event trigger pgtrail_follow_ddl on ddl_command_end '
            'when tag in (''ALTER TABLE'', ''ALTER FOREIGN TABLE'', ''ALTER INDEX'', ''ALTER VIEW'', ''ALTER MATERIALIZED VIEW'', '
            '''ALTER SCHEMA'', ''ALTER EXTENSION'', ''ALTER TYPE'', ''ALTER DOMAIN'', ''ALTER TRIGGER'', ''ALTER POLICY'', '
            '''ALTER RULE'', ''ALTER FUNCTION'', ''ALTER ROUTINE'', ''CREATE TABLE'', ''CREATE FOREIGN TABLE'', ''CREATE SCHEMA'', '
            '''CREATE INDEX'', ''CREATE STATISTICS'', ''CREATE TRIGGER'', ''CREATE POLICY'', ''CREATE RULE'', ''CREATE FUNCTION'') '
            'execute function audit_internal.follow_ddl()'
        when 'pgtrail_follow_rewrite' then
            'create event trigger pgtrail_follow_rewrite on table_rewrite execute function audit_internal.follow_rewrite()'
        -- Whatever is dropped: a table goes with its schema, its type, its owner or its extension, too.
        when 'pgtrail_follow_drop' then
            'create event trigger pgtrail_follow_drop on sql_drop execute function audit_internal.follow_drop()'
    end
$$;

comment on function audit_internal.event_trigger_text(text) is 'The statement that creates one of pgtrail''s event triggers.';

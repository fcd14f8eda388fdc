-- Watching the watcher: whether pgtrail's own triggers are there and fire, and an event when that changes.

create or replace function audit.capture_triggers()
returns table (relation regclass, target regclass, trigger_name text, state text, source text, settings text[])
language sql
stable
as $$
    select
        tracked.relation,
        tree.relid,
        'pgtrail_' || capture.operation,
        case
            when installed.tgenabled is null then 'missing'
            when installed.tgenabled = 'D' then 'disabled'
            when installed.tgenabled = 'R' then 'replica'
            when installed.tgenabled = 'A' then 'always'
            else 'enabled'
        end,
        installed.prosrc,
        installed.proconfig
    from audit.tracked_table as tracked
    join pg_catalog.pg_class as class on class.oid = tracked.relation
    cross join (values ('insert'), ('update'), ('delete'), ('truncate')) as capture (operation)
    cross join lateral (
        -- A row that goes to a partition fires the partition's own copy of the trigger.
        select relid from pg_catalog.pg_partition_tree(tracked.relation) where isleaf
        union
        select tracked.relation
    ) as tree
    left join lateral (
        select trigger.tgenabled, function.prosrc, function.proconfig
        from pg_catalog.pg_trigger as trigger
        join pg_catalog.pg_proc as function on function.oid = trigger.tgfoid
        where trigger.tgrelid = tree.relid
            and trigger.tgname = 'pgtrail_' || capture.operation
            and function.pronamespace = 'audit'::pg_catalog.regnamespace
            and pg_catalog.starts_with(function.proname, 'capture ')
    ) as installed on true
    where not (class.relkind = 'p' and tree.relid = tracked.relation and capture.operation = 'truncate')
$$;

comment on function audit.capture_triggers() is
    'The triggers that tracked tables and their partitions should have, and how each is: `enabled`, `always` (in replication too), `replica` (in replication only), `disabled` or `missing`; source and settings are the body and the SET clauses of its function.';

create or replace function audit.protection_triggers()
returns table (relation regclass, target regclass, trigger_name text, state text)
language sql
stable
as $$
    select
        protected.relation,
        protected.target,
        wanted.trigger_name,
        case
            when installed.tgenabled is null then 'missing'
            when installed.tgenabled = 'D' then 'disabled'
            when installed.tgenabled = 'R' then 'replica'
            when installed.tgenabled = 'A' then 'always'
            else 'enabled'
        end
    from (
        select 'audit.event'::regclass, relid from pg_catalog.pg_partition_tree('audit.event')
        union all
        values
            ('audit.seal'::regclass, 'audit.seal'::regclass),
            ('audit.seal_leaves', 'audit.seal_leaves'),
            ('audit.node_seal', 'audit.node_seal'),
            ('audit.node_seal_leaves', 'audit.node_seal_leaves')
    ) as protected (relation, target)
    cross join (values ('refuse_change'), ('refuse_truncate')) as wanted (trigger_name)
    left join pg_catalog.pg_trigger as installed
        on installed.tgrelid = protected.target
        and installed.tgname = wanted.trigger_name
        and installed.tgfoid = 'audit.refuse_change()'::pg_catalog.regprocedure
    -- (A month elsewhere takes no TRUNCATE, and before PostgreSQL 16 no trigger for it.)
    where wanted.trigger_name <> 'refuse_truncate'
        or not exists (select from pg_catalog.pg_class where pg_class.oid = protected.target and relkind = 'f')
$$;

comment on function audit.protection_triggers() is
    'The triggers that refuse changes of the log, and how each is, as audit.capture_triggers() has it.';

create or replace function audit.own_triggers()
returns table (kind text, root regclass, relation regclass, trigger_name text, state text)
language sql
stable
as $$
    select 'capture', relation, target, trigger_name, state from audit.capture_triggers()
    union all
    select 'protection', relation, target, trigger_name, state from audit.protection_triggers()
$$;

comment on function audit.own_triggers() is 'The triggers that pgtrail should have, and how each is.';

create or replace function audit.watch_triggers()
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
-- To compile small queries over large catalogues takes longer than what they follow.
set jit = off
as $$
declare
    left_partition record;
    moved record;
begin
    for left_partition in
        with known_no_more as (
            delete from audit.own_trigger as known
            where not exists (
                select
                from audit.own_triggers() as present
                where present.root = known.root and present.relation = known.relation
            )
            returning known.*
        )
        select distinct audit.qualified_name(root) as root, audit.qualified_name(relation) as name
        from known_no_more
        -- A table that is gone, or is tracked no more, has lost nothing.
        where exists (select from pg_class where pg_class.oid = known_no_more.relation)
            and exists (select from audit.own_triggers() as present where present.root = known_no_more.root)
        order by 1, 2
    loop
        perform audit.record(
            'audit.partition_detached', 'partition', left_partition.name, left_partition.name,
            jsonb_build_object('table', left_partition.root), null
        );
    end loop;

    for moved in
        with moved_trigger as (
            select
                present.*,
                -- One that is seen for the first time counts as having been enabled.
                coalesce(known.state, 'enabled') as known_state
            from audit.own_triggers() as present
            left join audit.own_trigger as known
                on known.relation = present.relation and known.trigger_name = present.trigger_name
            where known.state is distinct from present.state
                -- What is being made is not whole before its last trigger is there.
                and (known.state is not null or present.state <> 'missing')
        ),
        remembered_trigger as (
            insert into audit.own_trigger (relation, trigger_name, root, kind, state)
            select relation, trigger_name, root, kind, state
            from moved_trigger
            on conflict on constraint own_trigger_pkey do update
            set root = excluded.root, kind = excluded.kind, state = excluded.state
        )
        select
            root,
            kind,
            fires,
            jsonb_object_agg(shown_name, known_state) as before,
            jsonb_object_agg(shown_name, state) as after
        from moved_trigger
        cross join lateral (
            select
                state in ('enabled', 'always') as fires,
                known_state in ('enabled', 'always') as fired,
                trigger_name || case when relation = root then '' else ' on ' || audit.qualified_name(relation) end as shown_name
        ) as told
        where fires <> fired
        group by root, kind, fires
        order by kind, fires, root
    loop
        perform audit.record(
            format('audit.%s_%s', moved.kind, case when moved.fires then 'enabled' else 'disabled' end),
            case moved.kind when 'capture' then 'tracked_table' else 'protected_table' end,
            audit.qualified_name(moved.root),
            audit.qualified_name(moved.root),
            jsonb_build_object('triggers', moved.before),
            jsonb_build_object('triggers', moved.after)
        );
    end loop;
end
$$;

comment on function audit.watch_triggers() is
    'Compares pgtrail''s triggers with what audit.own_trigger knows of them, and records what was switched off, dropped or put back since, and what partition left.';

create or replace function audit.event_trigger_text(name text)
returns text
language sql
immutable
as $$
    select case name
        when 'pgtrail_extend_capture' then
            'create event trigger pgtrail_extend_capture on ddl_command_end '
            'when tag in (''ALTER TABLE'', ''CREATE TABLE'', ''CREATE SCHEMA'') execute function audit.extend_capture()'
        when 'pgtrail_follow_ddl' then
            'create event trigger pgtrail_follow_ddl on ddl_command_end '
            'when tag in (''ALTER TABLE'', ''ALTER SCHEMA'', ''ALTER TYPE'', ''ALTER DOMAIN'', ''ALTER TRIGGER'', ''ALTER POLICY'', ''CREATE TABLE'', '
            '''CREATE SCHEMA'', ''CREATE INDEX'', ''CREATE STATISTICS'', ''CREATE TRIGGER'', ''CREATE POLICY'') '
            'execute function audit.follow_ddl()'
        -- Whatever is dropped: a table goes with its schema, its type, its owner or its extension, too.
        when 'pgtrail_follow_drop' then
            'create event trigger pgtrail_follow_drop on sql_drop execute function audit.follow_drop()'
    end
$$;

comment on function audit.event_trigger_text(text) is 'The statement that creates one of pgtrail''s event triggers.';

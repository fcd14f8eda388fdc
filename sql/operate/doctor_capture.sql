-- What prevents changes of tracked tables from being recorded correctly. See audit.doctor().

create or replace function audit_internal.find_capture_problems()
returns setof audit.finding
language sql
stable
as $$
    -- Triggers of tracked tables and their partitions that are missing, don't fire, or differ from what pgtrail created.
    select
        case shown.state
            when 'missing' then 'trigger missing'
            when 'altered' then 'trigger altered'
            else 'trigger disabled'
        end,
        audit_internal.qualified_name(relation),
        pg_catalog.format(
            case shown.state
                when 'missing' then '%s is not there: what it would record is lost'
                when 'altered' then '%s is not as pgtrail created it: what it would record may be lost'
                when 'replica' then '%s fires in replication only: what it would record is lost'
                else '%s is disabled: what it would record is lost'
            end,
            trigger_name
        ),
        pg_catalog.format('select audit.recompile(%L)', audit_internal.qualified_name(root))
    from audit_internal.judged_triggers() as judged
    -- (A function that is not as compiled is found with the table.)
    cross join lateral (
        select audit_internal.trigger_state(judged.state, judged.trigger_altered, false)
    ) as shown (state)
    where kind = 'capture' and shown.state not in ('enabled', 'always')
    union all
    select
        'trigger doubled',
        audit_internal.qualified_name(installed.relation),
        pg_catalog.format('%s calls a function of pgtrail''s too: what it fires for is recorded twice', installed.name),
        pg_catalog.format('select audit.recompile(%L)', audit_internal.qualified_name(tracked.root))
    from audit_internal.installed_triggers() as installed
    cross join lateral (select audit_internal.tracked_root(installed.relation)) as tracked (root)
    where installed.name <> all (audit_internal.trigger_names())
        and not installed.is_inherited
        and tracked.root is not null
        -- (One that was renamed has left a gap.)
        and exists (
            select from audit_internal.own_triggers(array[tracked.root]) as present where present.function_oid = installed.function_oid
        )
    union all
    -- Event triggers that a superuser installed and that are missing or don't fire.
    select
        case when installed.evtname is null then 'event trigger missing' else 'event trigger disabled' end,
        wanted.name,
        'schema changes are not followed, and triggers that are switched off are not reported',
        case
            when installed.evtname is null then audit_internal.event_trigger_text(wanted.name)
            else pg_catalog.format('alter event trigger %I enable', wanted.name)
        end
    from (values ('pgtrail_extend_capture'), ('pgtrail_follow_ddl'), ('pgtrail_follow_drop'), ('pgtrail_follow_rewrite')) as wanted (name)
    left join pg_catalog.pg_event_trigger as installed on installed.evtname = wanted.name
    -- Only a superuser can make them, who makes this one beside them.
    where pg_catalog.to_regprocedure('audit_internal.extend_capture()') is not null
        and (installed.evtname is null or installed.evtenabled in ('D', 'R'))
    union all
    -- Tracked tables whose trigger functions are not what audit.recompile() would write: they were altered where no event
    -- trigger follows, or somebody edited the functions.
    (
        -- Materialized: to compile takes a millisecond, so only what is there, and for its own table.
        with installed as materialized (
            select distinct
                root as relation,
                pg_catalog.upper(pg_catalog.replace(trigger_name, 'pgtrail_', '') collate "C") as operation,
                function_oid
            from audit_internal.own_triggers()
            where kind = 'capture' and state <> 'missing'
        ),
        compiled as (
            select
                tracked.relation,
                audit_internal.last_column_numbers(tracked) = (
                    select coalesce(pg_catalog.jsonb_object_agg(attname, attnum), '{}')
                    from pg_catalog.pg_attribute
                    where attrelid = tracked.relation and attnum > 0 and not attisdropped
                ) as has_these_columns
            from audit.tracked_table as tracked
            join pg_catalog.pg_class as class on class.oid = tracked.relation
        )
        select
            'compiled out of date',
            audit_internal.qualified_name(compiled.relation),
            case
                when not compiled.has_these_columns then 'its columns have changed since its triggers were compiled'
                else 'its triggers are not what its name, key, settings and rules give'
            end || ': what they record may lack columns, or not hide a secret',
            pg_catalog.format('select audit.recompile(%L)', audit_internal.qualified_name(compiled.relation))
        from compiled
        where not compiled.has_these_columns
            or exists (
                select
                from installed
                where installed.relation = compiled.relation
                    and (
                        audit_internal.is_as_compiled(installed.function_oid, installed.relation, installed.operation) is not true
                        or audit_internal.is_executed_by_others(installed.function_oid, installed.relation)
                    )
            )
    )
    union all
    -- Tables that inherit from tracked ones and are not tracked themselves.
    select
        'child untracked',
        audit_internal.qualified_name(child),
        pg_catalog.format('it inherits from %s: an update of its rows through that is lost', audit_internal.qualified_name(tracked.relation)),
        pg_catalog.format('select audit.track(%L, …)', audit_internal.qualified_name(child))
    from audit.tracked_table as tracked
    cross join lateral audit_internal.untracked_children(tracked.relation) as child
    union all
    -- Tables that are not tracked and have the name of one that was, until it was dropped. As long as the log has the event
    -- that says so.
    (
        with lost as (
            select tracked.name, null as event_name, true as was_gone
            from audit.tracked_table as tracked
            where not exists (select from pg_catalog.pg_class as class where class.oid = tracked.relation)
            union all
            (
                -- (The key of a table that is there is its name; of one that is not, a number.)
                select distinct on (event.before ->> 'name')
                    event.before ->> 'name', audit_internal.event_reference(event), event.resource_id ~ '^[0-9]+$'
                from audit.event
                where event.category = 'audit'
                    and event.action = 'audit.table_untracked'
                    and event.node is null
                    and event.imported_from is null
                order by event.before ->> 'name', event.occurred_at desc, event.id desc
            )
        ),
        replaced as (
            select present.relation, pg_catalog.max(lost.event_name) as event_name
            from lost
            cross join lateral (select pg_catalog.parse_ident(lost.name)) as parsed (names)
            join pg_catalog.pg_namespace as namespace on namespace.nspname = parsed.names[1]
            join pg_catalog.pg_class as class
                on class.relnamespace = namespace.oid and class.relname = parsed.names[2] and class.relkind in ('r', 'p')
            cross join lateral (select class.oid::pg_catalog.regclass) as present (relation)
            where lost.was_gone and audit_internal.tracked_root(present.relation) is null
            group by present.relation
        )
        select
            'table replaced',
            audit_internal.qualified_name(relation),
            'a tracked table of this name was dropped, and the one that is there now is not tracked: nothing of it is recorded',
            pg_catalog.format('select audit.track(%L, …)', audit_internal.qualified_name(relation))
                || coalesce(' with the settings that pgtrail show ' || event_name || ' has', '')
                || ', and its rules; if it is not to be recorded, then audit.untrack() it'
        from replaced
    )
    union all
    -- Tracked tables that were dropped; the subject is what their oid was.
    select
        'table gone',
        tracked.relation::oid::text,
        pg_catalog.format('the table of resource "%s" was dropped and is still listed as tracked', tracked.resource),
        'select audit.recompile()'
    from audit.tracked_table as tracked
    where not exists (select from pg_catalog.pg_class as class where class.oid = tracked.relation)
    union all
    -- Rules whose condition a change of the table has made invalid.
    select
        'rule broken',
        audit_internal.qualified_name(rule.relation),
        pg_catalog.format('the rule %s can no longer match: %s', rule.action, rule.problem),
        pg_catalog.format(
            'select audit.rule(%1$L, %2$L, %3$L, %4$L, …) with another condition, or select audit.drop_rule(%1$L, %2$L, %4$L)',
            audit_internal.qualified_name(rule.relation), rule.action, rule.category, rule.operation
        )
    from audit.rule
    join pg_catalog.pg_class as class on class.oid = rule.relation
    where rule.problem is not null
$$;

comment on function audit_internal.find_capture_problems() is 'What is wrong with capture: triggers, event triggers, compiled functions, tracked tables, rules.';

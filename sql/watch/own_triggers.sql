-- The triggers that pgtrail should have, and whether each is there, fires, and is what pgtrail created.

create or replace function audit_internal.is_as_compiled(p_function oid, p_relation regclass, event_operation text)
returns boolean
language sql
stable
as $$
    select pg_proc.pronamespace = 'audit_internal'::pg_catalog.regnamespace
        and pg_proc.proname = audit_internal.capture_function_name(p_relation, event_operation)
        and pg_proc.proowner = audit_internal.recorder_of(p_relation)::pg_catalog.regrole
        and pg_proc.prolang = (select oid from pg_catalog.pg_language where lanname = 'plpgsql')
        and pg_proc.prosecdef
        and pg_proc.provolatile = 'v'
        and pg_proc.proparallel = 'u'
        and not pg_proc.proisstrict
        and not pg_proc.proleakproof
        and pg_proc.prosupport = 0
        and (
            select pg_catalog.array_agg(setting order by setting) from pg_catalog.unnest(pg_proc.proconfig) as setting
        ) is not distinct from (
            select pg_catalog.array_agg(setting order by setting)
            from pg_catalog.unnest(array['search_path=pg_catalog, pg_temp'] || audit_internal.pinned_settings(tracked)) as setting
        )
        and pg_proc.prosrc = audit_internal.trigger_body_sql(tracked, event_operation)
    from pg_catalog.pg_proc
    join audit.tracked_table as tracked on tracked.relation = p_relation
    where pg_proc.oid = p_function
$$;

comment on function audit_internal.is_as_compiled(oid, regclass, text) is
    'Whether a function is, whole, what compiling gives for a tracked table and an operation: name, owner, language, settings, source.';

create or replace function audit_internal.is_executed_by_others(p_function oid, p_relation regclass)
returns boolean
language sql
stable
as $$
    select exists (
        select
        from pg_catalog.pg_proc
        cross join pg_catalog.aclexplode(coalesce(pg_proc.proacl, pg_catalog.acldefault('f', pg_proc.proowner))) as granted
        where pg_proc.oid = p_function
            and granted.grantee not in (pg_proc.proowner, 'audit_admin'::pg_catalog.regrole)
            and granted.grantee not in (select audit_internal.partition_makers(p_relation))
    )
$$;

comment on function audit_internal.is_executed_by_others(oid, regclass) is
    'Whether somebody may execute a capture function, and have triggers call it, to whom compiling does not grant it.';

create or replace function audit_internal.has_another_name(p_function oid, root regclass, trigger_name text)
returns boolean
language sql
stable
as $$
    select proname <> audit_internal.capture_function_name(root, pg_catalog.substr(trigger_name, 9))
    from pg_catalog.pg_proc
    where pg_proc.oid = p_function
$$;

comment on function audit_internal.has_another_name(oid, regclass, text) is
    'Whether a capture function is not called as the table''s own for a trigger is.';

create or replace function audit_internal.function_digest(p_function oid)
returns text
language sql
stable
as $$
    select pg_catalog.md5(pg_catalog.format(
        '%s %s %s %s %s %s %s %s %s %s',
        nspname, pg_catalog.pg_get_userbyid(proowner), lanname, prosecdef, provolatile, proparallel, proisstrict,
        proleakproof, proconfig, prosrc
    ))
    from pg_catalog.pg_proc
    join pg_catalog.pg_namespace on pg_namespace.oid = pronamespace
    join pg_catalog.pg_language on pg_language.oid = prolang
    where pg_proc.oid = p_function
$$;

comment on function audit_internal.function_digest(oid) is
    'A digest of a function with its owner and settings; without its name, which follows its table''s, and who may execute it.';

create or replace function audit_internal.is_as_created(p_trigger oid, root regclass)
returns boolean
language sql
stable
as $$
    -- Column by column: pg_get_triggerdef() would write out a condition, which is its owner's.
    select trigger.tgtype = created.kind + created.by_row::integer
        and audit_internal.is_for_columns(trigger.oid, created.columns)
        and trigger.tgqual is null
        and trigger.tgnargs = 0
        and trigger.tgconstraint = 0
        and not trigger.tgdeferrable
        and not trigger.tginitdeferred
        and trigger.tgoldtable is not distinct from case
            when not created.by_row and trigger.tgname in ('pgtrail_update', 'pgtrail_delete') then 'old_rows'
        end
        and trigger.tgnewtable is not distinct from case
            when not created.by_row and trigger.tgname in ('pgtrail_insert', 'pgtrail_update') then 'new_rows'
        end
    from pg_catalog.pg_trigger as trigger
    cross join lateral (
        select
            -- The bits of tgtype: 2 before, 4 insert, 8 delete, 16 update, 32 truncate; and 1 for each row.
            case trigger.tgname
                when 'pgtrail_insert' then 4
                when 'pgtrail_update' then 16
                when 'pgtrail_delete' then 8
                when 'refuse_change' then 2 + 8 + 16
                else 2 + 32
            end as kind,
            case
                when trigger.tgname = 'refuse_change' then true
                when trigger.tgname = 'refuse_truncate' then false
                else (
                    select audit_internal.records_by_row(tracked, pg_catalog.upper(pg_catalog.substr(trigger.tgname, 9) collate "C"))
                    from audit.tracked_table as tracked
                    where tracked.relation = root
                )
            end as by_row,
            case when trigger.tgname = 'pgtrail_update'
                then (select audit_internal.update_columns(tracked) from audit.tracked_table as tracked where tracked.relation = root)
                else '{}'
            end as columns
    ) as created
    where trigger.oid = p_trigger
$$;

comment on function audit_internal.is_as_created(oid, regclass) is
    'Whether a trigger is, but for its function and for being enabled, what pgtrail creates by its name: timing, events, columns, condition, level, transition tables, arguments.';

create or replace function audit_internal.fires(tgenabled "char")
returns text
language sql
immutable
as $$
    select case
        when tgenabled is null then 'missing'
        when tgenabled = 'D' then 'disabled'
        when tgenabled = 'R' then 'replica'
        when tgenabled = 'A' then 'always'
        else 'enabled'
    end
$$;

comment on function audit_internal.fires("char") is
    'pg_trigger.tgenabled in words: `enabled`, `always` (in replication too), `replica` (in replication only), `disabled`; `missing` where there is none.';

create or replace function audit_internal.own_triggers(only_roots regclass[] default null)
returns table (
    kind text, root regclass, relation regclass, trigger_name text, state text,
    trigger_oid oid, function_oid oid, trigger_version text, function_version text
)
language sql
stable
as $$
    select
        'capture',
        tracked.relation,
        tree.relid,
        'pgtrail_' || capture.operation,
        audit_internal.fires(installed.tgenabled),
        installed.trigger_oid,
        installed.function_oid,
        installed.trigger_version,
        installed.function_version
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
        select
            trigger.tgenabled,
            trigger.oid as trigger_oid,
            function.oid as function_oid,
            -- No two versions of a row have both in common.
            trigger.xmin::text || trigger.ctid::text as trigger_version,
            function.oid::text || ' ' || function.xmin::text || function.ctid::text as function_version
        from pg_catalog.pg_trigger as trigger
        join pg_catalog.pg_proc as function on function.oid = trigger.tgfoid
        where trigger.tgrelid = tree.relid
            and trigger.tgname = ('pgtrail_' || capture.operation)::name
            and function.pronamespace = 'audit_internal'::pg_catalog.regnamespace
            and pg_catalog.starts_with(function.proname, 'capture ')
        -- (By the index, for each: who plans expects few functions, and would look through all triggers for each of them.)
        limit 1
    ) as installed on true
    where (only_roots is null or tracked.relation = any (only_roots))
        and not (class.relkind = 'p' and tree.relid = tracked.relation and capture.operation = 'truncate')
    union all
    select
        'protection',
        protected.relation,
        protected.target,
        wanted.trigger_name,
        audit_internal.fires(installed.tgenabled),
        installed.oid,
        installed.tgfoid,
        installed.xmin::text || installed.ctid::text,
        functions.version
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
    cross join (
        select pg_catalog.string_agg(audit_internal.function_digest(oid), ' ' order by proname) as version
        from pg_catalog.pg_proc
        where pronamespace = 'audit_internal'::pg_catalog.regnamespace and proname in ('refuse_change', 'is_erasure')
    ) as functions
    left join pg_catalog.pg_trigger as installed
        on installed.tgrelid = protected.target
        and installed.tgname = wanted.trigger_name
        -- (null: it was dropped.)
        and installed.tgfoid = pg_catalog.to_regprocedure('audit_internal.refuse_change()')
    where only_roots is null or protected.relation = any (only_roots)
$$;

comment on function audit_internal.own_triggers(regclass[]) is
    'The triggers that pgtrail should have, and whether each is there and fires, as audit_internal.fires() has it: those that record (`capture`) and those that refuse changes of the log (`protection`); and which versions of it and of its function these are.';

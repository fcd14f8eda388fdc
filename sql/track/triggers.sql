-- The triggers of a tracked table: created, enabled, dropped, and fitted to its parents, its children and its columns.

create or replace function audit_internal.untracked_children(tracked_relation regclass)
returns setof regclass
language sql
stable
as $$
    select pg_inherits.inhrelid::pg_catalog.regclass
    from pg_catalog.pg_inherits
    join pg_catalog.pg_class as parent on parent.oid = pg_inherits.inhparent and parent.relkind = 'r'
    where pg_inherits.inhparent = tracked_relation
        and pg_inherits.inhrelid not in (select relation from audit.tracked_table)
    order by pg_inherits.inhrelid
$$;

comment on function audit_internal.untracked_children(regclass) is
    'The tables that inherit from a table and are not tracked: an update of their rows through it fires only triggers of their own.';

create or replace function audit_internal.changes_rows_before(changed_relation regclass)
returns boolean
language sql
stable
as $$
    select exists (
        select
        from pg_catalog.pg_trigger
        where pg_trigger.tgrelid in (select relid from audit_internal.partition_tree(changed_relation))
            and not pg_trigger.tgisinternal
            -- The bits of tgtype: 1 for each row, 2 before, 16 update.
            and pg_trigger.tgtype & 19 = 19
    )
$$;

comment on function audit_internal.changes_rows_before(regclass) is
    'Whether a BEFORE trigger may change columns that an UPDATE does not name.';

create or replace function audit_internal.update_columns(tracked audit.tracked_table)
returns text[]
language plpgsql
stable
as $$
begin
    if not tracked.hot or audit_internal.changes_rows_before(tracked.relation) then
        return '{}';
    end if;
    return array(select name from audit_internal.audited_columns(tracked) order by number);
end
$$;

comment on function audit_internal.update_columns(audit.tracked_table) is
    'The columns whose updates call a table''s UPDATE trigger; none: all do.';

create or replace function audit_internal.renew_triggers(relation regclass)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- What was switched off before this, and what this switches on, are two events.
    perform audit_internal.watch_table(relation);
    perform audit_internal.drop_triggers(relation, only_renamed => true);
    perform audit_internal.create_triggers(relation);
    perform audit_internal.enable_triggers(relation);
    perform audit_internal.watch_table(relation);
end
$$;

comment on function audit_internal.renew_triggers(regclass) is
    'Gives a tracked table the triggers that it lacks, enables those that don''t fire, and records what was so. Takes SHARE ROW EXCLUSIVE on the table if it does anything.';

create or replace function audit_internal.is_for_columns(p_trigger oid, columns text[])
returns boolean
language sql
stable
as $$
    -- (By name: a partition's columns may have other numbers.)
    select case
        when trigger.tgattr::text = '' then columns = '{}'
        else array(
            select attname::text
            from pg_catalog.pg_attribute
            where attrelid = trigger.tgrelid and attnum = any (trigger.tgattr::smallint[])
            order by 1
        ) = array(select name from pg_catalog.unnest(columns) as name order by 1)
    end
    from pg_catalog.pg_trigger as trigger
    where trigger.oid = p_trigger
$$;

comment on function audit_internal.is_for_columns(oid, text[]) is
    'Whether a trigger is for updates of just these columns; none: for all.';

create or replace function audit_internal.triggers_to_replace()
returns table (relation regclass, operation text, by_row boolean, columns text[])
language sql
stable
as $$
    select tracked.relation, capture.operation, wanted.by_row, wanted.columns
    from audit.tracked_table as tracked
    cross join (values ('INSERT'), ('UPDATE'), ('DELETE')) as capture (operation)
    join pg_catalog.pg_trigger as trigger
        on trigger.tgrelid = tracked.relation and trigger.tgname = ('pgtrail_' || pg_catalog.lower(capture.operation collate "C"))::name
    cross join lateral (
        select
            audit_internal.records_by_row(tracked, capture.operation),
            case capture.operation when 'UPDATE' then audit_internal.update_columns(tracked) else '{}' end
    ) as wanted (by_row, columns)
    where (trigger.tgtype & 1 = 1) <> wanted.by_row
        -- (Of other tables a trigger for some columns is somebody's work: reported, and fixed by audit.recompile().)
        or tracked.hot and not audit_internal.is_for_columns(trigger.oid, wanted.columns)
$$;

comment on function audit_internal.triggers_to_replace() is
    'The triggers that fire for each statement and should for each row, or the other way round, since their table got or lost parents or tracked children; and those for other columns than are audited now.';

create or replace function audit_internal.renew_misfits()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    relative regclass;
begin
    for relative in
        select distinct relation from audit_internal.triggers_to_replace()
    loop
        perform audit_internal.compile_table(relative);
        perform audit_internal.renew_triggers(relative);
    end loop;
end
$$;

comment on function audit_internal.renew_misfits() is
    'Has the parents of a table that is tracked now, or no more, record as that wants it.';

create or replace function audit_internal.create_triggers(relation regclass)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    partitioned boolean := (select relkind = 'p' from pg_class where oid = relation);
    tracked audit.tracked_table;
    planned record;
    installed pg_trigger;
begin
    select * into strict tracked from audit.tracked_table as known where known.relation = create_triggers.relation;
    for planned in
        select
            target,
            'pgtrail_' || lower(operation collate "C") as trigger_name,
            concat(
                timing, ' ', operation,
                case when operation = 'UPDATE' then
                    ' of ' || (select string_agg(quote_ident(name), ', ' order by position) from unnest(audit_internal.update_columns(tracked)) with ordinality as updated (name, position))
                end
            ) as occasion,
            case when level = 'row' or rows_as is null then '' else format('referencing %s ', rows_as) end
                || 'for each ' || level as granularity,
            audit_internal.capture_function_name(relation, operation) as function_name
        from (values
            ('after', 'INSERT', 'new table as new_rows'),
            ('after', 'UPDATE', 'old table as old_rows new table as new_rows'),
            ('after', 'DELETE', 'old table as old_rows'),
            ('before', 'TRUNCATE', null)
        ) as capture (timing, operation, rows_as)
        cross join lateral (
            select case when audit_internal.records_by_row(tracked, operation) then 'row' else 'statement' end as level
        ) as firing
        cross join lateral (
            select relation as target
            where not (partitioned and operation = 'TRUNCATE')
            union all
            -- A partition can be truncated by itself, and fires no statement trigger of its parent's then.
            select tree.relid
            from pg_partition_tree(relation) as tree
            where tree.isleaf and partitioned and operation = 'TRUNCATE'
        ) as targets
    loop
        select * into installed from pg_trigger where tgrelid = planned.target and tgname = planned.trigger_name;
        continue when audit_internal.is_as_created(installed.oid, relation) and exists (
            select
            from pg_proc
            where pg_proc.oid = installed.tgfoid
                and pg_proc.proname = planned.function_name
                and pg_proc.pronamespace = 'audit_internal'::regnamespace
        );
        -- (Nothing can be put in the place of a constraint trigger.)
        if installed.tgconstraint <> 0 then
            perform audit_internal.lock_briefly(array[planned.target]::regclass[], 'access exclusive');
            execute format('drop trigger %I on %s', planned.trigger_name, audit_internal.qualified_name(planned.target));
        end if;
        perform audit_internal.lock_briefly(array[planned.target]::regclass[], 'share row exclusive');
        execute format(
            'create or replace trigger %I %s on %s %s execute function audit_internal.%I()',
            planned.trigger_name,
            planned.occasion,
            audit_internal.qualified_name(planned.target),
            planned.granularity,
            planned.function_name
        );
    end loop;
end
$$;

comment on function audit_internal.create_triggers(regclass) is
    'Creates the triggers that a tracked table lacks, and anew those that are not as they should be. Takes SHARE ROW EXCLUSIVE on the table if it does.';

create or replace function audit_internal.enable_triggers(tracked_relation regclass)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    silent record;
begin
    for silent in
        select relation as target, string_agg(format('enable trigger %I', trigger_name), ', ') as changes
        from audit_internal.own_triggers(array[tracked_relation])
        where kind = 'capture' and state in ('disabled', 'replica')
        group by relation
    loop
        perform audit_internal.lock_briefly(array[silent.target]::regclass[], 'share row exclusive');
        execute format('alter table %s %s', audit_internal.qualified_name(silent.target), silent.changes);
    end loop;
end
$$;

comment on function audit_internal.enable_triggers(regclass) is 'Enables the triggers of a tracked table that somebody disabled.';

create or replace function audit_internal.drop_triggers(tracked_relation regclass, only_renamed boolean default false)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    installed record;
begin
    for installed in
        select relation, name
        from audit_internal.installed_triggers()
        where (
                relation in (select relid from audit_internal.partition_tree(tracked_relation))
                -- A partition that was detached keeps its trigger where no event trigger took it away.
                or not only_renamed and function_name = audit_internal.capture_function_name(tracked_relation, 'TRUNCATE')
            )
            and not is_inherited
            and not (only_renamed and name = any (audit_internal.trigger_names()))
    loop
        perform audit_internal.lock_briefly(array[installed.relation], 'access exclusive');
        execute format('drop trigger %I on %s', installed.name, audit_internal.qualified_name(installed.relation));
    end loop;
end
$$;

comment on function audit_internal.drop_triggers(regclass, boolean) is
    'Removes pgtrail''s triggers from a table and its partitions; only_renamed: those to which somebody gave other names, which would record everything twice.';

-- What happens to tracked tables, and to the log's own protection, is followed and recorded in the transaction that does it.
-- Only a superuser can create an event trigger; elsewhere audit.recompile() after a schema change does the same, later.
-- Here which tables a statement alters, and what follows for these.

create or replace function audit_internal.altered_relations()
returns setof oid
language sql
stable
as $$
    with recursive altered (relation) as (
        (
            select command.objid
            from pg_catalog.pg_event_trigger_ddl_commands() as command
            where command.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
            union
            -- Of a type, the tables that follow it.
            select typed.oid
            from pg_catalog.pg_event_trigger_ddl_commands() as command
            join pg_catalog.pg_class as composite on composite.oid = command.objid
            join pg_catalog.pg_depend
                on pg_depend.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass
                and pg_depend.refobjid = composite.reltype
                and pg_depend.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
            join pg_catalog.pg_class as typed on typed.oid = pg_depend.objid and typed.reloftype = composite.reltype
            where command.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
            union
            -- An extension takes its tables to another schema.
            select pg_depend.objid
            from pg_catalog.pg_event_trigger_ddl_commands() as command
            join pg_catalog.pg_depend
                on pg_depend.refclassid = command.classid
                and pg_depend.refobjid = command.objid
                and pg_depend.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                and pg_depend.deptype = 'e'
            where command.classid = 'pg_catalog.pg_extension'::pg_catalog.regclass
        )
        union
        select pg_inherits.inhrelid
        from altered
        join pg_catalog.pg_inherits on pg_inherits.inhparent = altered.relation
    )
    select relation from altered
$$;

comment on function audit_internal.altered_relations() is
    'The relations that this statement alters: by name, by their type or extension, and those that inherit from them or are their partitions. Inside an event trigger alone.';

create or replace function audit_internal.touched_tables()
returns setof regclass
language sql
stable
as $$
    with named (relation) as (
        select place.relation
        from pg_catalog.pg_event_trigger_ddl_commands() as command
        cross join lateral (
            select case command.classid
                when 'pg_catalog.pg_type'::pg_catalog.regclass then command.objid
                when 'pg_catalog.pg_class'::pg_catalog.regclass then (select nullif(reltype, 0) from pg_catalog.pg_class where oid = command.objid)
            end
        ) as type (oid)
        cross join lateral (
            select command.objid::pg_catalog.regclass
            where command.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
            union all
            select pg_trigger.tgrelid
            from pg_catalog.pg_trigger
            where command.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass and pg_trigger.oid = command.objid
            union all
            select pg_rewrite.ev_class
            from pg_catalog.pg_rewrite
            where command.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass and pg_rewrite.oid = command.objid
            union all
            select pg_policy.polrelid
            from pg_catalog.pg_policy
            where command.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass
                and pg_policy.oid = command.objid
                -- (Ours is no change of its own: it follows one, which is recorded when that ends.)
                and pg_policy.polname <> 'pgtrail_truncate'
            union all
            select pg_statistic_ext.stxrelid
            from pg_catalog.pg_statistic_ext
            where command.classid = 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass and pg_statistic_ext.oid = command.objid
            union all
            select pg_index.indrelid
            from pg_catalog.pg_index
            where command.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and pg_index.indexrelid = command.objid
            union all
            select tracked.relation
            from audit.tracked_table as tracked
            join pg_catalog.pg_class on pg_class.oid = tracked.relation
            where (
                    command.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass
                    and pg_class.relnamespace = command.objid
                )
                -- A typed table follows its type; and what is compiled names a column's.
                or pg_class.reloftype = type.oid
                or exists (select from pg_catalog.pg_attribute where attrelid = tracked.relation and atttypid = type.oid)
        ) as place (relation)
    )
    select distinct place.relation
    from (
        select relation from named
        union all
        -- (A tracked table stands for its partitions, of which there may be thousands.)
        select altered.relation::pg_catalog.regclass
        from audit_internal.altered_relations() as altered (relation)
        where altered.relation in (
                select tracked.relation from audit.tracked_table as tracked
                union all
                select step.step_table from audit.path_step as step
            )
    ) as place (relation)
    where exists (select from audit_internal.affected_tables(place.relation))
        or exists (select from audit.own_trigger where own_trigger.relation = place.relation)
        or exists (
            select
            from pg_catalog.pg_class
            where pg_class.oid = place.relation and pg_class.relnamespace = 'audit'::pg_catalog.regnamespace
        )
$$;

comment on function audit_internal.touched_tables() is
    'The tables that this statement has made or altered and that concern us: tracked ones, their partitions, the log''s own. Inside an event trigger alone.';

create or replace function audit_internal.follow_functions()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    touched oid[] := array(select objid from pg_event_trigger_ddl_commands() where classid = 'pg_proc'::regclass);
    roots regclass[] := array(
        select known.root
        from pg_trigger
        join audit.own_trigger as known on known.relation = pg_trigger.tgrelid and known.trigger_name = pg_trigger.tgname
        where pg_trigger.tgfoid = any (touched)
        union
        -- What audit_internal.refuse_change() calls is theirs, too.
        select root
        from audit_internal.own_triggers()
        where kind = 'protection' and (
                select pg_proc.oid
                from pg_proc
                where pg_proc.proname = 'is_erasure' and pg_proc.pronamespace = 'audit_internal'::regnamespace
            ) = any (touched)
    );
begin
    if roots <> '{}' then
        -- (Who may execute a function compiling settles after it has written it.)
        perform audit_internal.record_trigger_changes(roots, with_grants => false);
    end if;
end
$$;

comment on function audit_internal.follow_functions() is
    'Records when a function that one of pgtrail''s triggers calls is no longer what pgtrail made. Inside an event trigger alone.';

create or replace function audit_internal.alters_a_column_type()
returns boolean
language sql
stable
as $$
    select exists (
        select
        from audit_internal.altered_relations() as altered (relation)
        join pg_catalog.pg_class on pg_class.oid = altered.relation
        join pg_catalog.pg_type on pg_type.oid = pg_class.reltype
        cross join lateral (values (pg_type.oid), (pg_type.typarray)) as row_type (oid)
        join pg_catalog.pg_depend on refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass and refobjid = row_type.oid
        where pg_depend.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
            and pg_depend.objsubid > 0
    )
$$;

comment on function audit_internal.alters_a_column_type() is
    'Whether a column somewhere has rows of the table that this statement alters as its values. Inside an event trigger alone.';

create or replace function audit_internal.recompile_misfits()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    misfit record;
    found_misfits record;
begin
    for found_misfits in
        select relation, jsonb_agg(jsonb_build_object('operation', operation, 'by_row', by_row, 'columns', columns)) as triggers
        from audit_internal.triggers_to_replace()
        group by relation
    loop
        perform audit_internal.compile_table(found_misfits.relation);
        for misfit in select * from jsonb_to_recordset(found_misfits.triggers) as fitted (operation text, by_row boolean, columns text[])
        loop
            perform audit_internal.fit_trigger(found_misfits.relation, misfit.operation, misfit.by_row, misfit.columns);
        end loop;
    end loop;
end
$$;

comment on function audit_internal.recompile_misfits() is
    'Has tables record by row that got a parent, and by statement again those that lost it; and has the triggers of hot tables called for the columns that are audited now, or for all where a BEFORE trigger came.';

create or replace function audit_internal.fail_or_warn(p_statement text, p_sqlstate text, p_error text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if (select on_failure from audit.policy) = 'refuse' then
        raise exception using
            errcode = p_sqlstate,
            message = format('pgtrail could not follow this %s: %s', p_statement, p_error),
            hint = 'Nothing was changed. A superuser gets it through with audit.set_on_failure(''continue''), or with the event triggers pgtrail_follow_ddl and pgtrail_follow_drop disabled; audit.recompile() afterwards.';
    end if;
    raise warning 'pgtrail could not follow this %: %', p_statement, p_error
        using hint = 'The statement is done. pgtrail doctor says what is out of date; audit.recompile() fixes it.';
end
$$;

comment on function audit_internal.fail_or_warn(text, text, text) is
    'What audit.policy wants where a schema change can''t be followed: that it fails too, or that it goes through with a warning.';

create or replace function audit_internal.record_attached_partitions(touched regclass[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    attached record;
begin
    for attached in
        select distinct audit_internal.qualified_name(present.root) as root, audit_internal.qualified_name(present.relation) as name
        from audit_internal.own_triggers() as present
        where present.kind = 'capture'
            and present.root = any (array(select audit_internal.tracked_root(relation) from unnest(touched) as touched_table (relation)))
            and not exists (select from audit.own_trigger as known where known.relation = present.relation)
        order by 1, 2
    loop
        perform audit.record(
            'audit.partition_attached', 'partition', attached.name, attached.name, null,
            jsonb_build_object('table', attached.root)
        );
    end loop;
end
$$;

comment on function audit_internal.record_attached_partitions(regclass[]) is
    'Records that a table, with the rows that it has, became a partition of a tracked one.';

-- What happens to tracked tables, and to the log's own protection, is followed and recorded in the transaction that does it.
-- Only a superuser can create an event trigger; elsewhere audit.recompile() after a schema change does the same, later.

create or replace function audit.touched_tables()
returns setof regclass
language sql
stable
as $$
    select distinct place.relation
    from pg_catalog.pg_event_trigger_ddl_commands() as command
    cross join lateral (
        select command.objid::pg_catalog.regclass
        where command.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
        union all
        select pg_trigger.tgrelid
        from pg_catalog.pg_trigger
        where command.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass and pg_trigger.oid = command.objid
        union all
        select pg_policy.polrelid
        from pg_catalog.pg_policy
        where command.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass and pg_policy.oid = command.objid
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
            -- A typed table follows its type.
            or (command.object_type in ('type', 'composite type') and pg_class.reloftype <> 0)
    ) as place (relation)
    where audit.tracked_root(place.relation) is not null
        or exists (select from audit.passed_through(place.relation))
        or exists (select from audit.own_trigger where own_trigger.relation = place.relation)
        or exists (
            select
            from pg_catalog.pg_class
            where pg_class.oid = place.relation and pg_class.relnamespace = 'audit'::pg_catalog.regnamespace
        )
$$;

comment on function audit.touched_tables() is
    'The tables that this statement has made or altered and that concern us: tracked ones, their partitions, the log''s own. Inside an event trigger alone.';

create or replace function audit.follow_ddl()
returns event_trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
-- A small query over large catalogues looks costly: to compile it would take longer than the statement that is followed.
set jit = off
as $$
declare
    touched regclass[] := array(select audit.touched_tables());
    altered regclass;
begin
    -- A table whose triggers are being made is watched once they are all there.
    if touched = '{}'
        or (tg_tag = 'CREATE TRIGGER' and not exists (select from audit.own_trigger where relation = any (touched)))
    then
        return;
    end if;
    if tg_tag = 'ALTER TABLE' then
        perform audit.note_attached_partitions(touched);
    end if;
    perform audit.follow_partitions(touched);
    if tg_tag not in ('CREATE TRIGGER', 'ALTER TRIGGER') then
        for altered in
            select distinct concerned.relation
            from unnest(touched) as touched_table (relation)
            cross join lateral (
                select audit.tracked_root(touched_table.relation)
                union all
                select audit.passed_through(touched_table.relation)
            ) as concerned (relation)
            where concerned.relation is not null
        loop
            perform audit.compile_table(altered);
        end loop;
    end if;
    perform audit.watch_triggers();
exception
    when others then
        perform audit.fail_or_warn(tg_tag, sqlstate, sqlerrm);
end
$$;

comment on function audit.follow_ddl() is
    'Follows a tracked table''s new shape, name, schema and partitions, and records when one of pgtrail''s triggers no longer fires.';

create or replace function audit.relation_named(schema_name text, relation_name text)
returns regclass
language sql
stable
as $$
    -- (to_regclass() fails where audit_owner may not use the schema, and would take a DROP down with it.)
    select pg_class.oid::pg_catalog.regclass
    from pg_catalog.pg_class
    join pg_catalog.pg_namespace on pg_namespace.oid = pg_class.relnamespace
    where pg_namespace.nspname = schema_name and pg_class.relname = relation_name
$$;

comment on function audit.relation_named(text, text) is 'The table of this name, whoever may use its schema; null: there is none.';

create or replace function audit.follow_drop()
returns event_trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
    dropped record;
    altered regclass;
begin
    -- Writers wait while a table is untracked, and what is dropped then is functions for the most part.
    if not exists (select from pg_event_trigger_dropped_objects() where classid <> 'pg_proc'::regclass) then
        return;
    end if;
    for dropped in
        select
            object.objid::regclass as relation,
            object.object_identity as name,
            tracked.relation is not null as was_tracked,
            known.root
        from pg_event_trigger_dropped_objects() as object
        left join audit.tracked_table as tracked on tracked.relation = object.objid
        left join (select distinct relation, root from audit.own_trigger) as known on known.relation = object.objid
        where object.classid = 'pg_class'::regclass
            and object.objsubid = 0
            and (tracked.relation is not null or known.relation is not null)
    loop
        if dropped.was_tracked then
            perform audit.record('audit.table_dropped', 'tracked_table', dropped.name, dropped.name, null, null);
            delete from audit.tracked_table where relation = dropped.relation;
        elsif exists (select from pg_class where oid = dropped.root) then
            perform audit.record(
                'audit.partition_dropped', 'partition', dropped.name, dropped.name,
                jsonb_build_object('table', audit.qualified_name(dropped.root)), null
            );
        end if;
        perform audit.drop_orphaned_functions();
    end loop;

    -- What an ALTER TABLE drops is seen at its end.
    if tg_tag = 'ALTER TABLE' then
        return;
    end if;
    for altered in
        select distinct concerned.relation
        from pg_event_trigger_dropped_objects() as object
        cross join lateral (
            select
                case
                    when object.object_type in ('table', 'table column') then object.objid::regclass
                    -- (It has no table of its own any more.)
                    when object.object_type = 'policy'
                        then audit.relation_named(object.address_names[1], object.address_names[2])
                end
        ) as place (relation)
        cross join lateral (
            select audit.tracked_root(place.relation)
            union all
            select audit.passed_through(place.relation)
        ) as concerned (relation)
        join audit.tracked_table as tracked on tracked.relation = concerned.relation
        join pg_class on pg_class.oid = concerned.relation
    loop
        perform audit.compile_table(altered);
    end loop;
    if exists (
        select
        from pg_event_trigger_dropped_objects() as object
        left join audit.own_trigger as known on known.relation = object.objid
        where known.relation is not null
            or (
                object.object_type = 'trigger'
                and audit.relation_named(object.address_names[1], object.address_names[2])
                    in (select relation from audit.own_trigger)
            )
    ) then
        perform audit.watch_triggers();
    end if;
exception
    when others then
        perform audit.fail_or_warn(tg_tag, sqlstate, sqlerrm);
end
$$;

comment on function audit.follow_drop() is
    'Records that a tracked table, a partition or one of pgtrail''s triggers was dropped, forgets what is gone, and follows a column that went with its type.';

create or replace function audit.fail_or_warn(p_statement text, p_sqlstate text, p_error text)
returns void
language plpgsql
volatile
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
        using hint = 'The statement is done. pgtrail doctor says what is out of date; audit.recompile() mends it.';
end
$$;

comment on function audit.fail_or_warn(text, text, text) is
    'What audit.policy wants where a schema change can''t be followed: that it fails too, or that it goes through with a warning.';

create or replace function audit.note_attached_partitions(touched regclass[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    attached record;
begin
    for attached in
        select distinct audit.qualified_name(present.root) as root, audit.qualified_name(present.relation) as name
        from audit.own_triggers() as present
        where present.kind = 'capture'
            and present.root = any (array(select audit.tracked_root(relation) from unnest(touched) as touched_table (relation)))
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

comment on function audit.note_attached_partitions(regclass[]) is
    'Records that a table, with the rows that it has, became a partition of a tracked one.';

create or replace function audit.follow_partitions(touched regclass[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    place record;
begin
    -- (Made below, by a superuser alone.)
    if to_regprocedure('audit.extend_capture(regclass,text)') is null then
        return;
    end if;
    for place in
        select distinct known.relation
        from audit.own_trigger as known
        where known.kind = 'capture'
            and known.root = any (touched)
            and audit.tracked_root(known.relation) is distinct from known.root
            and exists (select from pg_class where pg_class.oid = known.relation)
    loop
        perform audit.release_partition(place.relation);
    end loop;
    for place in
        select distinct root.relation
        from (select audit.tracked_root(relation) from unnest(touched) as touched_table (relation)) as root (relation)
        where root.relation is not null
    loop
        perform audit.extend_capture(place.relation, audit.claim_capture_function(place.relation, 'TRUNCATE'));
    end loop;
    for place in
        select touched_table.relation
        from unnest(touched) as touched_table (relation)
        where exists (select from audit.passed_through(touched_table.relation))
    loop
        perform audit.extend_reading(place.relation);
    end loop;
end
$$;

comment on function audit.follow_partitions(regclass[]) is
    'Lets capture reach where its table went: new partitions, another schema, row-level security; and leave a partition that left.';

revoke execute on function
    audit.touched_tables(), audit.follow_ddl(), audit.follow_drop(), audit.fail_or_warn(text, text, text),
    audit.note_attached_partitions(regclass[]), audit.follow_partitions(regclass[])
    from public;

-- As everything is before anybody touches it.
select audit.watch_triggers();

reset role;

do $superuser$
begin
    if not (select rolsuper from pg_roles where rolname = current_user) then
        raise notice 'pgtrail: no superuser, so no event trigger: call audit.recompile() after you alter a tracked table';
        return;
    end if;

    -- audit_owner owns no table of the application's, so these two run as the superuser. They call nothing that
    -- audit_owner could replace, and hand on no more than what a table's owner let pgtrail have by tracking it.

    create or replace function audit.extend_capture(root regclass, truncate_function text)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
    declare
        place record;
        function_name name := (
            select proname
            from pg_proc
            where proname = truncate_function and pronamespace = 'audit'::regnamespace and starts_with(proname, 'capture ')
        );
    begin
        -- Tracked by somebody who may: audit_owner could write what it likes into its own tables.
        if not has_table_privilege('audit_owner', root, 'select')
            or not exists (
                select
                from pg_trigger
                join pg_proc on pg_proc.oid = pg_trigger.tgfoid
                where pg_trigger.tgrelid = root
                    and pg_proc.pronamespace = 'audit'::regnamespace
                    and starts_with(pg_proc.proname, 'capture ')
            )
        then
            return;
        end if;

        for place in
            select
                pg_class.oid,
                format('%I.%I', pg_namespace.nspname, pg_class.relname) as name,
                pg_namespace.nspname as schema_name,
                pg_class.relrowsecurity as filtered,
                pg_class.oid <> root as is_partition
            from pg_class
            join pg_namespace on pg_namespace.oid = pg_class.relnamespace
            where pg_class.oid in (select relid from pg_partition_tree(root) where isleaf union select root)
                and pg_class.relkind in ('r', 'p')
        loop
            if not has_table_privilege('audit_owner', place.oid, 'select') then
                execute format('grant select on %s to audit_owner', place.name);
            end if;
            if not has_schema_privilege('audit_owner', place.schema_name, 'usage') then
                execute format('grant usage on schema %I to audit_owner', place.schema_name);
            end if;
            if place.filtered
                and not exists (select from pg_policy where polrelid = place.oid and polname = 'pgtrail_truncate')
            then
                execute format('create policy pgtrail_truncate on %s for select to audit_owner using (true)', place.name);
            end if;
            if place.is_partition
                and function_name is not null
                and not exists (select from pg_trigger where tgrelid = place.oid and tgname = 'pgtrail_truncate')
            then
                execute format(
                    'create trigger pgtrail_truncate before truncate on %s for each statement execute function audit.%I()',
                    place.name, function_name
                );
            end if;
        end loop;
    end
    $$;

    comment on function audit.extend_capture(regclass, text) is
        'Gives audit_owner on a tracked table''s partitions, and on its schema, what its owner gave on the table; creates their triggers for TRUNCATE. Runs as the superuser who installed it.';

    create or replace function audit.extend_reading(place regclass)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
    declare
        found_place record;
    begin
        for found_place in
            select
                format('%I.%I', pg_namespace.nspname, pg_class.relname) as name,
                pg_namespace.nspname as schema_name,
                pg_class.relrowsecurity
                    and not exists (select from pg_policy where polrelid = pg_class.oid and polname = 'pgtrail_truncate')
                    as filtered
            from pg_class
            join pg_namespace on pg_namespace.oid = pg_class.relnamespace
            where pg_class.oid = place
                and has_table_privilege('audit_owner', pg_class.oid, 'select')
                and exists (select from audit.org_step where org_step.place = pg_class.oid)
        loop
            if not has_schema_privilege('audit_owner', found_place.schema_name, 'usage') then
                execute format('grant usage on schema %I to audit_owner', found_place.schema_name);
            end if;
            if found_place.filtered then
                execute format('create policy pgtrail_truncate on %s for select to audit_owner using (true)', found_place.name);
            end if;
        end loop;
    end
    $$;

    comment on function audit.extend_reading(regclass) is
        'Lets audit_owner go on reading a table that it may read and that leads to organizations: in another schema, and every row should row-level security come to it. Runs as the superuser who installed it.';

    create or replace function audit.release_partition(partition regclass)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
    declare
        name text := (
            select format('%I.%I', pg_namespace.nspname, pg_class.relname)
            from pg_class
            join pg_namespace on pg_namespace.oid = pg_class.relnamespace
            where pg_class.oid = partition
                and pg_class.relowner <> 'audit_owner'::regrole
                and not exists (
                    select
                    from audit.tracked_table
                    where relation = pg_class.oid or relation in (select relid from pg_partition_ancestors(pg_class.oid))
                )
        );
    begin
        if name is null then
            return;
        end if;
        if exists (
            select
            from pg_trigger
            join pg_proc on pg_proc.oid = pg_trigger.tgfoid
            where pg_trigger.tgrelid = partition
                and pg_trigger.tgname = 'pgtrail_truncate'
                and pg_proc.pronamespace = 'audit'::regnamespace
        ) then
            execute format('drop trigger pgtrail_truncate on %s', name);
        end if;
        if exists (select from pg_policy where polrelid = partition and polname = 'pgtrail_truncate') then
            execute format('drop policy pgtrail_truncate on %s', name);
        end if;
        execute format('revoke select on %s from audit_owner', name);
    end
    $$;

    comment on function audit.release_partition(regclass) is
        'Takes from a table that is no partition of a tracked one any more what pgtrail put there. Runs as the superuser who installed it.';

    revoke execute on function audit.extend_capture(regclass, text), audit.extend_reading(regclass), audit.release_partition(regclass)
        from public;
    grant execute on function audit.extend_capture(regclass, text), audit.extend_reading(regclass), audit.release_partition(regclass)
        to audit_owner;

    drop event trigger if exists pgtrail_follow_ddl;
    drop event trigger if exists pgtrail_follow_drop;
    execute audit.event_trigger_text('pgtrail_follow_ddl');
    execute audit.event_trigger_text('pgtrail_follow_drop');
end
$superuser$;

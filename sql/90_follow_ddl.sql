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
            -- A typed table follows its type; and what is compiled names a column's.
            or (
                command.classid = 'pg_catalog.pg_type'::pg_catalog.regclass
                and (
                    pg_class.reloftype <> 0
                    or exists (
                        select from pg_catalog.pg_attribute where attrelid = tracked.relation and atttypid = command.objid
                    )
                )
            )
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

revoke execute on function
    audit.touched_tables(), audit.follow_ddl(), audit.follow_drop(), audit.fail_or_warn(text, text, text),
    audit.note_attached_partitions(regclass[])
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

    -- It runs as whoever changes the table, who may do this by hand too; and since that may be a superuser, it is the
    -- superuser's, and calls nothing that anybody else could replace.
    create or replace function audit.extend_capture()
    returns event_trigger
    language plpgsql
    set search_path = pg_catalog, pg_temp
    set jit = off
    as $$
    declare
        place record;
        statement text;
    begin
        for place in
            with read_by as (
                select distinct class.oid, recorder.rolname as recorder
                from pg_event_trigger_ddl_commands() as command
                cross join lateral (select relid from pg_partition_tree(command.objid) union select command.objid) as tree (oid)
                join pg_class as class on class.oid = tree.oid and class.relkind in ('r', 'p')
                cross join lateral (select relid from pg_partition_ancestors(class.oid) union select class.oid) as above (oid)
                join pg_class as parent on parent.oid = above.oid and parent.relowner = class.relowner
                join pg_roles as recorder
                    on recorder.rolname ~ '^audit_recorder(_[0-9]+)?$' and has_table_privilege(recorder.oid, above.oid, 'select')
                where command.classid = 'pg_class'::regclass
            )
            select
                format('%I.%I', namespace.nspname, class.relname) as name,
                array[
                    case when not has_table_privilege(read_by.recorder, class.oid, 'select') then
                        format('grant select on %I.%I to %I', namespace.nspname, class.relname, read_by.recorder) end,
                    case when not has_schema_privilege(read_by.recorder, namespace.oid, 'usage') then
                        format('grant usage on schema %I to %I', namespace.nspname, read_by.recorder) end,
                    case when class.relrowsecurity
                        and not exists (select from pg_policy where polrelid = class.oid and polname = 'pgtrail_truncate')
                    then
                        format('create policy pgtrail_truncate on %I.%I for select to %I using (true)', namespace.nspname, class.relname, read_by.recorder)
                    end,
                    case when class.relispartition
                        and class.relkind = 'r'
                        and not exists (select from pg_trigger where tgrelid = class.oid and tgname = 'pgtrail_truncate')
                    then
                        format(
                            'create trigger pgtrail_truncate before truncate on %I.%I for each statement execute function audit.%I()',
                            namespace.nspname, class.relname, capture.truncate_function
                        )
                    end
                ] as statements
            from read_by
            join pg_class as class on class.oid = read_by.oid
            join pg_namespace as namespace on namespace.oid = class.relnamespace
            left join lateral (
                -- That of the table whose copy its own triggers are.
                select regexp_replace(pg_proc.proname, ' insert$', ' truncate')
                from pg_trigger
                join pg_proc on pg_proc.oid = pg_trigger.tgfoid and pg_proc.pronamespace = 'audit'::regnamespace
                where pg_trigger.tgrelid = class.oid and pg_trigger.tgname = 'pgtrail_insert' and pg_trigger.tgparentid <> 0
            ) as capture (truncate_function) on true
            union all
            -- What is no partition any more has kept that trigger, and no other.
            select
                format('%I.%I', namespace.nspname, class.relname),
                array[format('drop trigger pgtrail_truncate on %I.%I', namespace.nspname, class.relname)]
                    || array(
                        select format('drop policy pgtrail_truncate on %I.%I', namespace.nspname, class.relname)
                        from pg_policy
                        where polrelid = class.oid and polname = 'pgtrail_truncate'
                    )
                    || array(
                        select format('revoke select on %I.%I from %I', namespace.nspname, class.relname, recorder.rolname)
                        from pg_roles as recorder
                        where recorder.rolname ~ '^audit_recorder(_[0-9]+)?$' and has_table_privilege(recorder.oid, class.oid, 'select')
                    )
            from pg_trigger
            join pg_proc on pg_proc.oid = pg_trigger.tgfoid and pg_proc.pronamespace = 'audit'::regnamespace
            join pg_class as class on class.oid = pg_trigger.tgrelid and not class.relispartition
            join pg_namespace as namespace on namespace.oid = class.relnamespace
            where tg_tag = 'ALTER TABLE'
                and pg_trigger.tgname = 'pgtrail_truncate'
                and not exists (select from pg_trigger as other where other.tgrelid = class.oid and other.tgname = 'pgtrail_insert')
        loop
            foreach statement in array place.statements
            loop
                begin
                    if statement is not null then
                        execute statement;
                    end if;
                exception
                    when insufficient_privilege then
                        raise warning 'pgtrail: % could not be extended to %: %', 'capture', place.name, sqlerrm
                            using hint = 'Let its owner, or a superuser, call audit.recompile().';
                end;
            end loop;
        end loop;
    end
    $$;

    comment on function audit.extend_capture() is
        'Lets the role that records a table go on reading it where it went: a new partition, another schema, row-level security; gives a partition its trigger for TRUNCATE, and takes it from one that was detached. Runs as whoever altered the table.';

    revoke execute on function audit.extend_capture() from public;

    drop function if exists audit.extend_capture(regclass, text);
    drop function if exists audit.extend_reading(regclass);
    drop function if exists audit.release_partition(regclass);
    drop function if exists audit.follow_partitions(regclass[]);

    drop event trigger if exists pgtrail_extend_capture;
    drop event trigger if exists pgtrail_follow_ddl;
    drop event trigger if exists pgtrail_follow_drop;
    execute audit.event_trigger_text('pgtrail_extend_capture');
    execute audit.event_trigger_text('pgtrail_follow_ddl');
    execute audit.event_trigger_text('pgtrail_follow_drop');
end
$superuser$;

-- What happens to tracked tables, and to the log's own protection, is followed and recorded in the transaction that does it.
-- Only a superuser can create an event trigger; elsewhere audit.recompile() after a schema change does the same, later.

create or replace function audit.altered_relations()
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
            join pg_catalog.pg_type on pg_type.typrelid = command.objid
            join pg_catalog.pg_depend
                on pg_depend.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass
                and pg_depend.refobjid = pg_type.oid
                and pg_depend.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
            join pg_catalog.pg_class as typed on typed.oid = pg_depend.objid and typed.reloftype = pg_type.oid
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

comment on function audit.altered_relations() is
    'The relations that this statement alters: by name, by their type or extension, and those that inherit from them or are their partitions. Inside an event trigger alone.';

create or replace function audit.touched_tables()
returns setof regclass
language sql
stable
as $$
    with named (relation) as (
        select place.relation
        from pg_catalog.pg_event_trigger_ddl_commands() as command
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
                -- (Ours is no change of its own: it follows one, which is told when that ends.)
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
                or exists (
                    select
                    from pg_catalog.pg_type as altered
                    where (command.classid, command.objid) in (
                            ('pg_catalog.pg_type'::pg_catalog.regclass, altered.oid),
                            ('pg_catalog.pg_class'::pg_catalog.regclass, altered.typrelid)
                        )
                        and (
                            pg_class.reloftype = altered.oid
                            or exists (
                                select from pg_catalog.pg_attribute where attrelid = tracked.relation and atttypid = altered.oid
                            )
                        )
                )
        ) as place (relation)
    )
    select distinct place.relation
    from (
        select relation from named
        union all
        -- (A tracked table stands for its partitions, of which there may be thousands.)
        select altered.relation::pg_catalog.regclass
        from audit.altered_relations() as altered (relation)
        where altered.relation in (
                select tracked.relation from audit.tracked_table as tracked
                union all
                select step.place from audit.path_step as step
            )
    ) as place (relation)
    where exists (select from audit.concerned_tables(place.relation))
        or exists (select from audit.own_trigger where own_trigger.relation = place.relation)
        or exists (
            select
            from pg_catalog.pg_class
            where pg_class.oid = place.relation and pg_class.relnamespace = 'audit'::pg_catalog.regnamespace
        )
$$;

comment on function audit.touched_tables() is
    'The tables that this statement has made or altered and that concern us: tracked ones, their partitions, the log''s own. Inside an event trigger alone.';

create or replace function audit.follow_functions()
returns void
language plpgsql
volatile
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
        -- What audit.refuse_change() calls is theirs, too.
        select root
        from audit.own_triggers()
        where kind = 'protection' and (
                select pg_proc.oid
                from pg_proc
                where pg_proc.proname = 'erases_a_person' and pg_proc.pronamespace = 'audit'::regnamespace
            ) = any (touched)
    );
begin
    if roots <> '{}' then
        -- (Who may execute a function compiling settles after it has written it.)
        perform audit.note_triggers(roots, with_grants => false);
    end if;
end
$$;

comment on function audit.follow_functions() is
    'Records when a function that one of pgtrail''s triggers calls is no longer what pgtrail made. Inside an event trigger alone.';

create or replace function audit.alters_a_column_type()
returns boolean
language sql
stable
as $$
    select exists (
        select
        from audit.altered_relations() as altered (relation)
        join pg_catalog.pg_type on pg_type.typrelid = altered.relation
        join pg_catalog.pg_depend
            on refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass and refobjid in (pg_type.oid, pg_type.typarray)
        where pg_depend.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
            and pg_depend.objsubid > 0
    )
$$;

comment on function audit.alters_a_column_type() is
    'Whether a column somewhere has rows of the table that this statement alters as its values. Inside an event trigger alone.';

create or replace function audit.fit_tables()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    misfit record;
    found_misfits record;
begin
    for found_misfits in
        select relation, jsonb_agg(jsonb_build_object('operation', operation, 'by_row', by_row, 'columns', columns)) as triggers
        from audit.misfits()
        group by relation
    loop
        perform audit.compile_table(found_misfits.relation);
        for misfit in select * from jsonb_to_recordset(found_misfits.triggers) as fitted (operation text, by_row boolean, columns text[])
        loop
            perform audit.fit_trigger(found_misfits.relation, misfit.operation, misfit.by_row, misfit.columns);
        end loop;
    end loop;
end
$$;

comment on function audit.fit_tables() is
    'Has tables record by row that got a parent, and by statement again those that lost it; and has the triggers of hot tables called for the columns that are audited now, or for all where a BEFORE trigger came.';

create or replace function audit.follow_ddl()
returns event_trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
-- A small query over large catalogues looks costly: to compile it would take longer than the statement that is followed.
set jit = off
as $$
declare
    touched regclass[];
    changes_types boolean;
    altered regclass;
begin
    if tg_tag in ('CREATE FUNCTION', 'ALTER FUNCTION', 'ALTER ROUTINE') then
        perform audit.follow_functions();
        return;
    end if;
    touched := array(select audit.touched_tables());
    if tg_tag in ('ALTER TABLE', 'CREATE TABLE', 'ALTER FOREIGN TABLE', 'CREATE FOREIGN TABLE') then
        touched := touched || array(select audit.tables_with_other_relatives());
    end if;
    changes_types := tg_tag in ('ALTER TYPE', 'ALTER DOMAIN')
        or (tg_tag in ('ALTER TABLE', 'ALTER FOREIGN TABLE', 'ALTER VIEW', 'ALTER MATERIALIZED VIEW') and audit.alters_a_column_type());
    -- A table whose triggers are being made is watched once they are all there.
    if (touched = '{}' and not changes_types)
        or (tg_tag = 'CREATE TRIGGER' and not exists (select from audit.own_trigger where relation = any (touched)))
    then
        return;
    end if;
    perform audit.note_altered(
        array(
            select audit.tracked_root(relation) from unnest(touched) as touched_table (relation)
            union
            select audit.tables_with_own_types() where changes_types
        ),
        tg_tag
    );
    if touched = '{}' then
        return;
    end if;
    if tg_tag = 'ALTER TABLE' then
        perform audit.note_attached_partitions(touched);
    end if;
    if tg_tag not in ('CREATE TRIGGER', 'ALTER TRIGGER', 'CREATE RULE', 'ALTER RULE') then
        -- Compiling puts right what somebody altered.
        perform audit.note_triggers(
            array(select audit.tracked_root(relation) from unnest(touched) as touched_table (relation))
        );
        for altered in
            select distinct concerned.relation
            from unnest(touched) as touched_table (relation)
            cross join lateral audit.concerned_tables(touched_table.relation) as concerned (relation)
        loop
            perform audit.compile_table(altered);
        end loop;
        perform audit.fit_tables();
    elsif tg_tag = 'CREATE TRIGGER' and exists (
        select
        from pg_event_trigger_ddl_commands() as command
        join pg_trigger on pg_trigger.oid = command.objid and command.classid = 'pg_trigger'::regclass
        -- (One of ours that is not as it should be is told of, and stays for whoever looks.)
        where pg_trigger.tgname <> all (audit.trigger_names())
    )
    then
        perform audit.fit_tables();
    end if;
    perform audit.watch_triggers();
exception
    when others then
        perform audit.fail_or_warn(tg_tag, sqlstate, sqlerrm);
end
$$;

comment on function audit.follow_ddl() is
    'Follows a tracked table''s new shape, name, schema and partitions, and records when one of pgtrail''s triggers no longer fires.';

create or replace function audit.follow_rewrite()
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
        where relation = audit.tracked_root(pg_event_trigger_table_rewrite_oid());
    end if;
exception
    when others then
        perform audit.fail_or_warn(tg_tag, sqlstate, sqlerrm);
end
$$;

comment on function audit.follow_rewrite() is
    'Remembers, until the statement ends and is recorded, that it writes the values of a tracked table''s rows anew.';

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

create or replace function audit.table_of_dropped(object_type text, objid oid, address_names text[])
returns regclass
language sql
stable
as $$
    select case
        when object_type in ('table', 'table column') then objid::pg_catalog.regclass
        -- (It has no table of its own any more.)
        when object_type in ('policy', 'rule', 'trigger', 'table constraint', 'default value')
            then audit.relation_named(address_names[1], address_names[2])
    end
$$;

comment on function audit.table_of_dropped(text, oid, text[]) is 'The table that a dropped object was, or was of.';

create or replace function audit.refuse_to_lose_hot_triggers()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    lost record;
begin
    select column_of.objid::regclass as relation, column_of.address_names[3] as column_name
    into lost
    from pg_event_trigger_dropped_objects() as trigger
    join pg_event_trigger_dropped_objects() as column_of on column_of.object_type = 'table column'
    join audit.tracked_table as tracked on tracked.relation = column_of.objid and tracked.hot
    where trigger.object_type = 'trigger' and trigger.address_names[3] = 'pgtrail_update'
    limit 1;
    if found then
        raise exception using
            errcode = 'PT076',
            message = format('with column "%s" of %s the trigger would go that records its updates', lost.column_name, lost.relation),
            hint = format(
                'First call audit.track(%L, …) without hot, then drop the column (CASCADE is not needed then), then call it with hot => true again.',
                lost.relation::text
            );
    end if;
end
$$;

comment on function audit.refuse_to_lose_hot_triggers() is
    'Raises PT076 where an ALTER TABLE ... CASCADE drops a trigger that is for audited columns alone with one of these. Inside an event trigger alone.';

create or replace function audit.follow_drop()
returns event_trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
set jit = off
as $$
declare
    dropped record;
    altered regclass;
begin
    if tg_tag = 'ALTER TABLE' then
        perform audit.refuse_to_lose_hot_triggers();
    end if;
    -- Writers wait while a table is untracked, and what is dropped then is functions for the most part.
    if not exists (select from pg_event_trigger_dropped_objects() where classid <> 'pg_proc'::regclass) then
        return;
    end if;
    for dropped in
        select
            object.objid::regclass as relation,
            -- (The object's identity is quoted as the session wants it.)
            format('%I.%I', object.address_names[1], object.address_names[2]) as name,
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
    perform audit.note_altered(
        array(
            select audit.tracked_root(audit.table_of_dropped(object.object_type, object.objid, object.address_names))
            from pg_event_trigger_dropped_objects() as object
            union
            select audit.tables_with_other_relatives()
        ),
        tg_tag
    );
    for altered in
        select distinct concerned.relation
        from pg_event_trigger_dropped_objects() as object
        cross join lateral (
            select audit.table_of_dropped(object.object_type, object.objid, object.address_names)
            where object.object_type in ('table', 'table column', 'policy')
        ) as place (relation)
        cross join lateral audit.concerned_tables(place.relation) as concerned (relation)
        join audit.tracked_table as tracked on tracked.relation = concerned.relation
        join pg_class on pg_class.oid = concerned.relation
    loop
        perform audit.compile_table(altered);
    end loop;
    if exists (
        select
        from pg_event_trigger_dropped_objects()
        where object_type = 'table'
            or object_type = 'trigger' and address_names[3] <> all (audit.trigger_names())
    )
    then
        perform audit.fit_tables();
    end if;
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
    when sqlstate 'PT076' then
        raise;
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
        using hint = 'The statement is done. pgtrail doctor says what is out of date; audit.recompile() fixes it.';
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

-- As everything is before anybody touches it; what protects the log is as it was installed just now.
update audit.own_trigger set function_version = null where kind = 'protection';
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
    set quote_all_identifiers = off
    set standard_conforming_strings = on
    set jit = off
    as $$
    declare
        place record;
        statement text;
    begin
        for place in
            with altered as (
                select command.objid as relation
                from pg_event_trigger_ddl_commands() as command
                where command.classid = 'pg_class'::regclass
                union
                select pg_depend.objid
                from pg_event_trigger_ddl_commands() as command
                join pg_depend
                    on pg_depend.refclassid = command.classid
                    and pg_depend.refobjid = command.objid
                    and pg_depend.classid = 'pg_class'::regclass
                    and pg_depend.deptype = 'e'
                where command.classid = 'pg_extension'::regclass
            ),
            read_by as (
                -- Who owns the function of its trigger or, of what is only read, who was granted it; not who may read it besides.
                select distinct on (class.oid) class.oid, known.recorder
                from altered
                cross join lateral (select relid from pg_partition_tree(altered.relation) union select altered.relation) as tree (oid)
                join pg_class as class on class.oid = tree.oid and class.relkind in ('r', 'p')
                cross join lateral (select relid from pg_partition_ancestors(class.oid) union select class.oid) as above (oid)
                join pg_class as parent on parent.oid = above.oid and parent.relowner = class.relowner
                cross join lateral (
                    select 1, pg_proc.proowner
                    from pg_trigger
                    join pg_proc on pg_proc.oid = pg_trigger.tgfoid and pg_proc.pronamespace = 'audit'::regnamespace
                    where pg_trigger.tgrelid = parent.oid and starts_with(pg_proc.proname, 'capture ')
                    union all
                    select 2, granted.grantee
                    from aclexplode(parent.relacl) as granted
                    where granted.privilege_type = 'SELECT'
                ) as reader (rank, role)
                cross join lateral (
                    select rolname as recorder
                    from pg_roles
                    where pg_roles.oid = reader.role and rolname ~ '^audit_recorder(_[0-9]+)?$'
                ) as known
                order by class.oid, reader.rank, known.recorder
            )
            select
                format('%I.%I', namespace.nspname, class.relname) as name,
                array[
                    -- (Of its own, so that it is known for the one that reads it.)
                    case when not exists (
                        select from aclexplode(class.relacl) where grantee = read_by.recorder::regrole and privilege_type = 'SELECT'
                    ) then
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
                        select distinct format('revoke select on %I.%I from %I', namespace.nspname, class.relname, recorder.rolname)
                        from aclexplode(class.relacl) as granted
                        join pg_roles as recorder on recorder.oid = granted.grantee
                        where recorder.rolname ~ '^audit_recorder(_[0-9]+)?$' and granted.privilege_type = 'SELECT'
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
    -- (By which it is known for one of ours; nobody can call it.)
    grant execute on function audit.extend_capture() to audit_owner;

    drop event trigger if exists pgtrail_extend_capture;
    drop event trigger if exists pgtrail_follow_ddl;
    drop event trigger if exists pgtrail_follow_drop;
    execute audit.event_trigger_text('pgtrail_extend_capture');
    execute audit.event_trigger_text('pgtrail_follow_ddl');
    execute audit.event_trigger_text('pgtrail_follow_drop');
end
$superuser$;

do $fitting$
begin
    if not (select rolsuper from pg_roles where rolname = current_user) then
        return;
    end if;

    -- audit_owner has no right to a trigger of the application's tables, and whoever gives a table a parent none to pgtrail's
    -- functions. This runs as the superuser, reads pg_catalog alone, and can do nothing but have a trigger of pgtrail's fire for
    -- each row rather than for each statement, or the other way round.
    create or replace function audit.fit_trigger(tracked_relation regclass, event_operation text, by_row boolean, columns text[])
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
    set quote_all_identifiers = off
    set standard_conforming_strings = on
    as $$
    declare
        trigger record;
    begin
        select
            pg_trigger.tgname,
            format('%I.%I', pg_namespace.nspname, pg_class.relname) as table_name,
            pg_proc.proname as function_name,
            given.rows_as
        into trigger
        from (values
            ('INSERT', 'new table as new_rows'),
            ('UPDATE', 'old table as old_rows new table as new_rows'),
            ('DELETE', 'old table as old_rows')
        ) as given (operation, rows_as)
        join pg_trigger on pg_trigger.tgname = 'pgtrail_' || lower(given.operation collate "C")
        join pg_proc on pg_proc.oid = pg_trigger.tgfoid
        join pg_class on pg_class.oid = pg_trigger.tgrelid
        join pg_namespace on pg_namespace.oid = pg_class.relnamespace
        where given.operation = event_operation
            and pg_trigger.tgrelid = tracked_relation
            and pg_proc.pronamespace = 'audit'::regnamespace
            and starts_with(pg_proc.proname, 'capture ');
        if not found then
            return;
        end if;
        execute format(
            'create or replace trigger %I after %s%s on %s %s execute function audit.%I()',
            trigger.tgname,
            event_operation,
            ' of ' || (select string_agg(quote_ident(name), ', ' order by position) from unnest(columns) with ordinality as updated (name, position)),
            trigger.table_name,
            case when by_row then 'for each row' else format('referencing %s for each statement', trigger.rows_as) end,
            trigger.function_name
        );
    end
    $$;

    comment on function audit.fit_trigger(regclass, text, boolean, text[]) is
        'Has a capture trigger fire for each row, or for each statement; and for updates of these columns alone, where there are any. Runs as the superuser who installed it.';

    revoke execute on function audit.fit_trigger(regclass, text, boolean, text[]) from public;
    grant execute on function audit.fit_trigger(regclass, text, boolean, text[]) to audit_owner;

    drop event trigger if exists pgtrail_follow_rewrite;
    execute audit.event_trigger_text('pgtrail_follow_rewrite');
end
$fitting$;

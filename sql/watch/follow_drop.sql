-- The function of the event trigger for what is dropped.

create or replace function audit_internal.relation_named(schema_name text, relation_name text)
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

comment on function audit_internal.relation_named(text, text) is 'The table of this name, whoever may use its schema; null: there is none.';

create or replace function audit_internal.table_of_dropped(object_type text, objid oid, address_names text[])
returns regclass
language sql
stable
as $$
    select case
        when object_type in ('table', 'table column') then objid::pg_catalog.regclass
        -- (It has no table of its own any more.)
        when object_type in ('policy', 'rule', 'trigger', 'table constraint', 'default value')
            then audit_internal.relation_named(address_names[1], address_names[2])
    end
$$;

comment on function audit_internal.table_of_dropped(text, oid, text[]) is 'The table that a dropped object was, or was of.';

create or replace function audit_internal.refuse_to_lose_hot_triggers()
returns void
language plpgsql
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

comment on function audit_internal.refuse_to_lose_hot_triggers() is
    'Raises PT076 where an ALTER TABLE ... CASCADE drops a trigger that is for audited columns alone with one of these. Inside an event trigger alone.';

create or replace function audit_internal.follow_drop()
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
    -- The capture functions are in the other schema, and every write of a tracked table would fail.
    if to_regclass('audit.event') is null then
        raise exception using
            errcode = 'PT076',
            message = 'the schema audit can''t be dropped alone',
            hint = 'pgtrail uninstall removes it all, or: drop schema audit, audit_internal cascade';
    end if;
    if tg_tag = 'ALTER TABLE' then
        perform audit_internal.refuse_to_lose_hot_triggers();
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
                jsonb_build_object('table', audit_internal.qualified_name(dropped.root)), null
            );
        end if;
        perform audit_internal.drop_unused_functions();
    end loop;

    -- What an ALTER TABLE drops is seen at its end.
    if tg_tag = 'ALTER TABLE' then
        return;
    end if;
    perform audit_internal.record_altered_tables(
        array(
            select audit_internal.tracked_root(audit_internal.table_of_dropped(object.object_type, object.objid, object.address_names))
            from pg_event_trigger_dropped_objects() as object
            union
            select audit_internal.tables_with_other_relatives()
        ),
        tg_tag
    );
    for altered in
        select distinct concerned.relation
        from pg_event_trigger_dropped_objects() as object
        cross join lateral (
            select audit_internal.table_of_dropped(object.object_type, object.objid, object.address_names)
            where object.object_type in ('table', 'table column', 'policy')
        ) as place (relation)
        cross join lateral audit_internal.affected_tables(place.relation) as concerned (relation)
        join audit.tracked_table as tracked on tracked.relation = concerned.relation
        join pg_class on pg_class.oid = concerned.relation
    loop
        perform audit_internal.compile_table(altered);
    end loop;
    if exists (
        select
        from pg_event_trigger_dropped_objects()
        where object_type = 'table'
            or object_type = 'trigger' and address_names[3] <> all (audit_internal.trigger_names())
    )
    then
        perform audit_internal.recompile_misfits();
    end if;
    if exists (
        select
        from pg_event_trigger_dropped_objects() as object
        left join audit.own_trigger as known on known.relation = object.objid
        where known.relation is not null
            or (
                object.object_type = 'trigger'
                and audit_internal.relation_named(object.address_names[1], object.address_names[2])
                    in (select relation from audit.own_trigger)
            )
    ) then
        perform audit_internal.watch_triggers();
    end if;
exception
    when sqlstate 'PT076' then
        raise;
    when others then
        perform audit_internal.fail_or_warn(tg_tag, sqlstate, sqlerrm);
end
$$;

comment on function audit_internal.follow_drop() is
    'Records that a tracked table, a partition or one of pgtrail''s triggers was dropped, forgets what is gone, and follows a column that went with its type.';

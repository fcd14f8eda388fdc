-- What happens to tracked tables, and to the log's own protection, is followed and recorded in the transaction that does it.
-- Only a superuser can create an event trigger; elsewhere audit.recompile() after a schema change, and `pgtrail doctor`.

create or replace function audit.touched_tables()
returns setof oid
language sql
stable
as $$
    select coalesce(pg_trigger.tgrelid, command.objid)
    from pg_catalog.pg_event_trigger_ddl_commands() as command
    left join pg_catalog.pg_trigger
        on command.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass and pg_trigger.oid = command.objid
$$;

comment on function audit.touched_tables() is 'The tables that this statement has made, altered, or given a trigger; inside an event trigger alone.';

create or replace function audit.touches_tracked_tables()
returns boolean
language sql
stable
as $$
    select exists (
        select
        from audit.touched_tables() as touched
        join audit.tracked_table as tracked
            on touched = tracked.relation
            or touched in (select relid from pg_catalog.pg_partition_tree(tracked.relation))
    )
$$;

comment on function audit.touches_tracked_tables() is 'Whether this statement is about a tracked table or one of its partitions; inside an event trigger alone.';

create or replace function audit.touches_the_log()
returns boolean
language sql
stable
as $$
    select exists (
        select
        from audit.touched_tables() as touched
        join pg_catalog.pg_class on pg_class.oid = touched
        where pg_class.relnamespace = 'audit'::pg_catalog.regnamespace
    )
$$;

comment on function audit.touches_the_log() is 'Whether this statement is about a table of schema audit; inside an event trigger alone.';

create or replace function audit.follow_ddl()
returns event_trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
-- A small query over large catalogues looks costly: to compile it would take longer than the statement that is followed.
set jit = off
as $$
declare
    altered regclass;
begin
    for altered in
        select distinct tracked.relation
        from pg_event_trigger_ddl_commands() as command
        cross join audit.tracked_table as tracked
        join pg_class on pg_class.oid = tracked.relation
        where (command.classid, command.objid) in (
            ('pg_class'::regclass, pg_class.oid),
            ('pg_namespace'::regclass, pg_class.relnamespace)
        )
    loop
        perform audit.compile_table(altered);
    end loop;
    -- What is being made is not whole before its last trigger is there.
    if audit.touches_tracked_tables() then
        perform audit.note_capture(may_have_stopped => tg_tag not in ('CREATE TABLE', 'CREATE TRIGGER'));
    end if;
    if audit.touches_the_log() then
        perform audit.note_protection(may_have_stopped => tg_tag not in ('CREATE TABLE', 'CREATE TRIGGER'));
    end if;
end
$$;

comment on function audit.follow_ddl() is
    'Compiles the triggers of a tracked table anew when the table or its schema is altered, and records when a trigger is disabled or enabled.';

create or replace function audit.follow_drop()
returns event_trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
    dropped record;
begin
    for dropped in
        select tracked.relation, object.object_identity
        from pg_event_trigger_dropped_objects() as object
        join audit.tracked_table as tracked on tracked.relation = object.objid
        where object.classid = 'pg_class'::regclass and object.objsubid = 0
    loop
        perform audit.record(
            'audit.table_dropped', 'tracked_table', dropped.object_identity, dropped.object_identity, null, null
        );
        delete from audit.tracked_table where relation = dropped.relation;
        perform audit.drop_orphaned_functions();
    end loop;
    perform audit.note_capture();
    perform audit.note_protection();
end
$$;

comment on function audit.follow_drop() is
    'Records that a tracked table, or one of pgtrail''s triggers, was dropped, and forgets what is gone.';

create or replace function audit.note_capture(may_have_stopped boolean default true)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    moved record;
begin
    for moved in
        select
            tracked.relation,
            audit.qualified_name(tracked.relation) as name,
            present.capturing,
            present.triggers
        from audit.tracked_table as tracked
        join (
            select
                relation,
                bool_and(state = 'enabled') as capturing,
                jsonb_object_agg(audit.qualified_name(target) || '.' || trigger_name, state)
                    filter (where state <> 'enabled') as triggers
            from audit.capture_triggers()
            group by relation
        ) as present on present.relation = tracked.relation
        where present.capturing <> tracked.capturing
            and (may_have_stopped or present.capturing)
    loop
        update audit.tracked_table set capturing = moved.capturing where relation = moved.relation;
        perform audit.record(
            case when moved.capturing then 'audit.capture_enabled' else 'audit.capture_disabled' end,
            'tracked_table',
            moved.name,
            moved.name,
            null,
            jsonb_build_object('capturing', moved.capturing, 'triggers', moved.triggers)
        );
    end loop;
end
$$;

comment on function audit.note_capture(boolean) is
    'Records for which tracked tables capture has stopped, wholly or in part, or goes on, since that was last looked at.';

create or replace function audit.is_protected()
returns boolean
language sql
stable
as $$
    select not exists (
        select
        from (
            select relid from pg_catalog.pg_partition_tree('audit.event') where isleaf
            union all
            values ('audit.seal'::regclass), ('audit.seal_leaves'::regclass)
        ) as kept
        cross join (values (1), (0)) as trigger_kind (by_row)
        where not exists (
            select
            from pg_catalog.pg_trigger
            where tgrelid = kept.relid
                and tgfoid = 'audit.refuse_change()'::pg_catalog.regprocedure
                and tgenabled not in ('D', 'R')
                -- The first bit of tgtype: for each row. UPDATE and DELETE are refused by row, TRUNCATE by statement.
                and (tgtype & 1) = trigger_kind.by_row
        )
    )
$$;

comment on function audit.is_protected() is 'Whether every trigger that refuses changes of the log is there and enabled.';

create or replace function audit.note_protection(may_have_stopped boolean default true)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    is_so boolean := audit.is_protected();
begin
    update audit.policy set protected = is_so where protected <> is_so and (may_have_stopped or is_so);
    if found then
        perform audit.record(
            case when is_so then 'audit.protection_enabled' else 'audit.protection_disabled' end,
            'log', null, null, null, jsonb_build_object('protected', is_so)
        );
    end if;
end
$$;

comment on function audit.note_protection(boolean) is 'Records when a trigger that refuses changes of the log is disabled or dropped, or back.';

revoke execute on function
    audit.touched_tables(), audit.touches_tracked_tables(), audit.touches_the_log(), audit.follow_ddl(), audit.follow_drop(), audit.note_capture(boolean), audit.is_protected(), audit.note_protection(boolean)
    from public;

reset role;

-- It belongs to the superuser who installs it: a new partition's owner may not use our trigger functions, and audit_owner may not
-- create triggers on the partition.
do $$
begin
    if not (select rolsuper from pg_roles where rolname = current_user) then
        raise notice 'pgtrail: no superuser, so no event trigger: call audit.recompile() after you alter a tracked table';
        return;
    end if;

    create or replace function pgtrail_meta.follow_partitions()
    returns event_trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    set jit = off
    as $function$
    declare
        root regclass;
        left_behind record;
    begin
        for left_behind in
            select pg_trigger.tgrelid::regclass as target, pg_trigger.tgname
            from pg_trigger
            join pg_proc on pg_proc.oid = pg_trigger.tgfoid
            where pg_proc.pronamespace = 'audit'::regnamespace
                and starts_with(pg_proc.proname, 'capture ')
                and pg_trigger.tgrelid not in (
                    select tree.relid
                    from audit.tracked_table as tracked
                    cross join pg_partition_tree(tracked.relation) as tree
                    union all
                    select relation from audit.tracked_table
                )
                -- While audit.untrack() drops them one by one, they are no partition's.
                and tg_tag = 'ALTER TABLE'
        loop
            execute format('drop trigger %I on %s', left_behind.tgname, audit.qualified_name(left_behind.target));
            perform audit.record(
                'audit.partition_detached', 'tracked_table', audit.qualified_name(left_behind.target),
                audit.qualified_name(left_behind.target), null, null
            );
        end loop;
        for root in
            select distinct tracked.relation
            from pg_event_trigger_ddl_commands() as command
            cross join audit.tracked_table as tracked
            cross join pg_partition_tree(tracked.relation) as tree
            where command.classid = 'pg_class'::regclass
                and tree.relid <> tracked.relation
                and command.objid in (tree.relid, tracked.relation, tree.parentrelid)
                and exists (
                    select
                    from audit.capture_triggers() as capture
                    where capture.relation = tracked.relation and capture.state = 'missing'
                )
        loop
            perform audit.allow_truncate_to_read(root);
            perform audit.create_triggers(root);
        end loop;
    end
    $function$;
    comment on function pgtrail_meta.follow_partitions() is
        'Gives a new partition of a tracked table its trigger for TRUNCATE, and takes it from one that was detached.';
    revoke execute on function pgtrail_meta.follow_partitions() from public;

    -- In the order of their names: a partition gets its triggers before anybody looks whether they are there.
    drop event trigger if exists pgtrail_follow_ddl;
    drop event trigger if exists pgtrail_follow_drop;
    drop event trigger if exists pgtrail_complete_partitions;
    create event trigger pgtrail_complete_partitions on ddl_command_end
        when tag in ('ALTER TABLE', 'CREATE TABLE')
        execute function pgtrail_meta.follow_partitions();
    create event trigger pgtrail_follow_ddl on ddl_command_end
        when tag in ('ALTER TABLE', 'ALTER SCHEMA', 'CREATE TABLE', 'CREATE TRIGGER')
        execute function audit.follow_ddl();
    create event trigger pgtrail_follow_drop on sql_drop
        execute function audit.follow_drop();
end
$$;

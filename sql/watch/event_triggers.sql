-- The event triggers, and what only a superuser can own; elsewhere there are none.

-- As everything is before anybody touches it; what protects the log is as it was installed just now.
update audit.own_trigger set function_version = null where kind = 'protection';
select audit_internal.watch_triggers();

reset role;

do $superuser$
begin
    if not (select rolsuper from pg_roles where rolname = current_user) then
        raise notice 'pgtrail: no superuser, so no event trigger: call audit.recompile() after you alter a tracked table';
        return;
    end if;

    -- It runs as whoever changes the table, who may do this by hand too; and since that may be a superuser, it is the
    -- superuser's, and calls nothing that anybody else could replace.
    create or replace function audit_internal.extend_capture()
    returns event_trigger
    language plpgsql
    set search_path = pg_catalog, pg_temp
    set quote_all_identifiers = off
    set standard_conforming_strings = on
    set jit = off
    -- (The planner expects a hundred altered tables where there is one, and would read all tables and triggers for these.)
    set enable_seqscan = off
    set enable_hashjoin = off
    set enable_mergejoin = off
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
                    join pg_proc on pg_proc.oid = pg_trigger.tgfoid and pg_proc.pronamespace = 'audit_internal'::regnamespace
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
                            'create trigger pgtrail_truncate before truncate on %I.%I for each statement execute function audit_internal.%I()',
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
                join pg_proc on pg_proc.oid = pg_trigger.tgfoid and pg_proc.pronamespace = 'audit_internal'::regnamespace
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
            join pg_proc on pg_proc.oid = pg_trigger.tgfoid and pg_proc.pronamespace = 'audit_internal'::regnamespace
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

    comment on function audit_internal.extend_capture() is
        'Lets the role that records a table go on reading it where it went: a new partition, another schema, row-level security; gives a partition its trigger for TRUNCATE, and takes it from one that was detached. Runs as whoever altered the table.';

    revoke execute on function audit_internal.extend_capture() from public;
    -- (By which it is known for one of ours; nobody can call it.)
    grant execute on function audit_internal.extend_capture() to audit_owner;

    drop event trigger if exists pgtrail_extend_capture;
    drop event trigger if exists pgtrail_follow_ddl;
    drop event trigger if exists pgtrail_follow_drop;
    execute audit_internal.event_trigger_text('pgtrail_extend_capture');
    execute audit_internal.event_trigger_text('pgtrail_follow_ddl');
    execute audit_internal.event_trigger_text('pgtrail_follow_drop');
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
    create or replace function audit_internal.fit_trigger(tracked_relation regclass, event_operation text, by_row boolean, columns text[])
    returns void
    language plpgsql
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
            and pg_proc.pronamespace = 'audit_internal'::regnamespace
            and starts_with(pg_proc.proname, 'capture ');
        if not found then
            return;
        end if;
        execute format(
            'create or replace trigger %I after %s%s on %s %s execute function audit_internal.%I()',
            trigger.tgname,
            event_operation,
            ' of ' || (select string_agg(quote_ident(name), ', ' order by position) from unnest(columns) with ordinality as updated (name, position)),
            trigger.table_name,
            case when by_row then 'for each row' else format('referencing %s for each statement', trigger.rows_as) end,
            trigger.function_name
        );
    end
    $$;

    comment on function audit_internal.fit_trigger(regclass, text, boolean, text[]) is
        'Has a capture trigger fire for each row, or for each statement; and for updates of these columns alone, where there are any. Runs as the superuser who installed it.';

    revoke execute on function audit_internal.fit_trigger(regclass, text, boolean, text[]) from public;
    grant execute on function audit_internal.fit_trigger(regclass, text, boolean, text[]) to audit_owner;

    drop event trigger if exists pgtrail_follow_rewrite;
    execute audit_internal.event_trigger_text('pgtrail_follow_rewrite');
end
$fitting$;

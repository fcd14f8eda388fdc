-- An ALTER TABLE (or a schema's new name) recompiles the table's triggers in its own transaction. Only a superuser can create an event trigger;
-- elsewhere audit.recompile() after a schema change does the same.

create or replace function audit.follow_ddl()
returns event_trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
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
end
$$;

comment on function audit.follow_ddl() is 'Compiles the triggers of a tracked table anew when the table or its schema is altered.';

revoke execute on function audit.follow_ddl() from public;

reset role;

do $$
begin
    if not (select rolsuper from pg_roles where rolname = current_user) then
        raise notice 'pgtrail: no superuser, so no event trigger: call audit.recompile() after you alter a tracked table';
    else
        drop event trigger if exists pgtrail_follow_ddl;
        create event trigger pgtrail_follow_ddl on ddl_command_end
            when tag in ('ALTER TABLE', 'ALTER SCHEMA')
            execute function audit.follow_ddl();
    end if;
end
$$;

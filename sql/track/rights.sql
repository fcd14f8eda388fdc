-- Locks in short turns, and the right to read a tracked table for the role that records it.

create or replace function audit_internal.lock_briefly(relations regclass[], lock_mode text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Whoever waits for a lock blocks all that queue behind it: so it waits briefly, and tries again.
    turn constant interval := interval '50 ms';
    patience constant interval := interval '30 s';
    began constant timestamptz := clock_timestamp();
    waits_before text := current_setting('lock_timeout');
    turn_ends timestamptz;
    target regclass;
begin
    loop
        begin
            turn_ends := clock_timestamp() + turn;
            for target in
                select tree.relid
                from unnest(relations) as named (relation)
                cross join lateral audit_internal.partition_tree(named.relation) as tree
                order by tree.relid
            loop
                perform set_config(
                    'lock_timeout',
                    greatest(1, extract(milliseconds from turn_ends - clock_timestamp())::integer)::text,
                    true
                );
                execute format('lock table only %s in %s mode', audit_internal.qualified_name(target), lock_mode);
            end loop;
            perform set_config('lock_timeout', waits_before, true);
            return;
        exception
            when insufficient_privilege then
                -- Who has TRIGGER on the table and no more may not lock it, and waits as long as it takes.
                return;
            when lock_not_available then
                if clock_timestamp() > began + patience then
                    raise exception using
                        errcode = 'PT034',
                        message = format('%s is in use: it could not be locked within %s s', array_to_string(relations, ', '), extract(seconds from patience)::integer),
                        hint = 'Try again, or end the transaction that holds it: select pid, query from pg_stat_activity join pg_locks using (pid) where relation = '
                            || format('any (%L::regclass[])', relations);
                end if;
        end;
        perform pg_sleep(0.05 + random() * 0.1);
    end loop;
end
$$;

comment on function audit_internal.lock_briefly(regclass[], text) is
    'Takes the lock that adding or dropping triggers needs, on tables and their partitions, all together, in turns of at most 50 ms between which writers go on. PT034 after 30 s.';

create or replace function audit_internal.lock_for_policies(relation regclass, places_before regclass[], leaving boolean)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    filtered regclass[] := array(
        select pg_class.oid::regclass
        from pg_class
        where pg_class.oid in (
                select unnest(places_before || relation)
                union
                select step_table from audit.path_step as step where step.relation = lock_for_policies.relation
            )
            and (
                pg_class.relrowsecurity
                or exists (select from pg_policy where polrelid = pg_class.oid and polname = 'pgtrail_truncate')
            )
            -- One that is there, and is to be, needs no lock.
            and (
                leaving
                or pg_class.oid = any (places_before)
                or not exists (select from pg_policy where polrelid = pg_class.oid and polname = 'pgtrail_truncate')
            )
    );
begin
    -- All in one turn: a lock that one table has must not wait for another's.
    if filtered <> '{}' then
        perform audit_internal.lock_briefly(filtered || relation, 'access exclusive');
    end if;
end
$$;

comment on function audit_internal.lock_for_policies(regclass, regclass[], boolean) is
    'Locks a table together with those whose policies it makes or drops, if there are any. PT034.';

create or replace function audit_internal.granted_recorders(relation regclass)
returns name[]
language sql
stable
as $$
    select array(
        select pg_roles.rolname
        from pg_catalog.pg_class
        cross join pg_catalog.aclexplode(pg_class.relacl) as granted
        join pg_catalog.pg_roles on pg_roles.oid = granted.grantee
        where pg_class.oid = relation
            and granted.privilege_type = 'SELECT'
            and pg_roles.rolname ~ '^audit_recorder(_[0-9]+)?$'
        group by pg_roles.rolname
        order by pg_roles.rolname
    )
$$;

comment on function audit_internal.granted_recorders(regclass) is
    'The roles that record to which SELECT on a table was granted, not what they may as anybody may.';

create or replace function audit_internal.allow_reading(relation regclass)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    target record;
    former name;
begin
    for target in
        select
            pg_class.oid::regclass as relation,
            audit_internal.qualified_name(pg_class.oid) as name,
            pg_namespace.nspname as schema_name,
            pg_class.relrowsecurity as filtered,
            audit_internal.assign_recorder(pg_class.oid) as recorder
        from (
            select relid from pg_partition_tree(relation) where isleaf
            union
            select relation
            union
            select step_table from audit.path_step as step where step.relation = allow_reading.relation
        ) as read (oid)
        join pg_class on pg_class.oid = read.oid
        join pg_namespace on pg_namespace.oid = pg_class.relnamespace
    loop
        continue when target.recorder = 'audit_owner';
        -- (Of its own, whatever the public may read: what extends capture knows it by that.)
        if target.recorder <> all (audit_internal.granted_recorders(target.relation)) then
            execute format('grant select on %s to %I', target.name, target.recorder);
        end if;
        -- That of whoever owned it before must not read what its new owner keeps in it.
        foreach former in array audit_internal.granted_recorders(target.relation)
        loop
            if former <> target.recorder then
                execute format('revoke select on %s from %I', target.name, former);
            end if;
        end loop;
        if not has_schema_privilege(target.recorder, target.schema_name, 'usage') then
            execute format('grant usage on schema %I to %I', target.schema_name, target.recorder);
        end if;
        continue when not target.filtered or exists (
            select
            from pg_policy
            where polrelid = target.relation and polname = 'pgtrail_truncate' and polroles = array[target.recorder::regrole::oid]
        );
        perform audit_internal.lock_briefly(array[target.relation]::regclass[], 'access exclusive');
        if exists (select from pg_policy where polrelid = target.relation and polname = 'pgtrail_truncate') then
            execute format('drop policy pgtrail_truncate on %s', target.name);
        end if;
        execute format('create policy pgtrail_truncate on %s for select to %I using (true)', target.name, target.recorder);
    end loop;
end
$$;

comment on function audit_internal.allow_reading(regclass) is
    'Lets the role that records a table read it, which recording a TRUNCATE needs, and what leads to its organization and its label, through row-level security too. PT061.';

create or replace function audit_internal.revoke_reading(relation regclass)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    target record;
    recorder name;
begin
    if exists (select from audit_internal.affected_tables(relation)) then
        return;
    end if;
    for target in
        select
            pg_class.oid::regclass as relation,
            audit_internal.qualified_name(pg_class.oid) as name,
            exists (select from pg_policy where polrelid = pg_class.oid and polname = 'pgtrail_truncate') as has_policy
        from pg_class
        where pg_class.oid in (select relid from audit_internal.partition_tree(relation))
            and pg_class.relowner <> 'audit_owner'::regrole
    loop
        if target.has_policy then
            perform audit_internal.lock_briefly(array[target.relation]::regclass[], 'access exclusive');
            execute format('drop policy pgtrail_truncate on %s', target.name);
        end if;
        foreach recorder in array audit_internal.granted_recorders(target.relation)
        loop
            execute format('revoke select on %s from %I', target.name, recorder);
        end loop;
    end loop;
end
$$;

comment on function audit_internal.revoke_reading(regclass) is
    'Takes back what audit_internal.allow_reading() gave on a table, once it is neither tracked nor passed through by a path.';

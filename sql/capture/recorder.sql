-- Who records: roles that own the compiled functions and read applications' tables, and can do nothing else.
--
-- Whoever reads a table may run code of its owner: an index, statistics or a policy that calls a function, a type with a cast,
-- a table that has become a view. So each owner's tables are read by a role that can read nobody else's, and only inside
-- of functions that sandbox_sql() makes.

create or replace function audit_internal.table_owner(relation regclass)
returns regrole
language sql
stable
as $$
    select case when not pg_roles.rolsuper then pg_roles.oid::pg_catalog.regrole end
    from pg_catalog.pg_class
    join pg_catalog.pg_roles on pg_roles.oid = pg_class.relowner
    where pg_class.oid = relation
$$;

comment on function audit_internal.table_owner(regclass) is
    'Whose code reading a table may run: the owner of the table; null: a superuser''s.';

create or replace function audit_internal.recorder_of(relation regclass)
returns name
language sql
stable
as $$
    select case
        when audit_internal.table_owner(relation) = 'audit_owner'::pg_catalog.regrole then 'audit_owner'
        else (
            select recorder.role_name
            from audit.recorder
            where recorder.table_owner is not distinct from audit_internal.table_owner(relation)
        )
    end
$$;

comment on function audit_internal.recorder_of(regclass) is
    'The role that records and reads a table: audit_owner for its own; null: audit_internal.assign_recorder() has named none yet.';

create or replace function audit_internal.grant_to_recorder(role_name name)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    execute format('grant insert on audit.recording to %I', role_name);
    -- (What runs as its caller is everybody's to call.)
    execute format(
        'grant execute on function audit_internal.last_org(text, text), audit_internal.is_captured_by(regclass, text), '
        'audit_internal.record_capture_failure(text, text, text) to %I',
        role_name
    );
end
$$;

comment on function audit_internal.grant_to_recorder(name) is 'Grants a role that records what its compiled functions need.';

create or replace function audit_internal.assign_recorder(relation regclass)
returns name
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
declare
    wanted_owner regrole := audit_internal.table_owner(relation);
    found_role name := audit_internal.recorder_of(relation);
begin
    if found_role is not null then
        return found_role;
    end if;
    -- As audit_internal.set_function_owner() will: two that had each named a role would wait for one another there.
    lock table audit.recorder in share row exclusive mode;
    found_role := audit_internal.recorder_of(relation);
    if found_role is not null then
        return found_role;
    end if;
    select rolname
    into found_role
    from pg_roles
    where rolname ~ '^audit_recorder(_[0-9]+)?$'
        and pg_has_role('audit_owner', oid, 'usage')
        and rolname not in (select role_name from audit.recorder)
    order by length(rolname), rolname
    limit 1;
    if found_role is null then
        raise exception using
            errcode = 'PT061',
            message = format('no role is left to record the tables of %s', coalesce(wanted_owner::text, 'superusers')),
            detail = 'Each owner''s tables are recorded by a role of their own, so that no owner''s code can read another''s tables.',
            hint = format(
                'create role %1$I nologin; grant %1$I to audit_owner;',
                'audit_recorder_' || (select count(*) + 1 from audit.recorder)
            );
    end if;
    insert into audit.recorder (role_name, table_owner) values (found_role, wanted_owner);
    perform audit_internal.grant_to_recorder(found_role);
    return found_role;
end
$$;

comment on function audit_internal.assign_recorder(regclass) is
    'The role that records a table, and all other tables of its owner: the first that is free, where the owner has none yet. PT061.';

create or replace function audit_internal.set_function_owner(function_name text, arguments text, new_owner name)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        select
        from pg_proc
        where proname = function_name and pronamespace = 'audit_internal'::regnamespace and proowner = new_owner::regrole
    )
    then
        return;
    end if;
    -- Who is to own a function must be allowed to create in its schema: for this moment. One at a time; and by a lock that
    -- nobody else can take, as anybody can an advisory one.
    lock table audit.recorder in share row exclusive mode;
    execute format('grant create on schema audit_internal to %I', new_owner);
    execute format('alter function audit_internal.%I(%s) owner to %I', function_name, arguments, new_owner);
    execute format('revoke create on schema audit_internal from %I', new_owner);
end
$$;

comment on function audit_internal.set_function_owner(text, text, name) is 'Makes a compiled function run as a role that records.';

create or replace function audit_internal.is_captured_by(fired_on regclass, tracked_name text)
returns boolean
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select exists (
        select
        from audit.tracked_table as tracked
        where tracked.name = tracked_name
            and (
                tracked.relation = fired_on
                or tracked.relation in (select relid from pg_partition_ancestors(fired_on))
            )
    )
$$;

comment on function audit_internal.is_captured_by(regclass, text) is
    'Whether a capture function is that of the table whose trigger called it, or of one that it is a partition of. A function compares the oid that it was compiled with first: this is for partitions, and for a database that was restored, where tables have other oids.';

create or replace function audit_internal.has_safe_types(fired_on regclass, as_text text[])
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select bool_and(audit_internal.is_trusted_type(atttypid))
    from pg_attribute
    where attrelid = fired_on and attnum > 0 and not attisdropped and attname <> all (as_text)
$$;

comment on function audit_internal.has_safe_types(regclass, text[]) is
    'Whether a table whose columns are of other types than those that its capture functions were compiled for may be recorded by these all the same: none but those that are taken as text is of a type that somebody else than a superuser owns.';

create or replace function audit_internal.shows_every_row(relation regclass, reader name)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    -- Our policy as it was made (its owner can alter it), and no restrictive one that takes it back.
    select exists (
            select
            from pg_policy
            where polrelid = relation
                and polname = 'pgtrail_truncate'
                and polpermissive
                and polcmd = 'r'
                and polroles = array[reader::regrole::oid]
                and pg_get_expr(polqual, polrelid) = 'true'
        )
        and not exists (select from pg_policy where polrelid = relation and not polpermissive)
$$;

comment on function audit_internal.shows_every_row(regclass, name) is
    'Whether a role reads every row of a table with row-level security, by the policy that audit_internal.allow_reading() made.';

-- Reading -------------------------------------------------------------------------------------------------------------

create or replace function audit_internal.sandbox_sql(reading text, on_error text)
returns text
language sql
immutable
as $$
    -- Inside nothing can be written, created or altered; and what was set there for the session (a search_path, say) is
    -- taken back, since the subtransaction ends by an error of ours. What was read stays.
    select E'    begin\n'
        '        perform set_config(''transaction_read_only'', ''on'', true);\n        '
        || reading
        || E'\n        is_read := true;\n'
        '        raise sqlstate ''PT062'';\n'
        '    exception\n'
        '        when serialization_failure or deadlock_detected then\n            raise;\n'
        '        when others then\n'
        '            if sqlstate <> ''PT062'' or is_read is not true then\n                '
        || on_error
        || E'\n            end if;\n'
        '    end;\n'
$$;

comment on function audit_internal.sandbox_sql(text, text) is
    'PL/pgSQL that reads an application''s table, whatever code of its owner''s that runs, in a subtransaction that is read-only and rolled back. on_error: what becomes of an error.';

create or replace function audit_internal.reader_body_sql(tracked audit.tracked_table)
returns text
language sql
stable
as $$
    select pg_catalog.format(E'-- The rows of %s and its partitions, between two row addresses.\n', pg_catalog.translate(tracked.name, E'\n\r', '  '))
        || E'declare\n    is_read boolean;\nbegin\n'
        || E'    if row_security_active(leaf) and not audit_internal.shows_every_row(leaf, current_user) then\n'
        || E'        raise insufficient_privilege using message = format(''row-level security hides rows of %s from %s'', leaf, current_user);\n'
        || E'    end if;\n'
        || audit_internal.sandbox_sql(
            pg_catalog.concat(
                'return query execute ''select '' || ',
                pg_catalog.quote_literal(
                    (
                        select coalesce(
                            pg_catalog.string_agg(audit_internal.plain_column('stored', name, type_oid), ', ' order by number), 'null::text'
                        )
                        from audit_internal.live_columns(tracked.relation)
                    )
                ),
                ' || '' from only '' || leaf || '' as stored where stored.ctid >= $1 and stored.ctid < $2'' using first_row, end_row;'
            ),
            'raise;'
        )
        || E'end\n'
$$;

comment on function audit_internal.reader_body_sql(audit.tracked_table) is
    'The body of the function that reads the rows of a tracked table, with the types of audit.read_columns().';

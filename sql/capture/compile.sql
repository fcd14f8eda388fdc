-- Compiling a table: its settings follow its columns, its functions are written anew, and those that nobody needs are dropped.

create or replace function audit_internal.compile_table(relation regclass)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
set jit = off
-- (What is planned anew for each table costs more than compiling it.)
set plan_cache_mode = force_generic_plan
as $$
declare
    tracked audit.tracked_table;
    recorder name := audit_internal.assign_recorder(relation);
    settings text[];
    event_operation text;
    function_name text;
begin
    tracked := audit_internal.follow_columns(relation);
    settings := audit_internal.pinned_settings(tracked);
    -- Each condition is parsed anew: by audit_internal.check_rule().
    update audit.rule set condition = condition where rule.relation = compile_table.relation;
    perform audit_internal.create_compiled_function(
        audit_internal.read_function(relation), 'leaf regclass, first_row tid, end_row tid', 'setof record', '{row_security=on}',
        audit_internal.reader_body_sql(tracked), recorder, format('Reads the rows of %s. Compiled.', tracked.name)
    );
    perform audit_internal.create_lookups(relation, recorder);
    perform audit_internal.create_label_function(tracked, recorder);
    perform audit_internal.create_org_name_function(tracked, recorder);
    foreach event_operation in array array['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']
    loop
        function_name := audit_internal.claim_capture_function(relation, event_operation);
        -- What is written now need not be compared with what it should be at the next look, which every caller ends with.
        update audit.own_trigger as known
        set function_version = null, function_digest = null
        where known.root = compile_table.relation
            and known.trigger_name = 'pgtrail_' || lower(event_operation collate "C")
            and not known.function_altered;
        perform audit_internal.create_compiled_function(
            function_name, '', 'trigger', settings, audit_internal.trigger_body_sql(tracked, event_operation), recorder,
            format('Records each %s on %s. Compiled.', event_operation, tracked.name)
        );
        perform audit_internal.allow_trigger_makers(relation, function_name);
    end loop;
end
$$;

comment on function audit_internal.compile_table(regclass) is
    'Writes the functions of a tracked table anew from its settings, its rules and its columns as they are now.';

create or replace function audit_internal.last_column_numbers(tracked audit.tracked_table)
returns jsonb
language plpgsql
stable
as $$
begin
    if coalesce(tracked.numbered_oid, tracked.relation) = tracked.relation then
        return tracked.column_numbers;
    end if;
    -- Restored: its columns were made anew, in their order, and what had been dropped between them is not there.
    return (
        select coalesce(jsonb_object_agg(numbered.name, numbered.place), '{}')
        from (
            select known.key as name, row_number() over (order by known.value::integer) as place
            from jsonb_each_text(tracked.column_numbers) as known
        ) as numbered
    );
end
$$;

comment on function audit_internal.last_column_numbers(audit.tracked_table) is
    'Which column had which number when a table was last compiled; after a restore: which number it got by that.';

create or replace function audit_internal.follow_columns(moved_relation regclass)
returns audit.tracked_table
language plpgsql
as $$
declare
    known audit.tracked_table;
    tracked audit.tracked_table;
    renamed jsonb;
    present jsonb;
    new_secrets text[];
begin
    select * into strict known from audit.tracked_table where relation = moved_relation for update;
    tracked := known;
    known.column_numbers := audit_internal.last_column_numbers(known);

    select coalesce(jsonb_object_agg(attname, attnum), '{}')
    into present
    from pg_attribute
    where attrelid = moved_relation and attnum > 0 and not attisdropped;

    -- What was called so when last compiled → what the same column is called now.
    select coalesce(jsonb_object_agg(was.key, now.key), '{}')
    into renamed
    from jsonb_each(known.column_numbers) as was
    join jsonb_each(present) as now on now.value = was.value;

    if known.column_numbers <> '{}' then
        tracked.org := case
            when audit_internal.has_path(moved_relation, 'org') then audit_internal.resolved_path(moved_relation, 'org')
            else renamed ->> known.org
        end;
        tracked.label := case
            when audit_internal.has_path(moved_relation, 'label') then audit_internal.resolved_path(moved_relation, 'label')
            else renamed ->> known.label
        end;
        tracked.actor := renamed ->> known.actor;
        tracked.ignore := array(
            select coalesce(renamed ->> name, name)
            from unnest(known.ignore) as name
            where renamed ? name or not known.column_numbers ? name
        );
        tracked.secret := array(
            select case
                -- (Of a column that says no more whether the other is secret, the other is it.)
                when part.condition is not null then (renamed ->> part.name) || coalesce(' when ' || (renamed ->> part.condition), '')
                else coalesce((renamed ->> part.name) || substr(path, length(part.name) + 1), path)
            end
            from unnest(known.secret) as path
            cross join lateral (
                select name, case when starts_with(path, name || ' when ') then substr(path, length(name || ' when ') + 1) end
                from (select audit_internal.column_of_path(path, array(select jsonb_object_keys(known.column_numbers))) offset 0) as found (name)
            ) as part (name, condition)
            where part.name is null or renamed ? part.name
        );
        -- A column that came since, or got its name since, is judged by it, as audit.track() would.
        new_secrets := array(
            select name
            from unnest(audit_internal.secrets_by_name(moved_relation, tracked.secret || tracked.ignore)) as name
            where exists (
                select
                from unnest(audit_internal.columns_of_secret(moved_relation, name)) as part
                where known.column_numbers -> part is distinct from present -> part
            )
        );
        if new_secrets <> '{}' then
            tracked.secret := tracked.secret || new_secrets;
            raise notice '%: redacted by their names from now on: % (audit.track() with reveal => … shows them)',
                moved_relation, array_to_string(new_secrets, ', ');
        end if;
        if audit_internal.is_or_contains_secret(tracked.label, tracked.secret) then
            raise warning 'pgtrail: the label "%" of % is secret', tracked.label, moved_relation
                using hint = 'Its events have no label until you call audit.track() with another.';
            tracked.label := null;
        end if;
        if audit_internal.is_or_contains_secret(tracked.org, tracked.secret) then
            tracked.org := null;
        end if;
        if audit_internal.is_or_contains_secret(tracked.actor, tracked.secret) then
            tracked.actor := null;
        end if;
        if known.org is not null and tracked.org is null then
            raise warning 'pgtrail: % has lost its organization "%"', moved_relation, known.org
                using hint = 'Its events belong to no organization until you call audit.track() with another org.';
        end if;
    end if;
    tracked.column_numbers := present;
    tracked.numbered_oid := moved_relation;
    tracked.name := audit_internal.qualified_name(moved_relation);

    if tracked is distinct from known then
        update audit.tracked_table
        set
            org = tracked.org,
            label = tracked.label,
            actor = tracked.actor,
            ignore = tracked.ignore,
            secret = tracked.secret,
            column_numbers = tracked.column_numbers,
            numbered_oid = tracked.numbered_oid,
            name = tracked.name
        where relation = moved_relation;
    end if;
    return tracked;
end
$$;

comment on function audit_internal.follow_columns(regclass) is
    'Brings a tracked table''s settings up to its name and columns: follows renames, forgets what was dropped, redacts what came, or got its name, since and looks secret. A label, an organization or an actor that is secret now is given up.';

create or replace function audit_internal.drop_functions_of_other_owners(relation regclass)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
declare
    disowned regprocedure;
begin
    for disowned in
        select pg_proc.oid
        from unnest(array['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) as operation
        join pg_proc
            on proname = audit_internal.capture_function_name(relation, operation)
            and pronamespace = 'audit_internal'::regnamespace
            and not pg_has_role('audit_owner', proowner, 'usage')
    loop
        execute format('drop function %s cascade', disowned);
    end loop;
end
$$;

comment on function audit_internal.drop_functions_of_other_owners(regclass) is
    'Drops, with its trigger, a table''s compiled function that somebody gave another owner and that can''t be compiled anew: both are created again.';

create or replace function audit_internal.drop_unused_functions()
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
declare
    orphan regprocedure;
begin
    for orphan in
        select pg_proc.oid
        from pg_proc
        where pg_proc.pronamespace = 'audit_internal'::regnamespace
            and case split_part(pg_proc.proname, ' ', 1)
                when 'capture' then not exists (select from pg_trigger where tgfoid = pg_proc.oid)
                    and proname not in (
                        select audit_internal.capture_function_name(relation, operation)
                        from audit.tracked_table
                        cross join unnest(array['insert', 'update', 'delete', 'truncate']) as operation
                    )
                when 'name' then proname not in (
                    select audit_internal.org_name_function(tracked.relation) from audit.tracked_table as tracked where audit_internal.names_orgs(tracked)
                )
                when 'read' then proname not in (select audit_internal.read_function(relation) from audit.tracked_table)
                when 'label' then proname not in (
                    select audit_internal.label_function(relation) from audit.tracked_table where audit_internal.has_path(relation, 'label')
                )
                when 'find' then proname not in (
                    select function_name
                    from audit.tracked_table
                    cross join audit_internal.lookups(relation)
                    where function_name is not null
                )
            end
    loop
        execute format('drop function %s', orphan);
    end loop;
end
$$;

comment on function audit_internal.drop_unused_functions() is 'Drops the compiled functions that no table needs any more.';

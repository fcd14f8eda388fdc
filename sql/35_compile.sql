-- The trigger functions of a table: their names, who owns and may call them, and how they follow the table.

create or replace function audit.capture_function_name(relation regclass, event_operation text)
returns text
language sql
stable
as $$
    -- Identifiers end at 63 bytes; a longer name, of any of the four, is cut and told apart by its digest.
    select 'capture '
        || case
            when pg_catalog.octet_length(known.name) <= 46 then known.name
            else pg_catalog.left(pg_catalog.md5(known.name), 16) || '…'
        end
        || ' ' || pg_catalog.lower(event_operation collate "C")
    from (select audit.qualified_name(relation)) as known (name)
$$;

comment on function audit.capture_function_name(regclass, text) is
    'The name of a tracked table''s trigger function in schema audit: `\sf audit."capture nemo.team update"`.';

create or replace function audit.trigger_names()
returns name[]
language sql
immutable
as $$
    select '{pgtrail_insert,pgtrail_update,pgtrail_delete,pgtrail_truncate}'::name[]
$$;

comment on function audit.trigger_names() is 'What the triggers that record are called.';

create or replace function audit.installed_triggers()
returns table (relation regclass, name name, trigger_oid oid, is_inherited boolean, function_oid oid, function_name name)
language sql
stable
as $$
    select trigger.tgrelid, trigger.tgname, trigger.oid, trigger.tgparentid <> 0, function.oid, function.proname
    from pg_catalog.pg_trigger as trigger
    join pg_catalog.pg_proc as function on function.oid = trigger.tgfoid
    where function.pronamespace = 'audit'::pg_catalog.regnamespace and pg_catalog.starts_with(function.proname, 'capture ')
$$;

comment on function audit.installed_triggers() is
    'The triggers, whatever their names, that call a function that records; is_inherited: a copy of a trigger of the table that it is a partition of.';

create or replace function audit.claim_capture_function(relation regclass, event_operation text)
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
-- That there is nothing to drop is no news.
set client_min_messages = warning
as $$
declare
    wanted text := audit.capture_function_name(relation, event_operation);
    present name := (
        select function_name
        from audit.installed_triggers() as installed
        where installed.relation in (select relid from audit.partition_tree(claim_capture_function.relation))
            and name = 'pgtrail_' || lower(event_operation collate "C")
            -- Not one that somebody had the trigger call instead of its own: another table's.
            and not exists (
                select
                from pg_trigger as others
                join audit.own_trigger as known on known.relation = others.tgrelid and known.trigger_name = others.tgname
                where others.tgfoid = installed.function_oid and known.root <> claim_capture_function.relation
            )
            and function_name like '% ' || lower(event_operation collate "C")
        limit 1
    );
begin
    if present <> wanted then
        -- The table was renamed. Its triggers know the function by its oid; one that a table of this name left is in the way.
        execute format('drop function if exists audit.%I()', wanted);
        execute format('alter function audit.%I() rename to %I', present, wanted);
    end if;
    return wanted;
end
$$;

comment on function audit.claim_capture_function(regclass, text) is
    'The name of a tracked table''s trigger function, which follows the table''s.';

create or replace function audit.partition_makers(relation regclass)
returns setof oid
language sql
stable
as $$
    select distinct owned.relowner
    from (select relid from pg_catalog.pg_partition_tree(relation) where not isleaf union all select relation) as tree (relid)
    -- (By the index, for each: who plans expects many partitions.)
    cross join lateral (select relowner from pg_catalog.pg_class where pg_class.oid = tree.relid limit 1) as owned
    where owned.relowner <> 'audit_owner'::pg_catalog.regrole
$$;

comment on function audit.partition_makers(regclass) is
    'The owners of a table and of its partitions that have partitions: who may add to it.';

create or replace function audit.allow_trigger_makers(relation regclass, function_name text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    makers oid[] := array(select audit.partition_makers(relation)) || 'audit_admin'::regrole::oid;
    other text;
begin
    for other in
        select quote_ident(pg_get_userbyid(granted.grantee))
        from pg_proc
        cross join aclexplode(pg_proc.proacl) as granted
        where pg_proc.pronamespace = 'audit'::regnamespace
            and pg_proc.proname = function_name
            and granted.grantee <> pg_proc.proowner
            and granted.grantee <> all (makers)
    loop
        execute format('revoke execute on function audit.%I() from %s', function_name, other);
    end loop;
    execute format(
        'grant execute on function audit.%I() to %s',
        function_name,
        (select string_agg(distinct quote_ident(pg_get_userbyid(maker)), ', ') from unnest(makers) as maker)
    );
end
$$;

comment on function audit.allow_trigger_makers(regclass, text) is
    'Who creates a trigger, or a partition that gets a copy of it, must be allowed to execute its function: audit_admin and the table''s owners, nobody else.';

create or replace function audit.settings_of_types(type_oids oid[], as_text oid[])
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
begin
    return (
        with part as (
            select part.oid, part.in_text from (select distinct unnest(type_oids)) as known (oid) cross join audit.parts_of_type(known.oid) as part
            union
            -- JSON has times in one form, a text in that of the session.
            select part.oid, true from (select distinct unnest(as_text)) as known (oid) cross join audit.parts_of_type(known.oid) as part
        ),
        pinned (type_oid, setting, of_text_alone) as (
            values
                ('timestamptz'::regtype, 'TimeZone=UTC', false),
                ('timestamptz', 'DateStyle=ISO', true),
                ('timestamp', 'DateStyle=ISO', true),
                ('date', 'DateStyle=ISO', true),
                ('interval', 'IntervalStyle=postgres', false),
                ('bytea', 'bytea_output=hex', false),
                ('money', 'lc_monetary=C', false),
                ('real', 'extra_float_digits=1', false),
                ('double precision', 'extra_float_digits=1', false),
                ('point', 'extra_float_digits=1', false),
                ('path', 'extra_float_digits=1', false),
                ('polygon', 'extra_float_digits=1', false),
                ('circle', 'extra_float_digits=1', false),
                ('regclass', 'quote_all_identifiers=off', false),
                ('regtype', 'quote_all_identifiers=off', false),
                ('regproc', 'quote_all_identifiers=off', false),
                ('regprocedure', 'quote_all_identifiers=off', false),
                ('regoper', 'quote_all_identifiers=off', false),
                ('regoperator', 'quote_all_identifiers=off', false),
                ('regrole', 'quote_all_identifiers=off', false),
                ('regnamespace', 'quote_all_identifiers=off', false),
                ('regcollation', 'quote_all_identifiers=off', false),
                ('regconfig', 'quote_all_identifiers=off', false),
                ('regdictionary', 'quote_all_identifiers=off', false)
        )
        select coalesce(array_agg(distinct pinned.setting order by pinned.setting), '{}')
        from part
        join pinned on (part.in_text or not pinned.of_text_alone)
            -- (What the type of an extension depends on nobody knows.)
            and (
                pinned.type_oid = part.oid
                or (part.oid >= 16384 and exists (select from pg_type where pg_type.oid = part.oid and typtype = 'b' and typelem = 0))
            )
    );
end
$$;

comment on function audit.settings_of_types(oid[], oid[]) is
    'The settings, as pg_proc.proconfig has them, that a function must pin so that it writes values of these types in one form whatever the session''s: as JSON; as_text: those whose text is used.';

create or replace function audit.pinned_settings(tracked audit.tracked_table)
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Whose text identifies the row, or is looked for in another table.
    names constant text[] := audit.identity_columns(tracked.relation) || array(
        select attname
        from audit.present_steps() as step
        join pg_attribute on attrelid = step.place and attnum = step.column_number
        where step.relation = tracked.relation and step.position = 0
    ) || tracked.label || tracked.org || tracked.actor;
begin
    return (
        select audit.settings_of_types(
            coalesce(array_agg(type_oid) filter (where live.name <> all (tracked.ignore)), '{}'),
            coalesce(array_agg(type_oid) filter (
                where live.name = any (names) or (live.name <> all (tracked.ignore) and audit.is_recorded_as_text(type_oid))
            ), '{}')
        )
        from audit.live_columns(tracked.relation) as live
    ) || case
        -- (Postgres writes a condition's texts without escapes; all other texts in a function have them where they need them.)
        when exists (select from audit.rule where rule.relation = tracked.relation and strpos(rule.expression, E'\\') > 0)
            then '{standard_conforming_strings=on}'::text[]
        else '{}'
    end;
end
$$;

comment on function audit.pinned_settings(audit.tracked_table) is
    'The settings that a table''s capture functions have of their own, as pg_proc.proconfig has them, so that a value is recorded in one form whatever the session''s.';

create or replace function audit.create_compiled(
    function_name text, arguments text, returned text, settings text[], body text, new_owner name, description text
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    execute concat(
        format('create or replace function audit.%I(', function_name), arguments, ') returns ', returned,
        ' language plpgsql security definer set search_path = pg_catalog, pg_temp',
        (
            select string_agg(format(' set %I = %L', split_part(setting, '=', 1), split_part(setting, '=', 2)), '' order by number)
            from unnest(settings) with ordinality as pinned (setting, number)
        ),
        ' as ', quote_literal(body)
    );
    execute concat(format('revoke execute on function audit.%I(', function_name), arguments, ') from public');
    execute concat(format('comment on function audit.%I(', function_name), arguments, ') is ', quote_literal(description));
    perform audit.hand_over(function_name, arguments, new_owner);
end
$$;

comment on function audit.create_compiled(text, text, text, text[], text, name, text) is
    'Creates a function in schema audit, or replaces it, that runs as its owner and that nobody else may call.';

create or replace function audit.compile_table(relation regclass)
returns void
language plpgsql
volatile
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
    recorder name := audit.assign_recorder(relation);
    settings text[];
    event_operation text;
    function_name text;
begin
    tracked := audit.follow_columns(relation);
    settings := audit.pinned_settings(tracked);
    -- Each condition is parsed anew: by audit.check_rule().
    update audit.rule set condition = condition where rule.relation = compile_table.relation;
    perform audit.create_compiled(
        audit.reader_name(relation), 'leaf regclass, first_row tid, end_row tid', 'setof record', '{row_security=on}',
        audit.compiled_reader(tracked), recorder, format('Reads the rows of %s. Compiled.', tracked.name)
    );
    perform audit.create_lookups(relation, recorder);
    perform audit.create_labeller(tracked, recorder);
    perform audit.create_namer(tracked, recorder);
    foreach event_operation in array array['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']
    loop
        function_name := audit.claim_capture_function(relation, event_operation);
        -- What is written now need not be compared with what it should be at the next look, which every caller ends with.
        update audit.own_trigger as known
        set function_version = null, function_digest = null
        where known.root = compile_table.relation
            and known.trigger_name = 'pgtrail_' || lower(event_operation collate "C")
            and not known.function_altered;
        perform audit.create_compiled(
            function_name, '', 'trigger', settings, audit.compiled_body(tracked, event_operation), recorder,
            format('Records each %s on %s. Compiled.', event_operation, tracked.name)
        );
        perform audit.allow_trigger_makers(relation, function_name);
    end loop;
end
$$;

comment on function audit.compile_table(regclass) is
    'Writes the functions of a tracked table anew from its settings, its rules and its columns as they are now.';

create or replace function audit.last_column_numbers(tracked audit.tracked_table)
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

comment on function audit.last_column_numbers(audit.tracked_table) is
    'Which column had which number when a table was last compiled; after a restore: which number it got by that.';

create or replace function audit.follow_columns(moved_relation regclass)
returns audit.tracked_table
language plpgsql
volatile
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
    known.column_numbers := audit.last_column_numbers(known);

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
            when audit.has_path(moved_relation, 'org') then audit.settled_path(moved_relation, 'org')
            else renamed ->> known.org
        end;
        tracked.label := case
            when audit.has_path(moved_relation, 'label') then audit.settled_path(moved_relation, 'label')
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
                from (select audit.column_of_path(path, array(select jsonb_object_keys(known.column_numbers))) offset 0) as found (name)
            ) as part (name, condition)
            where part.name is null or renamed ? part.name
        );
        -- A column that came since, or got its name since, is judged by it, as audit.track() would.
        new_secrets := array(
            select name
            from unnest(audit.secrets_by_name(moved_relation, tracked.secret || tracked.ignore)) as name
            where exists (
                select
                from unnest(audit.columns_of_secret(moved_relation, name)) as part
                where known.column_numbers -> part is distinct from present -> part
            )
        );
        if new_secrets <> '{}' then
            tracked.secret := tracked.secret || new_secrets;
            raise notice '%: redacted by their names from now on: % (audit.track() with reveal => … shows them)',
                moved_relation, array_to_string(new_secrets, ', ');
        end if;
        if audit.is_secret_or_holds_one(tracked.label, tracked.secret) then
            raise warning 'pgtrail: the label "%" of % is secret', tracked.label, moved_relation
                using hint = 'Its events have no label until you call audit.track() with another.';
            tracked.label := null;
        end if;
        if audit.is_secret_or_holds_one(tracked.org, tracked.secret) then
            tracked.org := null;
        end if;
        if audit.is_secret_or_holds_one(tracked.actor, tracked.secret) then
            tracked.actor := null;
        end if;
        if known.org is not null and tracked.org is null then
            raise warning 'pgtrail: % has lost its organization "%"', moved_relation, known.org
                using hint = 'Its events belong to no organization until you call audit.track() with another org.';
        end if;
    end if;
    tracked.column_numbers := present;
    tracked.numbered_oid := moved_relation;
    tracked.name := audit.qualified_name(moved_relation);

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

comment on function audit.follow_columns(regclass) is
    'Brings a tracked table''s settings up to its name and columns: follows renames, forgets what was dropped, redacts what came, or got its name, since and looks secret. A label, an organization or an actor that is secret now is given up.';

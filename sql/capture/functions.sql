-- The trigger functions of a table: their names, who owns and may call them, and the settings that they pin.

create or replace function audit_internal.capture_function_name(relation regclass, event_operation text)
returns text
language sql
stable
as $$
    -- Identifiers end at 63 bytes; a longer name, of any of the four, is cut and made unique by its digest.
    select 'capture '
        || case
            when pg_catalog.octet_length(known.name) <= 46 then known.name
            else pg_catalog.left(pg_catalog.md5(known.name), 16) || '…'
        end
        || ' ' || pg_catalog.lower(event_operation collate "C")
    from (select audit_internal.qualified_name(relation)) as known (name)
$$;

comment on function audit_internal.capture_function_name(regclass, text) is
    'The name of a tracked table''s trigger function in schema audit: `\sf audit_internal."capture nemo.team update"`.';

create or replace function audit_internal.trigger_names()
returns name[]
language sql
immutable
as $$
    select '{pgtrail_insert,pgtrail_update,pgtrail_delete,pgtrail_truncate}'::name[]
$$;

comment on function audit_internal.trigger_names() is 'What the triggers that record are called.';

create or replace function audit_internal.installed_triggers()
returns table (relation regclass, name name, trigger_oid oid, is_inherited boolean, function_oid oid, function_name name)
language sql
stable
as $$
    select trigger.tgrelid, trigger.tgname, trigger.oid, trigger.tgparentid <> 0, function.oid, function.proname
    from pg_catalog.pg_trigger as trigger
    join pg_catalog.pg_proc as function on function.oid = trigger.tgfoid
    where function.pronamespace = 'audit_internal'::pg_catalog.regnamespace and pg_catalog.starts_with(function.proname, 'capture ')
$$;

comment on function audit_internal.installed_triggers() is
    'The triggers, whatever their names, that call a function that records; is_inherited: a copy of a trigger of the table that it is a partition of.';

create or replace function audit_internal.claim_capture_function(relation regclass, event_operation text)
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
-- That there is nothing to drop is no news.
set client_min_messages = warning
as $$
declare
    wanted text := audit_internal.capture_function_name(relation, event_operation);
    present name := (
        select function_name
        from audit_internal.installed_triggers() as installed
        where installed.relation in (select relid from audit_internal.partition_tree(claim_capture_function.relation))
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
        execute format('drop function if exists audit_internal.%I()', wanted);
        execute format('alter function audit_internal.%I() rename to %I', present, wanted);
    end if;
    return wanted;
end
$$;

comment on function audit_internal.claim_capture_function(regclass, text) is
    'The name of a tracked table''s trigger function, which follows the table''s.';

create or replace function audit_internal.partition_makers(relation regclass)
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

comment on function audit_internal.partition_makers(regclass) is
    'The owners of a table and of its partitions that have partitions: who may add to it.';

create or replace function audit_internal.allow_trigger_makers(relation regclass, function_name text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    makers oid[] := array(select audit_internal.partition_makers(relation)) || 'audit_admin'::regrole::oid;
    other text;
begin
    for other in
        select quote_ident(pg_get_userbyid(granted.grantee))
        from pg_proc
        cross join aclexplode(pg_proc.proacl) as granted
        where pg_proc.pronamespace = 'audit_internal'::regnamespace
            and pg_proc.proname = function_name
            and granted.grantee <> pg_proc.proowner
            and granted.grantee <> all (makers)
    loop
        execute format('revoke execute on function audit_internal.%I() from %s', function_name, other);
    end loop;
    execute format(
        'grant execute on function audit_internal.%I() to %s',
        function_name,
        (select string_agg(distinct quote_ident(pg_get_userbyid(maker)), ', ') from unnest(makers) as maker)
    );
end
$$;

comment on function audit_internal.allow_trigger_makers(regclass, text) is
    'Who creates a trigger, or a partition that gets a copy of it, must be allowed to execute its function: audit_admin and the table''s owners, nobody else.';

create or replace function audit_internal.settings_of_types(type_oids oid[], as_text oid[])
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
begin
    return (
        with part as (
            select part.oid, part.in_text from (select distinct unnest(type_oids)) as known (oid) cross join audit_internal.parts_of_type(known.oid) as part
            union
            -- JSON has times in one form, a text in that of the session.
            select part.oid, true from (select distinct unnest(as_text)) as known (oid) cross join audit_internal.parts_of_type(known.oid) as part
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

comment on function audit_internal.settings_of_types(oid[], oid[]) is
    'The settings, as pg_proc.proconfig has them, that a function must pin so that it writes values of these types in one form whatever the session''s: as JSON; as_text: those whose text is used.';

create or replace function audit_internal.pinned_settings(tracked audit.tracked_table)
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Whose text identifies the row, or is looked for in another table.
    names constant text[] := audit_internal.identity_columns(tracked.relation) || array(
        select attname
        from audit_internal.current_steps() as step
        join pg_attribute on attrelid = step.step_table and attnum = step.column_number
        where step.relation = tracked.relation and step.position = 0
    ) || tracked.label || tracked.org || tracked.actor;
begin
    return (
        select audit_internal.settings_of_types(
            coalesce(array_agg(type_oid) filter (where live.name <> all (tracked.ignore)), '{}'),
            coalesce(array_agg(type_oid) filter (
                where live.name = any (names) or (live.name <> all (tracked.ignore) and audit_internal.is_recorded_as_text(type_oid))
            ), '{}')
        )
        from audit_internal.live_columns(tracked.relation) as live
    ) || case
        -- (Postgres writes a condition's texts without escapes; all other texts in a function have them where they need them.)
        when exists (select from audit.rule where rule.relation = tracked.relation and strpos(rule.expression, E'\\') > 0)
            then '{standard_conforming_strings=on}'::text[]
        else '{}'
    end;
end
$$;

comment on function audit_internal.pinned_settings(audit.tracked_table) is
    'The settings that a table''s capture functions have of their own, as pg_proc.proconfig has them, so that a value is recorded in one form whatever the session''s.';

create or replace function audit_internal.create_compiled_function(
    function_name text, arguments text, returned text, settings text[], body text, new_owner name, description text
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    execute concat(
        format('create or replace function audit_internal.%I(', function_name), arguments, ') returns ', returned,
        ' language plpgsql security definer set search_path = pg_catalog, pg_temp',
        (
            select string_agg(format(' set %I = %L', split_part(setting, '=', 1), split_part(setting, '=', 2)), '' order by number)
            from unnest(settings) with ordinality as pinned (setting, number)
        ),
        ' as ', quote_literal(body)
    );
    execute concat(format('revoke execute on function audit_internal.%I(', function_name), arguments, ') from public');
    execute concat(format('comment on function audit_internal.%I(', function_name), arguments, ') is ', quote_literal(description));
    perform audit_internal.set_function_owner(function_name, arguments, new_owner);
end
$$;

comment on function audit_internal.create_compiled_function(text, text, text, text[], text, name, text) is
    'Creates a function in schema audit, or replaces it, that runs as its owner and that nobody else may call.';

-- Filters: parsed from JSON, and applied to an event.

create or replace function audit_internal.check_options(subject text, options jsonb, known jsonb)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    option record;
begin
    if jsonb_typeof(options) <> 'object' then
        raise exception using
            errcode = 'PT009',
            message = format('the options of %s are not a JSON object', subject),
            hint = 'Write {"actions": ["key.*"]}, or {} for none.';
    end if;
    for option in select key as name, value, known ->> key as kind from jsonb_each(options)
    loop
        -- (The value is not quoted: it may be a secret.)
        if option.kind is null then
            raise exception using
                errcode = 'PT009',
                message = format('%s has no option "%s"', subject, left(option.name, 100)),
                hint = format('The options are %s.', (select string_agg(name, ', ' order by name) from jsonb_object_keys(known) as name));
        elsif jsonb_typeof(option.value) <> option.kind
            or option.kind = 'array' and jsonb_path_exists(option.value, 'strict $[*] ? (@.type() != "string")')
        then
            raise exception using
                errcode = 'PT009',
                message = format(
                    '"%s" is not a %s', option.name, case option.kind when 'array' then 'list of strings' else option.kind end
                ),
                hint = format(
                    'Write {"%s": %s}.',
                    option.name,
                    case option.kind when 'array' then '["a", "b"]' when 'string' then '"a"' when 'number' then '1' else 'true' end
                );
        end if;
    end loop;
end
$$;

comment on function audit_internal.check_options(text, jsonb, jsonb) is
    'Raises PT009 unless the options are an object of known keys, each with a value of its kind (as jsonb_typeof() has it; an array is of strings).';

create or replace function audit.filter(p_filter jsonb)
returns audit.filter
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    given constant jsonb := coalesce(jsonb_strip_nulls(p_filter), '{}');
    parsed audit.filter;
    category_name text;
begin
    perform audit_internal.check_options(
        'a filter',
        given,
        '{
            "categories": "array", "actions": "array", "orgs": "array", "actors": "array", "resources": "array", "nodes": "array",
            "actor_type": "string", "actor_id": "string", "resource_type": "string", "resource_id": "string", "words": "string",
            "since": "string", "until": "string", "first_day": "string", "last_day": "string", "days": "number",
            "before_time": "string", "before_id": "number"
        }'
    );
    begin
        parsed := jsonb_populate_record(null::audit.filter, given - '{since, until}'::text[]);
        parsed.since := coalesce((given ->> 'first_day')::date, current_date - (given ->> 'days')::integer + 1);
        parsed.until := (given ->> 'last_day')::date + 1;
    exception
        when data_exception then
            raise exception using
                errcode = 'PT009',
                message = 'invalid day, number or time in the filter',
                hint = 'Write {"first_day": "2026-11-23", "last_day": "2026-11-30"} or {"days": 7}.';
    end;
    parsed.since := coalesce(audit_internal.parse_time(given ->> 'since'), parsed.since);
    parsed.until := coalesce(audit_internal.parse_time(given ->> 'until'), parsed.until);
    foreach category_name in array coalesce(parsed.categories, '{}')
    loop
        perform audit_internal.check_category(category_name);
    end loop;
    perform audit_internal.check_patterns(parsed.actions), audit_internal.check_patterns(parsed.actors), audit_internal.check_patterns(parsed.resources);
    -- (A repeated organization would return each of its events twice.)
    if parsed.orgs is not null then
        parsed.orgs := array(select distinct org from unnest(parsed.orgs) as org order by org);
    end if;
    return parsed;
end
$$;

comment on function audit.filter(jsonb) is
    'Parses a filter from a JSON object. Lists: categories, orgs, nodes (by name), actions, actors, resources (by pattern); texts: actor_id, actor_type, resource_id, resource_type, words; times as audit_internal.parse_time() takes them: since, until; or days of the session''s time zone, both included: first_day, last_day, or so many up to today: days; before_time and before_id: only events before this one. PT002, PT009.';

create or replace function audit_internal.is_in_range(occurred_at timestamptz, id bigint, wanted audit.filter)
returns boolean
language sql
immutable
parallel safe
as $$
    -- Without a subquery, so that the planner can inline it. Each comparison of both columns
    -- has one of occurred_at alone beside it: by that whole months are left out, which a comparison of rows does not do.
    select (wanted.since is null or occurred_at operator(pg_catalog.>=) wanted.since)
        and (wanted.until is null or occurred_at operator(pg_catalog.<) wanted.until)
        and (wanted.before_time is null or occurred_at operator(pg_catalog.<=) wanted.before_time)
        and (
            wanted.before_time is null
            or (occurred_at, id) operator(pg_catalog.<) (wanted.before_time, wanted.before_id)
        )
        and (wanted.from_time is null or occurred_at operator(pg_catalog.>=) wanted.from_time)
        and (
            wanted.from_time is null
            or (occurred_at, id) operator(pg_catalog.>=) (wanted.from_time, wanted.from_id)
        )
$$;

comment on function audit_internal.is_in_range(timestamptz, bigint, audit.filter) is
    'Whether an event is in the filter''s range of (occurred_at, id).';

create or replace function audit_internal.matches_names(event audit.event, categories text[], actions text[], orgs text[])
returns boolean
language sql
immutable
parallel safe
as $$
    -- Without a subquery, so that the planner can inline it.
    select (orgs is null or event.org_id operator(pg_catalog.=) any (orgs))
        and (categories is null or event.category operator(pg_catalog.=) any (categories))
        and (actions is null or event.action operator(pg_catalog.~) audit_internal.glob(actions))
$$;

comment on function audit_internal.matches_names(audit.event, text[], text[], text[]) is
    'Whether an event passes the filters that destinations have: categories and organizations by name, actions by pattern. A null filter passes every event.';

create or replace function audit.matches_filter(event audit.event, wanted audit.filter)
returns boolean
language sql
immutable
parallel safe
as $$
    -- Without a subquery, so that the planner can inline it.
    -- (A hash is compared twice: without statistics (see audit_internal.disable_statistics()) the planner would otherwise take an
    -- organization to be as rare as one resource.)
    select audit_internal.is_in_range(event.occurred_at, event.id, wanted)
        and audit_internal.matches_names(event, wanted.categories, wanted.actions, wanted.orgs)
        -- (This database's own events have no node.)
        and (wanted.nodes is null or coalesce(event.node, '-') = any (wanted.nodes))
        and (
            wanted.actors is null
            or event.actor_id ~* audit_internal.glob(wanted.actors)
            or event.actor_label ~* audit_internal.glob(wanted.actors)
        )
        and (
            wanted.resources is null
            or event.resource_id ~* audit_internal.glob(wanted.resources)
            or event.resource_label ~* audit_internal.glob(wanted.resources)
        )
        and (
            wanted.actor_id is null
            or (
                event.actor_id = wanted.actor_id
                and (wanted.actor_type is null or event.actor_type = wanted.actor_type)
            )
        )
        and (
            wanted.resource_id is null
            or (
                event.resource_hash = pg_catalog.hashtextextended(wanted.resource_id, 0)
                and event.resource_hash between pg_catalog.hashtextextended(wanted.resource_id, 0) and pg_catalog.hashtextextended(wanted.resource_id, 0)
                and event.resource_id = wanted.resource_id
                and (wanted.resource_type is null or event.resource_type = wanted.resource_type)
            )
        )
        and (
            wanted.words is null
            or pg_catalog.strpos(
                pg_catalog.lower(
                    event.action
                    || pg_catalog.chr(10) || coalesce(event.actor_label, '')
                    || pg_catalog.chr(10) || coalesce(event.actor_id, '')
                    || pg_catalog.chr(10) || coalesce(event.resource_label, '')
                    || pg_catalog.chr(10) || coalesce(event.resource_id, '')
                    || pg_catalog.chr(10) || coalesce(event.reason, '')
                    || pg_catalog.chr(10) || coalesce(event.request_id, '')
                    || pg_catalog.chr(10) || coalesce(event.before::text, '')
                    || pg_catalog.chr(10) || coalesce(event.after::text, '')
                ),
                pg_catalog.lower(wanted.words)
            ) > 0
        )
$$;

comment on function audit.matches_filter(audit.event, audit.filter) is
    'Whether an event passes a filter. The words are searched for, ignoring case, in action, actor, resource, reason, request id and the rows before and after.';

-- An event in detail: its rows, the fields that changed, its public id.

create or replace function audit_internal.rfc3339(moment timestamptz)
returns text
language sql
stable
strict
as $$
    -- (UTC as an interval: no time zone name is looked up.)
    select pg_catalog.to_char(moment at time zone interval '0', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

comment on function audit_internal.rfc3339(timestamptz) is 'Formats a time as RFC 3339, in UTC, to the microsecond.';

create or replace function audit.row_before(event audit.event)
returns jsonb
language sql
immutable
parallel safe
as $$
    select case
        -- (Imported events have the whole row.)
        when event.operation operator(pg_catalog.=) 'UPDATE' and event.changed is not null and event.imported_from is null then
            -- (before leaves out fields that were null.)
            event.after
            operator(pg_catalog.||) pg_catalog.jsonb_object(
                event.changed, pg_catalog.array_fill(null::pg_catalog.text, array[pg_catalog.cardinality(event.changed)])
            )
            operator(pg_catalog.||) event.before
        else event.before
    end
$$;

comment on function audit.row_before(audit.event) is
    'Returns the whole row before the change, where audit.event.before of an UPDATE has only the fields that changed. Null if there was none.';

create or replace function audit_internal.detail_fields(before jsonb, after jsonb, changed text[])
returns setof text
language sql
immutable
parallel safe
as $$
    select pg_catalog.unnest(changed)
    union all
    -- An insert or delete: every field that had a value.
    select present.key
    from pg_catalog.jsonb_each(coalesce(before, after)) as present
    where changed is null and present.value operator(pg_catalog.<>) 'null'
$$;

comment on function audit_internal.detail_fields(jsonb, jsonb, text[]) is
    'Returns the names of the fields that an update changed, or that an inserted or deleted row had values in.';

create or replace function audit_internal.aggregate_details(before jsonb, after jsonb, changed text[])
-- (One row, returned as a set so that the planner can inline it in a FROM clause.)
returns setof jsonb
language sql
stable
parallel safe
as $$
    select pg_catalog.jsonb_object_agg(
        name, pg_catalog.jsonb_build_object('before', before operator(pg_catalog.->) name, 'after', after operator(pg_catalog.->) name)
    )
    from audit_internal.detail_fields(before, after, changed) as name
$$;

comment on function audit_internal.aggregate_details(jsonb, jsonb, text[]) is 'audit_internal.details(), for a FROM clause.';

create or replace function audit_internal.field_details(field text, before jsonb, after jsonb)
returns jsonb
language sql
stable
parallel safe
as $$
    select pg_catalog.jsonb_build_object(
        field, pg_catalog.jsonb_build_object('before', before operator(pg_catalog.->) field, 'after', after operator(pg_catalog.->) field)
    )
$$;

comment on function audit_internal.field_details(text, jsonb, jsonb) is
    'audit_internal.details() of one field, as an expression: most events have one, and it costs a fifth of the aggregate.';

create or replace function audit_internal.details(before jsonb, after jsonb, changed text[])
returns jsonb
language sql
stable
parallel safe
as $$
    select case
        when pg_catalog.cardinality(changed) operator(pg_catalog.=) 1 then audit_internal.field_details(changed[1], before, after)
        else (select details from audit_internal.aggregate_details(before, after, changed) as details)
    end
$$;

comment on function audit_internal.details(jsonb, jsonb, text[]) is
    'Returns the changed fields only: `{"rpm_limit": {"before": 60, "after": 120}}`.';

create or replace function audit_internal.truncate_value(value jsonb, max_chars integer)
returns jsonb
language sql
immutable
parallel safe
as $$
    -- Without a subquery, so that the planner can inline it.
    select case
        when pg_catalog.jsonb_typeof(value) operator(pg_catalog.=) 'string' then
            case
                when pg_catalog.length(value operator(pg_catalog.#>>) '{}') operator(pg_catalog.>) max_chars then
                    pg_catalog.to_jsonb(pg_catalog.left(value operator(pg_catalog.#>>) '{}', max_chars))
                else value
            end
        when pg_catalog.length(value::pg_catalog.text) operator(pg_catalog.>) max_chars then pg_catalog.to_jsonb(pg_catalog.left(value::pg_catalog.text, max_chars))
        else value
    end
$$;

comment on function audit_internal.truncate_value(jsonb, integer) is
    'Returns the value, or the first max_chars characters of its text if it is longer.';

create or replace function audit_internal.changed_members(field text, before jsonb, after jsonb, max_chars integer)
returns jsonb
language sql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
    with recursive part as (
        select field as name, before as was, after as becomes, 0 as depth
        union all
        select part.name || '.' || member.key, part.was -> member.key, part.becomes -> member.key, part.depth + 1
        from part
        cross join lateral (
            select pg_catalog.jsonb_object_keys(case pg_catalog.jsonb_typeof(part.was) when 'object' then part.was end)
            union
            select pg_catalog.jsonb_object_keys(case pg_catalog.jsonb_typeof(part.becomes) when 'object' then part.becomes end)
        ) as member (key)
        where pg_catalog.jsonb_typeof(part.was) = 'object'
            and pg_catalog.jsonb_typeof(part.becomes) = 'object'
            and part.depth < 12
            and part.was -> member.key is distinct from part.becomes -> member.key
    )
    select pg_catalog.jsonb_object_agg(
        part.name,
        pg_catalog.jsonb_build_object(
            'before', audit_internal.truncate_value(part.was, max_chars), 'after', audit_internal.truncate_value(part.becomes, max_chars)
        )
    )
    from part
    where pg_catalog.jsonb_typeof(part.was) is distinct from 'object'
        or pg_catalog.jsonb_typeof(part.becomes) is distinct from 'object'
        -- The difference is redacted, or too deep.
        or part.was is not distinct from part.becomes
        or part.depth = 12
$$;

comment on function audit_internal.changed_members(text, jsonb, jsonb, integer) is
    'Returns the members in which two objects differ, to a depth of 12, named as `config.limits.rpm`, for audit_internal.short_details().';

create or replace function audit_internal.short_details(before jsonb, after jsonb, changed text[], max_chars integer)
-- (One row, returned as a set so that the planner can inline it in a FROM clause.)
returns setof jsonb
language sql
immutable
parallel safe
as $$
    select pg_catalog.jsonb_object_agg(part.key, part.value)
    from audit_internal.detail_fields(before, after, changed) as field
    cross join lateral pg_catalog.jsonb_each(
        -- (Most fields are not objects, and the recursion is the most expensive part.)
        case
            when pg_catalog.jsonb_typeof(before operator(pg_catalog.->) field) operator(pg_catalog.=) 'object'
                and pg_catalog.jsonb_typeof(after operator(pg_catalog.->) field) operator(pg_catalog.=) 'object'
            then
                audit_internal.changed_members(field, before operator(pg_catalog.->) field, after operator(pg_catalog.->) field, max_chars)
            else pg_catalog.jsonb_build_object(
                field,
                pg_catalog.jsonb_build_object(
                    'before', audit_internal.truncate_value(before operator(pg_catalog.->) field, max_chars), 'after', audit_internal.truncate_value(after operator(pg_catalog.->) field, max_chars)
                )
            )
        end
    ) as part
$$;

comment on function audit_internal.short_details(jsonb, jsonb, text[], integer) is
    'audit_internal.details() for a list: only the members of objects that changed, and no value longer than max_chars.';

create or replace function audit_internal.event_reference(event audit.event)
returns text
language sql
immutable
parallel safe
as $$
    select case when event.node is null then event.id::pg_catalog.text else event.node operator(pg_catalog.||) ':' operator(pg_catalog.||) event.node_id::pg_catalog.text end
$$;

comment on function audit_internal.event_reference(audit.event) is
    'Returns how people and commands refer to an event: its id; on a hub, of node eu1''s event 42, eu1:42.';

create or replace function audit_internal.find_event_id(p_name text)
returns bigint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    -- (Payloads have it as evt_eu1_42.)
    parts text[] := regexp_match(p_name, '^(?:evt_)?(?:([a-z][a-z0-9_]*)[:_])?([0-9]{1,19})$');
begin
    if parts is null or parts[2]::numeric > 9223372036854775807 then
        raise exception using
            errcode = 'PT047',
            message = format('"%s" is not an event id', left(p_name, 100)),
            hint = 'Write it as in the first column of pgtrail log: 42, or on a hub eu1:42.';
    end if;
    return case
        when parts[1] is null then parts[2]::bigint
        -- (Without nodes there is no index of their events.)
        when audit_internal.has_nodes() then (select min(event.id) from audit.event where event.node = parts[1] and event.node_id = parts[2]::bigint)
    end;
end
$$;

comment on function audit_internal.find_event_id(text) is
    'Returns the id of the event referred to as 42, eu1:42, evt_42 or evt_eu1_42; null if there is none that the present role may see. PT047.';

create or replace function audit_internal.adjacent_events(
    p_node text, p_resource_type text, p_resource_id text, p_time timestamptz, p_id bigint,
    out previous bigint, out following bigint
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
set enable_sort = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    hash bigint := hashtextextended(p_resource_id, 0);
begin
    previous := (
        select event.id
        from audit.event
        where event.resource_hash = hash
            and event.resource_hash between hash and hash
            and event.resource_id = p_resource_id
            and event.resource_type = p_resource_type
            and event.node is not distinct from p_node
            and event.occurred_at <= p_time
            and (event.occurred_at, event.id) < (p_time, p_id)
        order by event.occurred_at desc, event.id desc
        limit 1
    );
    following := (
        select event.id
        from audit.event
        where event.resource_hash = hash
            and event.resource_hash between hash and hash
            and event.resource_id = p_resource_id
            and event.resource_type = p_resource_type
            and event.node is not distinct from p_node
            and event.occurred_at >= p_time
            and (event.occurred_at, event.id) > (p_time, p_id)
        order by event.occurred_at, event.id
        limit 1
    );
end
$$;

comment on function audit_internal.adjacent_events(text, text, text, timestamptz, bigint) is
    'Returns the ids of the events before and after one, of the same resource at the same node (another node''s resource may have the same id).';

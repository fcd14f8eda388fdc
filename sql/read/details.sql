-- What an event says: its rows, the fields that changed, its name.

create or replace function audit_internal.rfc3339(moment timestamptz)
returns text
language sql
stable
strict
as $$
    -- (UTC by its distance: no name is looked up.)
    select pg_catalog.to_char(moment at time zone interval '0', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

comment on function audit_internal.rfc3339(timestamptz) is 'A time in UTC to the microsecond, as RFC 3339 writes it.';

create or replace function audit.row_before(event audit.event)
returns jsonb
language sql
immutable
parallel safe
as $$
    select case
        -- (Of what another tool recorded, as it is.)
        when event.operation operator(pg_catalog.=) 'UPDATE' and event.changed is not null and event.imported_from is null then
            -- (What was null is not in before.)
            event.after
            operator(pg_catalog.||) pg_catalog.jsonb_object(
                event.changed, pg_catalog.array_fill(null::pg_catalog.text, array[pg_catalog.cardinality(event.changed)])
            )
            operator(pg_catalog.||) event.before
        else event.before
    end
$$;

comment on function audit.row_before(audit.event) is
    'The whole row before the change: of an UPDATE audit.event.before holds only the fields that moved. Null: there was none.';

create or replace function audit_internal.told_fields(before jsonb, after jsonb, changed text[])
returns setof text
language sql
immutable
parallel safe
as $$
    select pg_catalog.unnest(changed)
    union all
    -- A row that came or went: every field that had a value.
    select present.key
    from pg_catalog.jsonb_each(coalesce(before, after)) as present
    where changed is null and present.value operator(pg_catalog.<>) 'null'
$$;

comment on function audit_internal.told_fields(jsonb, jsonb, text[]) is
    'The names of the fields that changed or, of a row that came or went, that had a value.';

create or replace function audit_internal.told_details(before jsonb, after jsonb, changed text[])
-- (One row; but as a set, which the planner sees through in a FROM clause.)
returns setof jsonb
language sql
stable
parallel safe
as $$
    select pg_catalog.jsonb_object_agg(
        name, pg_catalog.jsonb_build_object('before', before operator(pg_catalog.->) name, 'after', after operator(pg_catalog.->) name)
    )
    from audit_internal.told_fields(before, after, changed) as name
$$;

comment on function audit_internal.told_details(jsonb, jsonb, text[]) is 'audit_internal.details(), for a FROM clause.';

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
    'audit_internal.details() of one field: an expression, where most events need no more, for it costs a fifth of an aggregate.';

create or replace function audit_internal.details(before jsonb, after jsonb, changed text[])
returns jsonb
language sql
stable
parallel safe
as $$
    select case
        when pg_catalog.cardinality(changed) operator(pg_catalog.=) 1 then audit_internal.field_details(changed[1], before, after)
        else (select told from audit_internal.told_details(before, after, changed) as told)
    end
$$;

comment on function audit_internal.details(jsonb, jsonb, text[]) is
    'The changed fields alone: `{"rpm_limit": {"before": 60, "after": 120}}`.';

create or replace function audit_internal.cut_value(value jsonb, max_chars integer)
returns jsonb
language sql
immutable
parallel safe
as $$
    -- Without a subquery, so that the planner sees through it.
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

comment on function audit_internal.cut_value(jsonb, integer) is
    'The value, or if it is longer than so many characters the beginning of its text.';

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
            'before', audit_internal.cut_value(part.was, max_chars), 'after', audit_internal.cut_value(part.becomes, max_chars)
        )
    )
    from part
    where pg_catalog.jsonb_typeof(part.was) is distinct from 'object'
        or pg_catalog.jsonb_typeof(part.becomes) is distinct from 'object'
        -- What differs in it is redacted, or too deep.
        or part.was is not distinct from part.becomes
        or part.depth = 12
$$;

comment on function audit_internal.changed_members(text, jsonb, jsonb, integer) is
    'What differs between two objects: the members that do, to a depth of 12, named `config.limits.rpm`, as audit_internal.short_details() has them.';

create or replace function audit_internal.short_details(before jsonb, after jsonb, changed text[], max_chars integer)
-- (One row; but as a set, which the planner sees through in a FROM clause.)
returns setof jsonb
language sql
immutable
parallel safe
as $$
    select pg_catalog.jsonb_object_agg(part.key, part.value)
    from audit_internal.told_fields(before, after, changed) as field
    cross join lateral pg_catalog.jsonb_each(
        -- (Most fields are no objects, and a recursion costs more than all else.)
        case
            when pg_catalog.jsonb_typeof(before operator(pg_catalog.->) field) operator(pg_catalog.=) 'object'
                and pg_catalog.jsonb_typeof(after operator(pg_catalog.->) field) operator(pg_catalog.=) 'object'
            then
                audit_internal.changed_members(field, before operator(pg_catalog.->) field, after operator(pg_catalog.->) field, max_chars)
            else pg_catalog.jsonb_build_object(
                field,
                pg_catalog.jsonb_build_object(
                    'before', audit_internal.cut_value(before operator(pg_catalog.->) field, max_chars), 'after', audit_internal.cut_value(after operator(pg_catalog.->) field, max_chars)
                )
            )
        end
    ) as part
$$;

comment on function audit_internal.short_details(jsonb, jsonb, text[], integer) is
    'audit_internal.details() for a list: of objects only the members that changed, and no value longer than so many characters.';

create or replace function audit_internal.event_name(event audit.event)
returns text
language sql
immutable
parallel safe
as $$
    select case when event.node is null then event.id::pg_catalog.text else event.node operator(pg_catalog.||) ':' operator(pg_catalog.||) event.node_id::pg_catalog.text end
$$;

comment on function audit_internal.event_name(audit.event) is
    'What people call an event, and commands take: its id; on a hub, of node eu1''s event 42, eu1:42.';

create or replace function audit_internal.event_id(p_name text)
returns bigint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    -- (As evt_eu1_42 stands in a payload, too.)
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
        -- (Where there are no nodes there is no index of their events, either.)
        when audit_internal.has_nodes() then (select min(event.id) from audit.event where event.node = parts[1] and event.node_id = parts[2]::bigint)
    end;
end
$$;

comment on function audit_internal.event_id(text) is
    'The id of the event that people call so: 42, eu1:42, evt_42, evt_eu1_42; null: there is none that the present role may see. PT047.';

create or replace function audit_internal.neighbours(
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

comment on function audit_internal.neighbours(text, text, text, timestamptz, bigint) is
    'The ids of the events before and after one, of the same resource: where it is, for another node''s may have the same id.';

-- The queries of the page.

-- name: read_only
set transaction isolation level repeatable read, read only

-- name: read_committed
set transaction isolation level read committed, read write

-- name: zone
select set_config('TimeZone', %(zone)s, true)

-- name: become
-- The actor first, before the role changes.
select
    case when %(actor)s::text is not null then
        audit.set_actor(%(actor)s::text, null, 'user', %(ip)s::inet, %(user_agent)s::text)
    end,
    set_config('statement_timeout', %(milliseconds)s, true),
    set_config('pgtrail.org', coalesce(%(org)s::text, ''), true),
    case when %(org)s::text is not null then set_config('role', 'audit_org_reader', true) end

-- name: frame
-- What each page shows around its contents.
select
    -- By the rights themselves: whoever owns the log has them in none of its roles.
    has_function_privilege('audit.pause_destination(text, boolean)', 'execute') as is_admin,
    has_table_privilege('audit.destination_status', 'select') as sees_destinations,
    -- A test is signed as the worker would.
    has_function_privilege('audit.pause_destination(text, boolean)', 'execute')
        and has_table_privilege('audit.destination_secret', 'select') as can_send,
    audit_internal.visible_orgs() = '{}' as sees_nothing,
    audit_internal.has_nodes() as is_hub,
    current_setting('TimeZone') as zone,
    current_database() as database,
    pg_current_snapshot()::text as snapshot,
    current_date as today,
    to_char(now(), 'YYYY-MM-DD HH24:MI') as now,
    array(
        select json_build_object('name', category.name, 'label', category.label)
        from audit.category
        order by category.position, category.name
    ) as categories

-- name: search
-- The newest events that pass; the last row has none, but the summary of the search.
select
    (found.event).id,
    to_char((found.event).occurred_at, 'YYYY-MM-DD HH24:MI:SS') as local_time,
    audit_internal.rfc3339((found.event).occurred_at) as utc_time,
    (found.event).action,
    (found.event).category,
    coalesce((found.event).actor_label, (found.event).actor_id) as actor,
    (found.event).actor_type,
    (found.event).actor_id,
    coalesce((found.event).resource_label, (found.event).resource_id) as resource,
    (found.event).resource_type,
    (found.event).resource_id,
    (found.event).node,
    shown.details::text as details,
    (found.event).operation,
    (extract(epoch from (found.event).occurred_at) * 1000000)::bigint as microseconds,
    found.summary
from audit.search(%(filter)s::jsonb, %(limit)s, %(scan_limit)s) with ordinality as found (event, summary, number)
left join lateral audit_internal.short_details(
    (found.event).before, (found.event).after, (found.event).changed, %(max_chars)s
) as shown (details) on true
order by found.number

-- name: counted
select
    counted.begins,
    counted.category,
    counted.events,
    to_char(counted.counted_from, 'YYYY-MM-DD HH24:MI') as counted_from,
    counted.counted_from::date as counted_from_day
from audit_internal.count_events(%(filter)s::jsonb, %(unit)s, %(max_events)s) as counted

-- name: actions
-- The actions to choose from. (None for one organization: it must not learn what others do.)
select distinct action
from audit_internal.known_actions()
where audit_internal.visible_orgs() is null
order by action

-- name: nodes
-- The nodes to choose from, and last the hub itself.
select name
from audit_internal.visible_nodes(%(scan_limit)s)
order by name = '-', name

-- name: arrived
-- How many have become visible since a snapshot, counted to 1,000.
select
    pg_current_snapshot()::text as snapshot,
    exists (select from pg_snapshot_xip(pg_current_snapshot())) as in_flight,
    (select count(*) from audit_internal.events_since(%(filter)s::jsonb, %(snapshot)s::pg_snapshot, 1000)) as events

-- name: event_id
select audit_internal.find_event_id(%(event_name)s) as id

-- name: seal_of_event
select
    sealed.number as seal_number,
    to_char(sealed.sealed_at, 'YYYY-MM-DD HH24:MI:SS') as sealed_at,
    sealed.hash as seal_hash
from audit.event
left join lateral audit_internal.event_seal(event) as sealed on true
where event.id = %(id)s

-- name: neighbours
-- The events before and after one, of the same resource.
select previous, following
from audit_internal.adjacent_events(%(node)s, %(resource_type)s, %(resource_id)s, %(utc_time)s::timestamptz, %(id)s)

-- name: check_event
select problem
from audit.event
cross join lateral audit_internal.check_event(event) as problem
where event.id = %(id)s

-- name: begin_export
select events, csv, passing::text
from audit_internal.begin_export(%(filter)s::jsonb, %(by_field)s)

-- name: ndjson
select audit.event_json(event)::text as json
from audit.event
where audit.matches_filter(event, %(passing)s::audit.filter)
order by event.occurred_at, event.id

-- name: destinations
select
    name,
    format,
    state,
    -- (The rest of a URL may be a secret.)
    substring(url from '^https?://[^/?#]*') as host,
    events_behind,
    seconds_behind::float8 as seconds_behind,
    coalesce(lease_until > clock_timestamp(), false) as is_served,
    dead_letters,
    replays,
    to_char(last_success_at, 'YYYY-MM-DD HH24:MI:SS') as last_success_at,
    last_error,
    to_char(retry_at, 'YYYY-MM-DD HH24:MI:SS') as retry_at
from audit.destination_status
where %(name)s::text is null or name = %(name)s::text
order by name

-- name: attempts
select
    to_char(attempt.attempted_at, 'YYYY-MM-DD HH24:MI:SS') as attempted_at,
    attempt.replay_id,
    attempt.delivered,
    attempt.first_event_id,
    coalesce(
        case when audit_internal.has_nodes() then
            (select audit_internal.event_reference(event) from audit.event where event.id = attempt.first_event_id)
        end,
        attempt.first_event_id::text
    ) as first_event,
    attempt.last_event_id,
    coalesce(
        case when audit_internal.has_nodes() then
            (select audit_internal.event_reference(event) from audit.event where event.id = attempt.last_event_id)
        end,
        attempt.last_event_id::text
    ) as last_event,
    attempt.dead_letters,
    attempt.status,
    attempt.error,
    attempt.worker
from audit.attempt
where attempt.destination_id = audit_internal.destination_id(%(name)s)
order by attempt.id desc
limit 50

-- name: dead_letters
select
    dead_letter.event_id,
    coalesce(audit_internal.event_reference(event), dead_letter.event_id::text) as event_name,
    event.action,
    dead_letter.status,
    dead_letter.error,
    dead_letter.attempts,
    to_char(dead_letter.last_at, 'YYYY-MM-DD HH24:MI:SS') as last_at
from audit.dead_letter
left join audit.event on event.id = dead_letter.event_id
where dead_letter.destination_id = audit_internal.destination_id(%(name)s)
    and dead_letter.delivered_at is null
order by dead_letter.event_id
limit 200

-- name: pause
select audit.pause_destination(%(name)s, %(paused)s)

-- name: redrive
select audit.redrive_dead_letters(%(name)s, %(reason)s)

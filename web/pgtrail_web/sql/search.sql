-- The newest events that pass, down to a horizon, which is null where none is needed or it lies beyond the end.
with wanted as materialized (
    select %(wanted)s::audit.filter as filter
),
horizon as materialized (
    select reached.occurred_at, reached.id
    from wanted
    cross join lateral audit.horizon(
        wanted.filter,
        %(before_time)s::timestamptz,
        %(before_id)s::bigint,
        case when not audit.has_index_of_its_own(wanted.filter) then %(look_at)s::integer end
    ) as reached
),
found as materialized (
    select newest.id, newest.occurred_at
    from wanted
    cross join horizon
    cross join lateral audit.newest(
        wanted.filter, %(before_time)s::timestamptz, %(before_id)s::bigint, horizon.occurred_at, horizon.id, %(most)s::integer
    ) as newest
)
select
    event.id,
    to_char(event.occurred_at, 'YYYY-MM-DD HH24:MI:SS') as local_time,
    audit.rfc3339(event.occurred_at) as utc_time,
    event.action,
    event.category,
    coalesce(event.actor_label, event.actor_id) as actor,
    event.actor_type,
    event.actor_id,
    coalesce(event.resource_label, event.resource_id) as resource,
    event.resource_type,
    event.resource_id,
    shown.details::text as details,
    event.operation,
    (extract(epoch from event.occurred_at) * 1000000)::bigint as microseconds
from audit.event
cross join lateral audit.short_details(event.before, event.after, event.changed, %(longest)s::integer) as shown (details)
where event.id = any (array(select found.id from found))
    and event.occurred_at >= (select min(found.occurred_at) from found)
    and event.occurred_at <= (select max(found.occurred_at) from found)
order by event.occurred_at desc, event.id desc

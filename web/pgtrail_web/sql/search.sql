-- The newest events that pass, down to a horizon where no index leads to them.
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
    event.node,
    shown.details::text as details,
    event.operation,
    (extract(epoch from event.occurred_at) * 1000000)::bigint as microseconds
from audit.newest_events(
    %(wanted)s::audit.filter,
    %(before_time)s::timestamptz,
    %(before_id)s::bigint,
    %(look_at)s::integer,
    %(most)s::integer
) as event
cross join lateral audit.short_details(event.before, event.after, event.changed, %(longest)s::integer) as shown (details)
order by event.occurred_at desc, event.id desc

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
    log.id,
    to_char(log.occurred_at, 'YYYY-MM-DD HH24:MI:SS') as local_time,
    audit.rfc3339(log.occurred_at) as utc_time,
    log.action,
    log.category,
    log.actor,
    log.actor_type,
    log.actor_id,
    log.resource,
    log.resource_type,
    log.resource_id,
    log.details,
    log.operation,
    (extract(epoch from log.occurred_at) * 1000000)::bigint as microseconds
from audit.log
where log.id = any (array(select found.id from found))
    and log.occurred_at >= (select min(found.occurred_at) from found)
    and log.occurred_at <= (select max(found.occurred_at) from found)
order by log.occurred_at desc, log.id desc

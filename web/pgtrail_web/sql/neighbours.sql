-- The events before and after one, of the same resource: where it is, for another node's may have the same id.
select
    (
        select event.id
        from audit.event
        where event.resource_hash = hashtextextended(%(resource_id)s, 0)
            and event.resource_id = %(resource_id)s
            and event.resource_type = %(resource_type)s
            and event.node is not distinct from %(node)s::text
            and event.occurred_at <= %(utc_time)s::timestamptz
            and (event.occurred_at, event.id) < (%(utc_time)s::timestamptz, %(id)s::bigint)
        order by event.occurred_at desc, event.id desc
        limit 1
    ) as previous,
    (
        select event.id
        from audit.event
        where event.resource_hash = hashtextextended(%(resource_id)s, 0)
            and event.resource_id = %(resource_id)s
            and event.resource_type = %(resource_type)s
            and event.node is not distinct from %(node)s::text
            and event.occurred_at >= %(utc_time)s::timestamptz
            and (event.occurred_at, event.id) > (%(utc_time)s::timestamptz, %(id)s::bigint)
        order by event.occurred_at, event.id
        limit 1
    ) as following

-- What the forwarder asks the database.

-- name: destinations
select
    destination.id,
    destination.name,
    destination.url,
    format.content_type,
    secret.secret
from audit.destination
join audit.format on format.name = destination.format
join audit.destination_secret as secret on secret.destination_id = destination.id
where not destination.paused
order by destination.id

-- name: next_batch
select
    lease_token,
    event_ids,
    bodies,
    failures,
    in_flight,
    waiting
from audit.next_batch(%(destination)s, %(worker)s, %(max_events)s)

-- name: settle
select audit.settle(
    %(destination)s,
    %(lease_token)s,
    %(delivered)s::bigint[],
    p_failed => %(failed)s,
    p_status => %(status)s,
    p_error => %(error)s,
    p_retry_in => %(retry_in)s
)

-- name: release_lease
select audit.release_lease(%(destination)s, %(lease_token)s)

-- name: maintain
select audit.maintain()

-- The queries of the worker.

-- name: begin
-- A worker that is stopped before its commit must not keep others from what it has locked.
begin isolation level read committed;
set local idle_in_transaction_session_timeout = '10s'

-- name: destinations
select
    cursor.id as cursor_id,
    destination.name,
    cursor.broken,
    cursor.replay_id,
    destination.url,
    format.content_type,
    format.headers,
    md5(cursor.system_identifier || '/' || destination.id)::uuid::text as channel,
    format.prefix,
    format.separator,
    format.suffix,
    format.max_events,
    format.max_bytes,
    coalesce(destination.max_in_flight, format.max_in_flight) as max_in_flight,
    coalesce(destination.gzip, format.gzip) as gzip,
    format.reads,
    format.success_statuses,
    format.poison_statuses,
    format.configuration_statuses,
    format.poison_codes,
    format.configuration_codes,
    format.success_codes,
    array_remove(
        array[signing.secret, case when signing.previous_until > now() then signing.previous end], null
    ) as signing_secrets,
    token.secret as token,
    destination.token_env,
    destination.token_file,
    destination.oauth_url,
    destination.oauth_client_id,
    destination.oauth_scope,
    destination.allowed_networks::text[] as allowed_networks,
    destination.ca_file,
    destination.client_cert_file
from audit.destination
join audit.cursor on cursor.destination_id = destination.id
join audit.format on format.name = destination.format
left join audit.destination_secret as signing on signing.destination_id = destination.id and signing.kind = 'signing'
left join audit.destination_secret as token on token.destination_id = destination.id and token.kind = 'token'
where (%(cursor)s::bigint is null or cursor.id = %(cursor)s)
    and (
        (%(name)s::text is null and not destination.paused)
        or (destination.name = %(name)s and cursor.replay_id is null)
    )
order by cursor.id

-- name: cursors
select
    cursor.id as cursor_id,
    destination.name,
    cursor.broken
from audit.destination
join audit.cursor on cursor.destination_id = destination.id
where not destination.paused
order by cursor.id

-- name: next_batch
select
    lease_token,
    event_ids,
    event_uids,
    resource_keys,
    sizes,
    body,
    coalesce(failures, 0) as failures,
    coalesce(failing_seconds, 0) as failing_for,
    coalesce(dead_in_row, 0) as dead_in_row,
    in_flight,
    waiting
from audit_internal.next_batch(
    %(cursor)s,
    %(worker)s,
    p_lease => make_interval(secs => %(lease)s),
    p_after => %(after)s,
    p_max_events => %(max_events)s
)

-- name: render_shortened
select audit_internal.render_shortened(%(cursor)s, %(event)s, %(max_bytes)s) as event

-- name: renew_lease
select audit_internal.renew_lease(%(cursor)s, %(lease_token)s, make_interval(secs => %(lease)s)) as held

-- name: record_delivery
select audit_internal.record_delivery(
    %(cursor)s,
    %(lease_token)s,
    %(delivered)s::bigint[],
    %(through)s,
    p_dead_ids => %(dead_ids)s::bigint[],
    p_dead_statuses => %(dead_statuses)s::integer[],
    p_dead_errors => %(dead_errors)s::text[],
    p_dead_in_row => %(dead_in_row)s,
    p_failed => %(failed)s::bigint,
    p_status => %(status)s::integer,
    p_error => %(error)s::text,
    p_retry_in => make_interval(secs => %(retry_in)s),
    p_hold => %(hold)s::text
) as held

-- name: release_lease
select audit_internal.release_lease(%(cursor)s, %(lease_token)s)

-- name: report_broken
select audit_internal.report_broken(%(cursor)s, %(worker)s, %(error)s::text)

-- name: record_heartbeat
select audit_internal.record_heartbeat(%(worker)s, make_interval(secs => %(lease)s))

-- name: remove_worker
select audit_internal.remove_worker(%(worker)s)

-- name: maintain
select audit.maintain()

-- name: index_events
select audit_internal.index_events() as more

-- name: status
select
    name,
    state,
    events_behind,
    seconds_behind::float8 as seconds_behind,
    dead_letters
from audit.destination_status

-- name: seal
select
    number,
    events
from audit_internal.seal_if_due(make_interval(secs => %(every)s), %(events)s)
where number is not null

-- name: close_if_silent
select set_config('idle_session_timeout', %(seconds)s, false)

-- name: ping
select 1

-- name: begin_coalescing
-- Takes the lock without which no writer notifies. The next transaction id; null: another session has the lock.
select case when pg_try_advisory_lock(audit_internal.notify_lock_key()) then pg_snapshot_xmax(pg_current_snapshot())::text end

-- name: notify_others
-- Wakes the page and those who follow the log too. The next transaction id; null: no transaction has begun since.
select pg_snapshot_xmax(pg_current_snapshot())::text
from pg_notify('pgtrail', '')
where pg_snapshot_xmax(pg_current_snapshot()) > %(reached)s::xid8

-- name: end_coalescing
-- Whoever began to write since the last look has not notified.
select pg_advisory_unlock(audit_internal.notify_lock_key()) from pg_notify('pgtrail', '')

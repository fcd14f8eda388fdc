-- What `pgtrail destination` asks the database.

-- name: add_destination
-- (A token is in neither the statement nor its parameters, which the server may log.)
select audit.add_destination(
    %(name)s,
    %(url)s,
    %(format)s,
    %(options)s::jsonb || jsonb_build_object('token', nullif(current_setting('pgtrail.token', true), ''))
)

-- name: destinations
select
    name,
    format,
    state,
    events_behind,
    seconds_behind::float8,
    dead_letters,
    replays,
    url,
    categories,
    actions,
    orgs,
    last_attempt_at,
    last_success_at,
    last_error,
    retry_at
from audit.destination_status
order by name

-- name: destination
select
    status.name,
    status.format,
    status.url,
    status.state,
    status.categories,
    status.actions,
    status.orgs,
    destination.since,
    destination.max_in_flight,
    destination.gzip,
    destination.token_env,
    destination.token_file,
    destination.oauth_url,
    destination.oauth_client_id,
    destination.oauth_scope,
    destination.ca_file,
    destination.client_cert_file,
    destination.allowed_networks::text[] as allowed_networks,
    destination.created_at,
    status.events_behind,
    round(status.seconds_behind)::bigint as seconds_behind,
    status.dead_letters,
    status.replays,
    status.last_attempt_at,
    status.last_success_at,
    status.failures,
    status.failing_since,
    status.last_error,
    status.retry_at,
    status.lease_holder,
    status.lease_until
from audit.destination_status as status
join audit.destination on destination.id = status.id
where status.id = audit_internal.destination_id(%(name)s)

-- name: attempts
select
    attempted_at,
    replay_id,
    delivered,
    first_event_id,
    last_event_id,
    dead_letters,
    failed_event_id,
    status,
    error,
    retry_at,
    worker
from audit.attempt
where destination_id = audit_internal.destination_id(%(name)s)
order by id desc
limit 10

-- name: set_token
select audit.set_token(%(name)s, current_setting('pgtrail.token'))

-- name: make_token_table
create temporary table pgtrail_token (token text) on commit drop

-- name: copy_token
-- (In binary: an error of COPY quotes a line of text.)
copy pg_temp.pgtrail_token (token) from stdin (format binary)

-- name: take_token
select set_config('pgtrail.token', token, true) is not null from pg_temp.pgtrail_token

-- name: rebase_destination
select audit.rebase_destination(%(name)s, audit_internal.parse_time(%(since)s))

-- name: replay
select audit.replay_events(
    %(name)s, %(reason)s, since => audit_internal.parse_time(%(since)s), until => audit_internal.parse_time(%(until)s), event_ids => %(event_ids)s
)

-- name: dead_letters
select
    dead_letter.event_id,
    event.action,
    coalesce(event.resource_label, event.resource_id) as resource,
    dead_letter.status,
    dead_letter.error,
    dead_letter.attempts,
    dead_letter.first_at,
    dead_letter.last_at
from audit.dead_letter
left join audit.event on event.id = dead_letter.event_id
where dead_letter.destination_id = audit_internal.destination_id(%(name)s)
    and dead_letter.delivered_at is null
order by dead_letter.event_id
limit %(limit)s

-- name: rendered
select audit.render(sent.event, destination.format), audit_internal.event_uid(sent.event)
from audit.destination
cross join lateral (
    select audit_internal.ping_event() as event
    where %(event_id)s::bigint is null
    union all
    select event
    from audit.event
    where event.id = %(event_id)s
) as sent
where destination.id = audit_internal.destination_id(%(name)s)

-- What the command line asks the database.

-- name: search
-- The newest events that pass; the last row has none, but the summary of the search.
select
    (found.event).id,
    (found.event).occurred_at,
    (found.event).action,
    coalesce((found.event).actor_label, (found.event).actor_id) as actor,
    coalesce((found.event).resource_label, (found.event).resource_id) as resource,
    shown.details::text as details,
    (found.event).operation,
    audit_internal.event_reference(found.event) as name,
    case when %(as_json)s and found.summary is null then audit.event_json(found.event)::text end as json,
    -- (Nothing was found.)
    case when found.number = 1 and found.summary is not null then
        (select jsonb_agg(missing) from audit_internal.unmatched_filter_values(audit_internal.restrict_to_visible(audit.filter(%(filter)s::jsonb))) as missing)
    end as unmatched,
    found.summary
from audit.search(%(filter)s::jsonb, %(limit)s, %(scan_limit)s) with ordinality as found (event, summary, number)
left join lateral audit_internal.short_details(
    (found.event).before, (found.event).after, (found.event).changed, %(max_chars)s
) as shown (details) on true
order by found.number

-- name: arrived
-- What has become visible since a snapshot, and the present one; the same columns of an event, or nulls where there is none.
select
    event.id,
    event.occurred_at,
    event.action,
    coalesce(event.actor_label, event.actor_id) as actor,
    coalesce(event.resource_label, event.resource_id) as resource,
    shown.details::text as details,
    event.operation,
    audit_internal.event_reference(event) as name,
    case when %(as_json)s and event.id is not null then audit.event_json(event)::text end as json,
    present.snapshot::text
from pg_current_snapshot() as present (snapshot)
left join audit_internal.events_since(%(filter)s::jsonb, %(from_snapshot)s::pg_snapshot) as event on true
left join lateral audit_internal.short_details(event.before, event.after, event.changed, %(max_chars)s) as shown (details) on true
order by event.id

-- name: snapshot
select pg_current_snapshot()::text, pg_is_in_recovery()

-- name: in_recovery
select pg_is_in_recovery()

-- name: matching
-- How many events pass, and what the filter names that no event has.
select
    (select count(*) from audit_internal.newest_events(wanted, %(limit)s)),
    (select jsonb_agg(missing) from audit_internal.unmatched_filter_values(wanted) as missing)
from audit_internal.restrict_to_visible(audit.filter(%(filter)s::jsonb)) as wanted

-- name: event_id
select audit_internal.find_event_id(%(name)s)

-- name: event
select
    event.id,
    audit_internal.event_reference(event) as name,
    event.node,
    event.occurred_at,
    event.action,
    category.label as category,
    event.operation,
    event.table_name,
    event.org_id,
    audit_internal.label_of_org(event.org_id) as org_label,
    event.resource_type,
    event.resource_id,
    event.resource_label,
    event.actor_type,
    event.actor_id,
    event.actor_label,
    host(event.actor_ip) as actor_ip,
    event.user_agent,
    event.request_id,
    event.reason,
    event.db_role,
    host(event.client_addr) as client_addr,
    event.application_name,
    event.imported_from
from audit.event
left join audit.category on category.name = event.category
where event.id = %(id)s

-- name: event_json
select audit.event_json(event)::text
from audit.event
where event.id = %(id)s

-- name: diff
select field, before::text, after::text, changed
from audit.diff
where event_id = %(id)s
order by changed desc, field

-- name: tables
select
    tracked.relation::text as table,
    tracked.resource,
    tracked.category,
    tracked.org,
    tracked.label,
    tracked.ignore,
    tracked.secret,
    (select count(*) from audit.rule where rule.relation = tracked.relation) as rules
from audit.tracked_table as tracked
where tracked.category <> 'audit'
order by tracked.relation::text

-- name: track
select audit.track(
    %(table)s::oid::regclass,
    resource => %(resource)s,
    category => %(category)s,
    org => %(org)s,
    label => %(label)s,
    ignore => %(ignore)s,
    secret => %(secret)s,
    reveal => %(reveal)s,
    bulk => %(bulk)s,
    actor => %(actor)s,
    hot => %(hot)s
)

-- name: record_baseline
call audit.record_baseline(%(table)s::pg_catalog.oid::pg_catalog.regclass)

-- name: untrack
select audit.untrack(%(table)s::oid::regclass)

-- name: status
select
    current_database() as database,
    current_setting('server_version') as server,
    audit_internal.is_hub() as is_hub,
    (select count(*) from audit.tracked_table where category <> 'audit') as tracked_tables,
    (select min(occurred_at) from audit.event) as first_event_at,
    (select max(occurred_at) from audit.event) as last_event_at,
    (select count(*) from audit_internal.partition_bounds()) as partitions,
    (select max(ends) from audit_internal.partition_bounds()) as partitions_until,
    pg_relation_size('audit.event_default') > 0 as default_partition_used,
    (select count(*) from audit.destination where not paused) as destinations_active,
    (select count(*) from audit.destination where paused) as destinations_paused

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

-- name: pause_destination
select audit.pause_destination(%(name)s, %(paused)s)

-- name: rotate_secret
select audit.rotate_secret(%(name)s, %(overlap)s)

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

-- name: remove_destination
select audit.remove_destination(%(name)s, at_once => %(now)s)

-- name: replay
select audit.replay_events(
    %(name)s, %(reason)s, since => audit_internal.parse_time(%(since)s), until => audit_internal.parse_time(%(until)s), event_ids => %(event_ids)s
)

-- name: redrive
select audit.redrive_dead_letters(%(name)s, %(reason)s, %(event_ids)s)

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

-- name: reader_role
-- One that may be set. Null: who owns the log, and is in neither, reads as who they are.
select (
    select pg_roles.rolname
    from pg_roles
    where pg_roles.rolname in ('audit_auditor', 'audit_reader')
        and pg_has_role(
            pg_roles.oid, case when current_setting('server_version_num')::integer >= 160000 then 'set' else 'member' end
        )
    order by pg_roles.rolname
    limit 1
)
where to_regclass('audit.log') is not null

-- name: status_of_forwarder
select count(*)
from audit.destination_secret

-- name: doctor
select problem, subject, finding, hint
from audit.doctor()

-- name: listen
listen pgtrail_doctor

-- name: notify
notify pgtrail_doctor

-- name: unlisten
unlisten pgtrail_doctor

-- name: server_process
select pg_backend_pid()

-- name: prove
select audit.prove(%(event_id)s)

-- name: erase_actor
select audit.erase_actor(%(actor_id)s, %(reason)s, %(also)s)

-- name: set_retention
select audit.set_retention(%(keep)s::interval, %(category)s)

-- name: clear_retention
select audit.clear_retention(%(category)s)

-- name: place_hold
select audit.place_hold(%(name)s, %(reason)s, %(org)s, audit_internal.parse_time(%(since)s), audit_internal.parse_time(%(until)s))

-- name: release_hold
select audit.release_hold(%(name)s)

-- name: retention
select category, case when keep >= interval '1000 years' then 'forever' else keep::text end as keep
from audit.retention
order by category nulls first

-- name: legal_holds
select name as hold, org_id as org, since, until, reason
from audit.legal_hold
order by name

-- name: page_role
select
    set_config('role', 'audit_org_reader', true) as confined,
    (select count(*) from audit.category) as categories
where %(org)s::text is not null
union all
select null, (select count(*) from audit.category)
where %(org)s::text is null

-- name: suggest
select pg_temp.suggest(variadic %(schemas)s::text[])

-- name: import_source
select source.relation::oid, audit_internal.qualified_name(source.relation)
from pg_temp.import_source(%(tool)s, %(table)s::oid::regclass::text) as source (relation)

-- name: import_survey
select rows, read_before, first_at, last_at, beyond_retention from pg_temp.import_survey(%(tool)s, %(source)s::oid::regclass)

-- name: import_batch
select pg_temp.import_batch(%(tool)s, %(source)s::oid::regclass, %(most)s, %(dry_run)s)

-- name: import_problems
select problem.row_id, problem.table_name, problem.problem
from audit.import_problem as problem
join audit.import on import.id = problem.import_id
where import.relation = %(source)s::oid::regclass
order by problem.noted_at desc, problem.row_id
limit %(most)s

-- name: init_hub
select audit.init_hub()

-- name: seal
select seal.number, seal.events, audit_internal.seal_anchor(seal)
from audit.seal()
where number is not null

-- What the command line asks the database.

-- name: moments
select audit.moment(%(since)s), audit.moment(%(until)s)

-- name: check_category
select audit.check_category(%(category)s)

-- name: newest
select event.id, event.occurred_at
from audit.event
where audit.matches(
        event, %(categories)s::text[], %(actions)s::text[], %(orgs)s::text[], %(actors)s::text[],
        %(since)s::timestamptz, %(until)s::timestamptz, %(resource)s::text
    )
order by event.occurred_at desc, event.id desc
limit %(limit)s

-- name: since_snapshot
select event.id, event.occurred_at
from audit.batch(%(from_snapshot)s::pg_snapshot, %(to_snapshot)s::pg_snapshot) as event
where audit.matches(
        event, %(categories)s::text[], %(actions)s::text[], %(orgs)s::text[], %(actors)s::text[],
        %(since)s::timestamptz, %(until)s::timestamptz, %(resource)s::text
    )
order by event.id

-- name: snapshot
select pg_current_snapshot()::text

-- name: log_rows
select log.id, log.occurred_at, log.action, log.actor, log.resource, log.details, log.operation
from audit.log
where log.id = any (%(ids)s)
    and log.occurred_at between %(first)s and %(last)s

-- name: json_rows
select event.id, audit.event_json(event)::text
from audit.event
where event.id = any (%(ids)s)
    and event.occurred_at between %(first)s and %(last)s

-- name: event
select
    event.id,
    event.occurred_at,
    event.action,
    category.label as category,
    event.operation,
    event.table_name,
    event.org_id,
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
    event.application_name
from audit.event
left join audit.category on category.name = event.category
where event.id = %(id)s

-- name: event_json
select audit.event_json(event)::text
from audit.event
where event.id = %(id)s

-- name: diff
select field, before, after, changed
from audit.diff
where event_id = %(id)s
order by changed desc, field

-- name: tables
select
    tracked.relation::text,
    tracked.resource,
    tracked.category,
    tracked.org,
    tracked.label,
    tracked.ignore,
    tracked.secret,
    (select count(*) from audit.rule where rule.relation = tracked.relation)
from audit.tracked_table as tracked
order by tracked.category = 'audit', tracked.relation::text

-- name: track
select audit.track(
    %(table)s::regclass,
    resource => %(resource)s,
    category => %(category)s,
    org => %(org)s,
    label => %(label)s,
    ignore => %(ignore)s,
    secret => %(secret)s,
    reveal => %(reveal)s
)

-- name: untrack
select audit.untrack(%(table)s::regclass)

-- name: status
select
    current_database(),
    current_setting('server_version'),
    (select count(*) from audit.tracked_table where category <> 'audit'),
    (select count(*) from audit.partition_bounds()),
    (select max(ends) from audit.partition_bounds()),
    pg_relation_size('audit.event_default') > 0,
    (select count(*) from audit.destination where not paused),
    (select count(*) from audit.destination where paused),
    (select min(occurred_at) from audit.event),
    (select max(occurred_at) from audit.event)

-- name: add_destination
select audit.add_destination(
    %(name)s,
    %(url)s,
    format => %(format)s,
    categories => %(categories)s,
    actions => %(actions)s,
    orgs => %(orgs)s,
    since => audit.moment(%(since)s),
    allow_http => %(allow_http)s
)

-- name: destinations
select name, state, events_behind, format, url, categories, actions, orgs, last_success_at, last_error, retry_at
from audit.destination_status
order by name

-- name: pause_destination
select audit.pause_destination(%(name)s, %(paused)s)

-- name: remove_destination
select audit.remove_destination(%(name)s)

-- name: ping
select
    destination.url,
    format.content_type,
    secret.secret,
    audit.render_webhook(audit.ping_event())
from audit.destination
join audit.format on format.name = destination.format
join audit.destination_secret as secret on secret.destination_id = destination.id
where destination.id = audit.destination_id(%(name)s)

-- name: reader_role
select case when pg_has_role('audit_auditor', 'member') then 'audit_auditor' else 'audit_reader' end
where to_regclass('audit.log') is not null

-- name: status_of_forwarder
select count(*)
from audit.destination_secret

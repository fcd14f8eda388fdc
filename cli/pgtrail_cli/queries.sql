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

-- name: matching
-- How many events pass, and what the filter names that no event has.
select
    (select count(*) from audit_internal.newest_events(wanted, %(limit)s)),
    (select jsonb_agg(missing) from audit_internal.unmatched_filter_values(wanted) as missing)
from audit_internal.restrict_to_visible(audit.filter(%(filter)s::jsonb)) as wanted

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

-- name: record_baseline
call audit.record_baseline(%(table)s::pg_catalog.oid::pg_catalog.regclass)

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

-- name: place_hold
select audit.place_hold(%(name)s, %(reason)s, %(org)s, audit_internal.parse_time(%(since)s), audit_internal.parse_time(%(until)s))

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
select pg_temp.import_batch(%(tool)s, %(source)s::oid::regclass, %(limit)s, %(dry_run)s)

-- name: import_problems
select problem.row_id, problem.table_name, problem.problem
from audit.import_problem as problem
join audit.import on import.id = problem.import_id
where import.relation = %(source)s::oid::regclass
order by problem.noted_at desc, problem.row_id
limit %(limit)s

-- name: seal
select seal.number, seal.events, audit_internal.seal_anchor(seal)
from audit.seal()
where number is not null

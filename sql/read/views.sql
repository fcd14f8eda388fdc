-- Reading. Every view runs as its reader, over the row-level security of audit.event.

create or replace view audit.log
with (security_invoker = true) as
select
    event.id,
    event.occurred_at,
    event.action,
    event.category,
    coalesce(event.actor_label, event.actor_id) as actor,
    coalesce(event.resource_label, event.resource_id) as resource,
    audit_internal.details(event.before, event.after, event.changed) as details,
    event.org_id,
    event.actor_type,
    event.actor_id,
    event.actor_ip,
    event.resource_type,
    event.resource_id,
    event.request_id,
    event.reason,
    event.operation,
    event.changed,
    event.imported_from,
    event.node,
    event.node_id,
    (select org_label.label from audit.org_label where org_label.org_id = event.org_id) as org_label
from audit.event;

comment on view audit.log is
    'The log for people to read. Order it by occurred_at desc, id desc, and page by (occurred_at, id) < (…, …).';

create or replace view audit.diff
with (security_invoker = true) as
select
    event.id as event_id,
    event.occurred_at,
    event.org_id,
    event.action,
    field.name as field,
    row.before -> field.name as before,
    event.after -> field.name as after,
    case
        when event.changed is not null then field.name = any (event.changed)
        else coalesce(row.before -> field.name, event.after -> field.name) <> 'null'
    end as changed,
    event.node
from audit.event
cross join lateral (select audit.row_before(event) as before) as row
cross join lateral (
    select pg_catalog.jsonb_object_keys(row.before) as name
    union
    select pg_catalog.jsonb_object_keys(event.after)
) as field;

comment on view audit.diff is
    'One row for each field of an event: its value before and after, and whether it changed. A redacted field can have changed though both read "[redacted]".';

do $$
declare
    category_name text;
begin
    foreach category_name in array array[
        'api_keys', 'members', 'teams', 'organization', 'budgets', 'guardrails', 'plan', 'settings', 'data_policy',
        'profile', 'password'
    ]
    loop
        execute format(
            'create or replace view audit.%1$I with (security_invoker = true) as '
            'select * from audit.log where category = %1$L',
            category_name
        );
        execute format('comment on view audit.%I is %L', category_name, format('audit.log, category %s only.', category_name));
    end loop;
end
$$;

create or replace view audit.today
with (security_invoker = true) as
select *
from audit.log
where occurred_at >= pg_catalog.date_trunc('day', pg_catalog.now());

comment on view audit.today is 'audit.log since midnight in the session''s time zone.';

create or replace view audit.last_7_days
with (security_invoker = true) as
select *
from audit.log
where occurred_at >= pg_catalog.now() - interval '7 days';

comment on view audit.last_7_days is 'audit.log of the last 7 × 24 hours.';

create or replace view audit.last_30_days
with (security_invoker = true) as
select *
from audit.log
where occurred_at >= pg_catalog.now() - interval '30 days';

comment on view audit.last_30_days is 'audit.log of the last 30 × 24 hours.';

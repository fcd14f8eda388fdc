select
    event.id,
    audit.event_name(event) as name,
    event.node,
    to_char(event.occurred_at, 'YYYY-MM-DD HH24:MI:SS.US') as local_time,
    audit.rfc3339(event.occurred_at) as utc_time,
    event.action,
    event.category,
    coalesce(category.label, event.category) as category_label,
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
    event.application_name,
    event.imported_from,
    audit.event_json(event)::text as json,
    sealed.number as seal_number,
    to_char(sealed.sealed_at, 'YYYY-MM-DD HH24:MI:SS') as sealed_at,
    sealed.hash as seal_hash
from audit.event
left join audit.category on category.name = event.category
left join lateral audit.sealed_in(event) as sealed on true
where event.id = %(id)s

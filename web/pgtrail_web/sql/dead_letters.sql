select
    dead_letter.event_id,
    coalesce(audit.event_name(event), dead_letter.event_id::text) as event_name,
    event.action,
    dead_letter.status,
    dead_letter.error,
    dead_letter.attempts,
    to_char(dead_letter.last_at, 'YYYY-MM-DD HH24:MI:SS') as last_at
from audit.dead_letter
left join audit.event on event.id = dead_letter.event_id
where dead_letter.destination_id = audit.destination_id(%(name)s)
    and dead_letter.delivered_at is null
order by dead_letter.event_id
limit 200

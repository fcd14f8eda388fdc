select audit.event_json(event)::text as json
from audit.event
where audit.passes(event, %(wanted)s::audit.filter)
order by event.occurred_at, event.id

select audit.event_json(event)::text as json
from audit.event
where event.id = %(id)s

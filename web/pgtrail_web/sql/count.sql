select count(*) as events
from audit.event
where audit.passes(event, %(wanted)s::audit.filter)

select problem
from audit.event
cross join lateral audit.check_event(event) as problem
where event.id = %(id)s

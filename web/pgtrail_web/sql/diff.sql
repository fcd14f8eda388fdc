select field, before, after, changed
from audit.diff
where event_id = %(id)s
order by changed desc, field

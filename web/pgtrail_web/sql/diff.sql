select field, before::text as before, after::text as after, changed
from audit.diff
where event_id = %(id)s
order by changed desc, field

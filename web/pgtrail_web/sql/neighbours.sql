-- The events before and after one, of the same resource.
select previous, following
from audit.neighbours(%(node)s, %(resource_type)s, %(resource_id)s, %(utc_time)s::timestamptz, %(id)s)

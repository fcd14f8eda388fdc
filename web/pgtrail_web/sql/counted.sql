select
    counted.begins,
    counted.category,
    counted.events,
    to_char(counted.counted_from, 'YYYY-MM-DD HH24:MI') as counted_from,
    counted.counted_from::date as counted_from_day
from audit.counted(%(wanted)s::audit.filter, %(unit)s, %(most)s) as counted

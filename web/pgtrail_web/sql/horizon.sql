-- How far back the search above has looked.
select
    to_char(reached.occurred_at, 'YYYY-MM-DD HH24:MI') as local_time,
    (extract(epoch from reached.occurred_at) * 1000000)::bigint as microseconds,
    reached.id
from audit.horizon(
    %(wanted)s::audit.filter,
    %(before_time)s::timestamptz,
    %(before_id)s::bigint,
    case when not audit.has_index_of_its_own(%(wanted)s::audit.filter) then %(look_at)s::integer end
) as reached
where reached.id is not null

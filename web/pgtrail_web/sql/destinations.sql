select
    name,
    format,
    state,
    url,
    events_behind,
    round(seconds_behind)::bigint as seconds_behind,
    dead_letters,
    replays,
    to_char(last_success_at, 'YYYY-MM-DD HH24:MI:SS') as last_success_at,
    last_error,
    to_char(retry_at, 'YYYY-MM-DD HH24:MI:SS') as retry_at
from audit.destination_status
where %(name)s::text is null or name = %(name)s::text
order by name

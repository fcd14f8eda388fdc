select
    name,
    format,
    state,
    -- (The rest of some URLs is a secret.)
    substring(url from '^https?://[^/?#]*') as host,
    events_behind,
    seconds_behind::float8 as seconds_behind,
    coalesce(lease_until > clock_timestamp(), false) as is_served,
    dead_letters,
    replays,
    to_char(last_success_at, 'YYYY-MM-DD HH24:MI:SS') as last_success_at,
    last_error,
    to_char(retry_at, 'YYYY-MM-DD HH24:MI:SS') as retry_at
from audit.destination_status
where %(name)s::text is null or name = %(name)s::text
order by name

select
    to_char(attempt.attempted_at, 'YYYY-MM-DD HH24:MI:SS') as attempted_at,
    attempt.replay_id,
    attempt.delivered,
    attempt.first_event_id,
    coalesce(
        case when audit.has_nodes() then
            (select audit.event_name(event) from audit.event where event.id = attempt.first_event_id)
        end,
        attempt.first_event_id::text
    ) as first_event,
    attempt.last_event_id,
    coalesce(
        case when audit.has_nodes() then
            (select audit.event_name(event) from audit.event where event.id = attempt.last_event_id)
        end,
        attempt.last_event_id::text
    ) as last_event,
    attempt.dead_letters,
    attempt.status,
    attempt.error,
    attempt.worker
from audit.attempt
where attempt.destination_id = audit.destination_id(%(name)s)
order by attempt.id desc
limit 50

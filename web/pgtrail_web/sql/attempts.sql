select
    to_char(attempt.attempted_at, 'YYYY-MM-DD HH24:MI:SS') as attempted_at,
    attempt.replay_id,
    attempt.delivered,
    attempt.first_event_id,
    attempt.last_event_id,
    attempt.dead_letters,
    attempt.status,
    attempt.error,
    attempt.worker
from audit.attempt
where attempt.destination_id = audit.destination_id(%(name)s)
order by attempt.id desc
limit 50

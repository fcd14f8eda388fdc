-- What archiving asks Postgres.

-- name: retention_plan
select partition, begins, events, kept_because
from audit.retention_plan(%(include_undelivered)s, %(before)s::timestamptz)

-- name: partition_bounds
select begins, ends
from audit_internal.partition_bounds()
where partition = %(partition)s::regclass

-- name: month
-- (With its times at hand, no other month is planned for.)
select coalesce(min(id), 0), coalesce(max(id), 0), count(*)
from audit.event
where occurred_at >= %(begins)s and occurred_at < %(ends)s

-- name: log_identity
select
    coalesce((select encode(hash, 'hex') from audit.seal where number = 1), ''),
    array(select name from audit.category order by name)

-- name: try_archiving
-- One run at a time; the lock goes with the session.
select pg_try_advisory_lock(hashtextextended('pgtrail archive', 0))

-- name: copy_events
-- Details in whole, and as pgtrail log and audit.export_fields show them.
copy (
    select {columns}
    from audit.event
    cross join lateral audit_internal.aggregate_details(event.before, event.after, event.changed) as told (details)
    cross join lateral audit_internal.short_details(event.before, event.after, event.changed, 61) as summary (details)
    cross join lateral audit_internal.short_details(event.before, event.after, event.changed, 32001) as fields (details)
    where occurred_at >= {begins} and occurred_at < {ends}
) to stdout with (format csv, header, null '\N', encoding 'UTF8')

-- name: copy_salts
copy (
    select kind, type, id, encode(salt, 'hex') as salt
    from audit_internal.archived_salts({partition})
) to stdout with (format csv, header, null '\N', encoding 'UTF8')

-- name: copy_erased_parts
copy (
    select event_id, part, encode(commitment, 'hex') as commitment, encode(salt, 'hex') as salt
    from audit_internal.archived_parts({partition})
) to stdout with (format csv, header, null '\N', encoding 'UTF8')

-- name: seals
select
    seal.number,
    audit_internal.seal_anchor(seal)
        || jsonb_build_object('seal', audit_internal.seal_text(seal), 'secret', encode(seal_leaves.secret, 'hex')),
    seal_leaves.ids,
    seal_leaves.leaves
from audit.seal
join audit.seal_leaves using (number)
where seal.first_id <= %(last)s and seal.last_id >= %(first)s
order by seal.number

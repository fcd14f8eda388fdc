-- Seals, and the leaves of their events as they are now (seals.py; of nodes: nodes.py).

-- name: own_seals
(select seal.*, 0 as arrival from audit.seal)

-- name: node_seals
(select * from audit.node_seal where node = %(node)s)

-- name: own_leaves
(select seal_leaves.*, 0 as arrival from audit.seal_leaves)

-- name: node_leaves
(select * from audit.node_seal_leaves where node = %(node)s)

-- name: own_recorded
(select id, occurred_at from audit.event where node is null and imported_from is null)

-- name: node_recorded
(select node_id as id, occurred_at from audit.event where node = %(node)s and imported_from is null)

-- name: numbers
select number, max(events)
from {seals} as seal
where number >= %(first)s
group by number
order by number

-- name: seal
-- What arrived first holds.
select
    number, sealed_at, from_snapshot::text, from_time, from_xid::text, from_id, to_snapshot::text, to_time, epoch, above_id,
    up_to_id, events, first_id, last_id, personal, months, root, previous, hash,
    audit_internal.seal_text(seal) as text,
    system_identifier::text
from {seals} as seal
where number = any (%(numbers)s::bigint[])
order by arrival

-- name: sealed_leaves
select ids, leaves, secret
from {leaves} as sealed
where number = %(number)s
order by arrival

-- name: own_batch
-- The events that are in a seal's batch now, with the salts of their persons.
select
    event.*,
    actor.salt as actor_salt,
    person.salt as person_salt
from audit.event
left join audit.salt as actor
    on actor.kind = 'actor' and actor.type = event.actor_type and actor.id = event.actor_id
left join audit.salt as person
    on person.kind = 'resource' and person.type = event.resource_type and person.id = event.resource_id
    and event.resource_type = any (%(personal)s::text[])
where event.id > %(above_id)s
    and event.id <= %(high_id)s
    and (event.xid = any (%(open)s::xid8[]) or event.xid >= %(from_xmax)s::xid8)
    and event.xid < %(to_xmax)s::xid8
    and pg_catalog.pg_visible_in_snapshot(event.xid, %(to_snapshot)s::pg_snapshot)

-- name: node_batch
-- The same of a node's seal: its events as they were there. (A person who was erased there and came back has two salts.)
select
    event.node_id as id, event.node_xid as xid, event.occurred_at, event.org_id, event.category, event.action,
    event.operation, event.table_name, event.resource_type, event.resource_id, event.resource_label, event.resource_hash,
    event.actor_type, event.actor_id, event.actor_label, event.actor_ip, event.user_agent,
    event.request_id, event.reason, event.db_role, event.client_addr, event.application_name, event.before, event.after,
    event.changed, event.imported_from, null::text as node, null::bigint as node_id, null::xid8 as node_xid,
    actor.salts[1] as actor_salt,
    person.salts[1] as person_salt,
    actor.salts as actor_salts,
    person.salts as person_salts,
    event.xid as here_xid
from audit.event
left join lateral (
    select pg_catalog.array_agg(salt) as salts
    from audit.node_salt
    where node = %(node)s and kind = 'actor' and type = event.actor_type and id = event.actor_id
) as actor on true
left join lateral (
    select pg_catalog.array_agg(salt) as salts
    from audit.node_salt
    where node = %(node)s
        and kind = 'resource'
        and type = event.resource_type
        and id = event.resource_id
        and event.resource_type = any (%(personal)s::text[])
) as person on true
where event.node = %(node)s
    and event.node_id > %(above_id)s
    and event.node_id <= %(high_id)s
    and (event.node_xid = any (%(open)s::xid8[]) or event.node_xid >= %(from_xmax)s::xid8)
    and event.node_xid < %(to_xmax)s::xid8
    and pg_catalog.pg_visible_in_snapshot(event.node_xid, %(to_snapshot)s::pg_snapshot)

-- name: leaves
-- docs/security/seals.md, as if nobody had been erased: what differs is looked at one by one (canonical.py). Derived columns are in no
-- leaf, but by another hash a history would not find the event; of a time that does not fit its batch more is asked.
select
    event.id,
    hashed.leaf,
    event.resource_hash is distinct from pg_catalog.hashtextextended(event.resource_id, 0) as misfiled,
    case
        when event.node is null
            and (
                event.occurred_at > %(to_time)s::timestamptz + interval '2 seconds'
                or event.occurred_at < %(from_time)s::timestamptz and event.imported_from is null
            )
            then event.xid::text
    end as odd_xid,
    case when event.node is null then event.occurred_at end as occurred_at
from ({batch}) as event
cross join lateral audit_internal.event_leaf(event, %(secret)s::bytea, event.actor_salt, event.person_salt) as hashed
order by event.id

-- name: texts
-- Some of these events in full.
select
    audit_internal.event_text(event, null, null, null, null),
    audit_internal.actor_part(event),
    pg_catalog.to_json(event.resource_label)::text,
    event.before::text,
    event.after::text,
    {salts}
from ({batch}) as event
where event.id = any (%(ids)s::bigint[])
order by event.id

-- name: own_salts
array[event.actor_salt], array[event.person_salt], null

-- name: node_salts
event.actor_salts, event.person_salts, event.here_xid::text

-- name: erased_parts
select event_id, part, commitment, salt, redacted, erasure_id
from audit.erased_part
where not superseded and event_id = any (%(ids)s::bigint[])

-- name: node_erased_parts
select event_id, part, commitment, salt, redacted, here
from audit.node_erased_part
where node = %(node)s and event_id = any (%(ids)s::bigint[])

-- name: seal_before
-- The last seal that was made before a transaction of the same cluster had begun, and whether a clock was set back since.
select
    seal.number,
    seal.from_time,
    exists (
        select
        from {seals} as later
        where later.number between seal.number and %(number)s and later.sealed_at < later.from_time
    )
from {seals} as seal
where seal.number <= %(number)s and seal.epoch = %(epoch)s and seal.from_xid < %(xid)s::xid8
order by seal.number desc, seal.arrival
limit 1

-- name: before_epoch
-- The newest time that the last seal of the epoch before tells of: its beginning, or an event of it. (Not its sealed_at: what was
-- not sealed when the database was restored gets its seal there, when much may have been recorded there already.)
select
    greatest(
        seal.from_time,
        (
            select max(event.occurred_at)
            from {recorded} as event
            where event.id between seal.first_id and seal.last_id
                and event.occurred_at <= seal.sealed_at
        )
    )
from {seals} as seal
where seal.number < %(number)s and seal.epoch < %(epoch)s
order by seal.number desc, seal.arrival
limit 1

-- name: epochs
select distinct epoch
from audit.seal
order by epoch

-- name: node_epochs
select min(epoch)
from audit.node_seal
where node = %(node)s and epoch > %(epoch)s

-- name: last_foreign_id
-- Where the database was restored into another cluster and no seal was made since: the last event of the old one.
select case
    when head.system_identifier <> (select system_identifier from pg_control_system()) then coalesce(
        (
            select max(event.id)
            from audit.event
            where event.id > head.epoch and event.xid >= pg_snapshot_xmax(pg_current_snapshot())
        ),
        (
            select min(event.id) - 1
            from audit.event
            where event.id > (select coalesce(max(last_id), 0) from audit.seal)
                and event.xid < pg_snapshot_xmax(head.from_snapshot)
                and event.xid <> all (array(select pg_snapshot_xip(head.from_snapshot)))
        ),
        case
            when pg_snapshot_xmax(pg_current_snapshot()) < pg_snapshot_xmax(head.from_snapshot)
                then (select coalesce(max(last_id), 0) from audit.seal)
        end
    )
end
from audit.seal_head as head

-- name: seal_hashes
select number, pg_catalog.encode(hash, 'hex')
from audit.seal
where number = any (%(numbers)s::bigint[])

-- On a hub: what is beside the seals of a node (nodes.py).

-- name: copied_in
select xid::text
from audit.node_copy
where node = %(node)s

-- name: node_doubles
select event.node_id
from audit.event
where event.node = %(node)s
group by event.node_id
having count(*) > 1
order by event.node_id

-- name: node_dropped
select name, ids::text, here, reported_by
from audit.node_dropped
where node = %(node)s

-- name: node_removal_events
select event.resource_id, event.after ->> 'ids_sha256'
from audit.event
where event.node = %(node)s
    and event.action = 'audit.partition_dropped'
    and event.resource_type = 'partition'
    and {own_event}

-- name: node_uncovered
-- Whatever had a lower transaction has been sealed.
select event.node_id
from audit.event
where event.node = %(node)s
    and (event.node_xid < %(sealed_below)s::xid8 or event.node_id < 1 or event.node_xid is null)
order by event.node_id

-- name: node_waiting
select event.node_id, event.occurred_at
from audit.event
where event.node = %(node)s
    and event.node_xid >= %(sealed_below)s::xid8
    and event.occurred_at < now() - interval '1 day'
    -- (What was imported occurred when it says, and what was copied may have waited there.)
    and event.imported_from is null
    -- (Where nothing else is recorded, none is made for it.)
    and event.action <> 'audit.sealed'
    and (select added_at from audit.node where name = %(node)s) < now() - interval '1 day'

-- name: node_state
-- What sql/hub/nodes.sql says of a node, as far as verifying needs it.
select
    node.name,
    case
        when node.subscription is null then 'removed'
        when exists (
            select from pg_subscription_rel as copied where copied.srsubid = node.subscription and copied.srsubstate not in ('r', 's')
        )
        then 'copying'
        else 'streaming'
    end as state,
    (select max(node_id) from audit.event where event.node = node.name) as last_id,
    last_seal.number as last_seal,
    pg_catalog.encode(last_seal.hash, 'hex') as last_seal_hash,
    (select subslotname::text from pg_subscription where oid = node.subscription) as slot_name,
    node.system_identifier,
    node.timeline,
    (node.hub_system_identifier, node.hub_timeline) is distinct from (
        (select system_identifier from pg_control_system()),
        case when not pg_is_in_recovery() then
            ('x' || pg_catalog.left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer
        end
    ) as hub_changed,
    array['audit.dropped_partition', 'audit.erased_part', 'audit.event', 'audit.salt', 'audit.seal', 'audit.seal_leaves'] as published
from audit.node
left join lateral (
    select seal.number, seal.hash
    from audit.node_seal as seal
    where seal.node = node.name
    order by seal.number desc, seal.arrival
    limit 1
) as last_seal on true
order by node.name

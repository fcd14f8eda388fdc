-- What is beside the seals: the end of the chain, events in no batch, what was erased and removed (log.py, evidence.py).

-- name: own_event
-- pgtrail's own event, and not one that a rule or an import calls so.
event.category = 'audit' and event.operation is null and event.table_name is null and event.imported_from is null

-- name: seal_head
select head.number, head.hash, last.number, last.hash
from audit.seal_head as head
left join (
    select number, hash
    from audit.seal
    order by number desc
    limit 1
) as last on true

-- name: strays
-- Events that belong to no seal, and to none that comes.
with head as materialized (
    select
        seal_head.*,
        pg_snapshot_xmax(pg_current_snapshot()) as next_xid,
        (select last_value from audit.event_id_seq) as last_given,
        (select system_identifier from pg_control_system()) as here
    from audit.seal_head
)
select event.id, 'it claims a transaction that is in no seal and has not begun either'
from audit.event
cross join head
where (
        event.xid >= %(next_xid)s::xid8
        or (
            event.id <= %(epoch)s
            and event.xid >= (select max(pg_snapshot_xmax(to_snapshot)) from audit.seal where epoch < %(epoch)s)
        )
    )
    and not exists (
        select
        from audit.seal
        where event.id > seal.above_id
            and (seal.up_to_id is null or event.id <= seal.up_to_id)
            and event.xid < pg_snapshot_xmax(seal.to_snapshot)
            and event.id <= coalesce(
                (select min(later.epoch) from audit.seal as later where later.epoch > seal.epoch), %(last_foreign_id)s, event.id
            )
    )
    and event.xid is distinct from pg_current_xact_id_if_assigned()
    and head.system_identifier = head.here
union all
select event.id, 'its id was never given'
from audit.event
where event.id < 1
union all
select event.id, 'its id was never given'
from audit.event
where event.id > %(last_given)s
union all
select event.id, 'it has no transaction, so that it is in no seal'
from audit.event
where event.xid is null
union all
select event.id, 'it has no id'
from audit.event
where event.id is null
union all
select
    min(event.id),
    format('it says that it is of node %%s, which audit.node does not have', event.node)
        || case when count(*) > 1 then format(', and so do %%s more', count(*) - 1) else '' end
from audit.event
where event.node is not null and event.node not in (select name from audit.node)
group by event.node
union all
select doubled.id, format('there are %%s of it', doubled.times)
from (
    select id, count(*) as times
    from audit.event
    group by id
    having count(*) > 1 and id is not null
) as doubled
order by 1, 2

-- name: present
select
    pg_snapshot_xmax(pg_current_snapshot())::text,
    (select last_value from audit.event_id_seq),
    (select epoch from audit.seal_head)

-- name: erasures
select
    erasure.id, erasure.pseudonym, erasure.event_id, erasure.erased_at, erasure.erased_by::text, erasure.reason,
    event.id, event.resource_id, event.occurred_at, event.db_role, event.after ->> 'digest'
from audit.erasure
left join audit.event
    on event.id = erasure.event_id
    and event.action = 'audit.actor_erased'
    and event.node is null
    and event.resource_type = 'actor'
    and {own_event}
order by erasure.id

-- name: erased
select event_id, part, commitment, redacted
from audit.erased_part
where erasure_id = %(erasure)s
order by event_id, part collate "C"

-- name: removals
select
    dropped.name, dropped.begins, dropped.ends, dropped.events, dropped.ids::text, dropped.archive, dropped.event_id,
    dropped.dropped_at, dropped.dropped_by::text, event.resource_id, event.occurred_at, event.db_role, event.after::text
from audit.dropped_partition as dropped
left join audit.event
    on event.id = dropped.event_id
    and event.action = 'audit.partition_dropped'
    and event.node is null
    and event.resource_type = 'partition'
    and {own_event}
order by dropped.event_id, dropped.name

-- name: carried
select event.id, event.after -> 'carried'
from audit.event
where event.action = 'audit.partition_dropped'
    and event.node is null
    and event.after ? 'carried'
    and event.resource_type = 'partition'
    and {own_event}

-- name: reported_by_nodes
-- (Without nodes nothing is read: an event of a node that is not known is named as such.)
select event.node, event.action, event.resource_id, event.occurred_at, event.db_role, event.after::text
from audit.event
where exists (select from audit.node)
    and event.node is not null
    and (event.action, event.resource_type) in (('audit.actor_erased', 'actor'), ('audit.partition_dropped', 'partition'))
    and {own_event}
order by event.id

-- name: waiting
-- The last seal, and how many events wait for the next; counted to 100,000.
select
    (select coalesce(max(number), 0) from audit.seal),
    (
        select count(*)
        from (
            select
            from audit.event
            where (event.xid = any (%(open)s::xid8[]) or event.xid >= %(from_xmax)s::xid8)
                and event.id > %(above_id)s
            limit 100000
        ) as unsealed
    )

-- name: head_snapshot
select from_snapshot::text, greatest(epoch, above_id)
from audit.seal_head

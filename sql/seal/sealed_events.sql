-- The batch of a seal: its events, also after a restore into another cluster, their salts and their leaves.

create or replace function audit_internal.last_restored_id()
returns bigint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    head audit.seal_head;
begin
    -- (Checked first: the queries below plan over all months, and reach the servers of foreign partitions.)
    select * into head from audit.seal_head where system_identifier <> audit_internal.system_identifier();
    if not found then
        return null;
    end if;
    return coalesce(
        (
            -- Events of transactions that this cluster has not begun …
            select max(event.id)
            from audit.event
            where event.id > head.epoch and event.xid >= pg_snapshot_xmax(pg_current_snapshot())
        ),
        (
            -- … or new events with transaction ids that had ended when the last seal was made.
            select min(event.id) - 1
            from audit.event
            where event.id > (select coalesce(max(last_id), 0) from audit.seal)
                and event.xid < pg_snapshot_xmax(head.from_snapshot)
                and event.xid <> all (array(select pg_snapshot_xip(head.from_snapshot)))
        ),
        -- … or neither yet, but this cluster is behind the old one's transaction ids.
        case
            when pg_snapshot_xmax(pg_current_snapshot()) < pg_snapshot_xmax(head.from_snapshot)
                then (select coalesce(max(last_id), 0) from audit.seal)
        end
    );
end
$$;

comment on function audit_internal.last_restored_id() is
    'Returns the last event of the old cluster, if the database was restored into another one and no seal was made since; null if it was not, or if transaction ids continue.';

create or replace function audit_internal.next_epoch(seal audit.seal)
returns bigint
language sql
stable
as $$
    select coalesce(
        (select min(later.epoch) from audit.seal as later where later.epoch > seal.epoch), audit_internal.last_restored_id()
    )
$$;

comment on function audit_internal.next_epoch(audit.seal) is
    'Returns the id above which events were recorded after a restore into another cluster; null if there was none.';

create or replace function audit_internal.follow_restore(head audit.seal_head)
returns audit.seal_head
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    last_foreign bigint := audit_internal.last_restored_id();
    highest_xid xid8;
begin
    -- Where transaction ids continue (pg_upgrade, or a cluster that was ahead), the chain continues too.
    if last_foreign is not null then
        select max(event.xid)
        into highest_xid
        from audit.event
        where event.id > head.epoch
            and event.id <= last_foreign
            and (
                event.xid >= pg_snapshot_xmax(head.from_snapshot)
                or event.xid = any (array(select pg_snapshot_xip(head.from_snapshot)))
            );
        if highest_xid is not null then
            -- Unsealed events of the old cluster: one last batch by its transaction ids.
            head.to_snapshot := format('%1$s:%1$s:', highest_xid::text::numeric + 1);
            head.to_time := clock_timestamp();
            head.next_time := head.to_time;
            head.next_xid := pg_snapshot_xmax(head.to_snapshot);
            head.above_id := head.epoch;
            return head;
        end if;
        head.epoch := coalesce((select max(last_id) from audit.seal), 0);
        head.from_snapshot := '1:1:';
        head.from_time := null;
        head.from_xid := null;
        head.from_id := 0;
    end if;
    head.system_identifier := audit_internal.system_identifier();
    perform audit_internal.store_head(head);
    return head;
end
$$;

comment on function audit_internal.follow_restore(audit.seal_head) is
    'Returns the head in a cluster that the database was restored into: first with the unsealed events of the old one, then as a new epoch.';

create or replace function audit_internal.sealed_events(seal audit.seal)
returns setof audit.event
language plpgsql
stable
set search_path = pg_catalog, pg_temp
-- All events of a seal are kept in memory until they are hashed.
set work_mem = '64MB'
-- A generic plan doesn't know the snapshot, and would read all of an index.
set plan_cache_mode = force_custom_plan
as $$
declare
    high_id bigint := least(seal.up_to_id, audit_internal.next_epoch(seal));
begin
    -- A part of a large batch is read by id, a whole batch by transaction.
    if seal.up_to_id is null then
        return query
        select event.*
        from audit_internal.events_between(seal.from_snapshot, seal.to_snapshot) as event
        where event.id > seal.above_id and (high_id is null or event.id <= high_id);
    else
        return query
        select event.*
        from audit.event
        where event.id > seal.above_id
            and event.id <= high_id
            and (
                event.xid = any (array(select pg_snapshot_xip(seal.from_snapshot)))
                or event.xid >= pg_snapshot_xmax(seal.from_snapshot)
            )
            and pg_visible_in_snapshot(event.xid, seal.to_snapshot);
    end if;
end
$$;

comment on function audit_internal.sealed_events(audit.seal) is 'Returns the events of a seal''s batch.';

create or replace function audit_internal.event_leaves(seal audit.seal, secret bytea)
returns table (event_id bigint, occurred_at timestamptz, leaf bytea)
language sql
stable
as $$
    select event.id, event.occurred_at, hashed.leaf
    from audit_internal.sealed_events(seal) as event
    left join audit.salt as actor on (actor.kind, actor.type, actor.id) = ('actor', event.actor_type, event.actor_id)
    left join audit.salt as person
        on (person.kind, person.type, person.id) = ('resource', event.resource_type, event.resource_id)
        and event.resource_type = any (seal.personal)
    cross join lateral audit_internal.event_leaf(event, secret, actor.salt, person.salt) as hashed
$$;

comment on function audit_internal.event_leaves(audit.seal, bytea) is
    'Returns id, time and leaf hash of the events that a new seal covers. secret: the seal''s 32 random bytes.';

create or replace function audit_internal.nth_event_id(seal audit.seal, low_id bigint, high_id bigint, nth integer)
returns bigint
language sql
stable
set search_path = pg_catalog, pg_temp
-- Read in the order of the primary key, until the limit.
set enable_sort = off
set enable_bitmapscan = off
as $$
    select event.id
    from audit.event
    where event.id >= low_id
        and (high_id is null or event.id <= high_id)
        and (
            event.xid = any (array(select pg_snapshot_xip(seal.from_snapshot)))
            or event.xid >= pg_snapshot_xmax(seal.from_snapshot)
        )
        and pg_visible_in_snapshot(event.xid, seal.to_snapshot)
    order by event.id
    offset nth - 1
    limit 1
$$;

comment on function audit_internal.nth_event_id(audit.seal, bigint, bigint, integer) is
    'Returns the id of the nth event, from 1, of a seal''s batch in the order of ids, from low_id to high_id (null: no limit).';

create or replace function audit_internal.part_end_id(seal audit.seal, max_events integer)
returns bigint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
-- A generic plan doesn't know the snapshot, and would read all of an index.
set plan_cache_mode = force_custom_plan
as $$
declare
    high_id bigint := audit_internal.next_epoch(seal);
    low_id bigint := seal.above_id + 1;
begin
    if (
        select count(*) <= max_events
        from (
            select
            from audit_internal.events_between(seal.from_snapshot, seal.to_snapshot) as event
            where event.id > seal.above_id and (high_id is null or event.id <= high_id)
            limit max_events + 1
        ) as first
    )
    then
        return null;
    end if;
    if seal.above_id = seal.epoch then
        -- Before its first part is the whole log. (+ 0: else the planner would scan the primary key for the minimum.)
        low_id := (
            select min(event.id + 0)
            from audit_internal.events_between(seal.from_snapshot, seal.to_snapshot) as event
            where event.id > seal.above_id
        );
    end if;
    return audit_internal.nth_event_id(seal, low_id, high_id, max_events);
end
$$;

comment on function audit_internal.part_end_id(audit.seal, integer) is
    'Returns the id of event number max_events of a seal''s batch; null if it has no more events than that.';

create or replace function audit_internal.create_salts(seal audit.seal)
returns void
language sql
as $$
    insert into audit.salt (kind, type, id, salt)
    select person.kind, person.type, person.id, audit_internal.random_bytes()
    from (
        select distinct part.*
        from audit_internal.sealed_events(seal) as event
        cross join lateral (values
            ('actor', event.actor_type, event.actor_id),
            ('resource', event.resource_type, event.resource_id)
        ) as part (kind, type, id)
        where part.id is not null and (part.kind = 'actor' or part.type = any (seal.personal))
    ) as person
    where not exists (
        select from audit.salt where (salt.kind, salt.type, salt.id) = (person.kind, person.type, person.id)
    )
$$;

comment on function audit_internal.create_salts(audit.seal) is 'Creates the missing salts for the events of a seal''s batch.';

create or replace function audit_internal.current_personal_types()
returns text[]
language sql
stable
as $$
    select array(
        select resource
        from audit.tracked_table
        where coalesce(personal, audit_internal.is_about_person(relation))
        union
        select pg_catalog.unnest(latest.personal)
        from audit.node
        cross join lateral (
            select node_seal.personal
            from audit.node_seal
            where node_seal.node = node.name
            order by node_seal.number desc
            limit 1
        ) as latest
        order by 1
    )
$$;

comment on function audit_internal.current_personal_types() is
    'Returns the resource types whose rows are about a person now, here or at a node.';

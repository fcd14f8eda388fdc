-- Seals: a hash over each batch of events, chained to the one before. docs/security/seals.md has every byte of it.

create or replace function audit_internal.random_bytes()
returns bytea
language sql
as $$
    -- Two random UUIDs have 244 random bits.
    select pg_catalog.sha256(
        pg_catalog.uuid_send(pg_catalog.gen_random_uuid()) || pg_catalog.uuid_send(pg_catalog.gen_random_uuid())
    )
$$;

comment on function audit_internal.random_bytes() is '32 random bytes.';

do $$
declare
    relation_name text;
begin
    foreach relation_name in array array['seal', 'seal_leaves', 'node_seal', 'node_seal_leaves']
    loop
        execute format(
            'create or replace trigger refuse_change before update or delete on audit.%I '
            'for each row execute function audit_internal.refuse_change()',
            relation_name
        );
        execute format(
            'create or replace trigger refuse_truncate before truncate on audit.%I '
            'for each statement execute function audit_internal.refuse_change()',
            relation_name
        );
    end loop;
end
$$;

create or replace function audit.seal(p_max_events integer default 65536)
returns audit.seal
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    head audit.seal_head;
    seal audit.seal;
    leaves audit.seal_leaves;
begin
    select * into head from audit.seal_head for update skip locked;
    if not found then
        return null;
    end if;
    if head.to_snapshot is null then
        head := audit_internal.begin_seal_batch(head);
    end if;
    if head.to_snapshot is null then
        return null;
    end if;

    seal.number := head.number + 1;
    seal.sealed_at := clock_timestamp();
    seal.system_identifier := head.system_identifier;
    seal.from_snapshot := head.from_snapshot;
    seal.from_time := head.from_time;
    seal.from_xid := head.from_xid;
    seal.from_id := head.from_id;
    seal.to_snapshot := head.to_snapshot;
    seal.to_time := head.to_time;
    seal.epoch := head.epoch;
    seal.above_id := head.above_id;
    seal.up_to_id := audit_internal.part_end_id(seal, p_max_events);
    seal.personal := audit_internal.current_personal_types();
    seal.previous := head.hash;

    perform audit_internal.create_salts(seal);
    leaves.secret := audit_internal.random_bytes();
    with hashed as materialized (
        select * from audit_internal.event_leaves(seal, leaves.secret)
    )
    select
        array_agg(event_id order by event_id),
        string_agg(leaf, '' order by event_id),
        array(
            select to_char(month, 'YYYY-MM') || ' ' || counted.events
            from (
                select date_trunc('month', occurred_at at time zone 'UTC') as month, count(*) as events
                from hashed
                group by 1
            ) as counted
            order by month
        )
    into leaves.ids, leaves.leaves, seal.months
    from hashed;
    seal.events := cardinality(leaves.ids);
    seal.first_id := leaves.ids[1];
    seal.last_id := leaves.ids[seal.events];
    seal.root := audit_internal.merkle_root(leaves.leaves);
    seal.hash := audit_internal.seal_hash(seal);
    leaves.number := seal.number;

    insert into audit.seal values (seal.*);
    insert into audit.seal_leaves values (leaves.*);
    perform audit_internal.advance_head(head, seal);
    if exists (select from audit.destination where seals) then
        -- What a SIEM has received can't be rewritten here.
        perform audit.record('audit.sealed', 'seal', seal.number::text, null, null, audit_internal.seal_anchor(seal));
    end if;
    return seal;
end
$$;

comment on function audit.seal(integer) is
    'Seals the events since the last seal, at most p_max_events. Returns null if there is nothing to seal, or another session is sealing: call it until it does. The worker calls it every ten seconds; pg_cron can.';

create or replace function audit_internal.seal_if_due(p_every interval, p_events integer)
returns audit.seal
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    head audit.seal_head := (select seal_head from audit.seal_head);
begin
    -- By the database's clock, so that many workers make as many seals as one.
    if head.to_snapshot is null
        and head.from_time > clock_timestamp() - p_every
        and audit_internal.count_unsealed(p_events) < p_events
    then
        return null;
    end if;
    return audit.seal();
end
$$;

comment on function audit_internal.seal_if_due(interval, integer) is
    'Calls audit.seal() if the last seal is older than p_every, or p_events events are unsealed; else returns null.';

create or replace function audit_internal.count_unsealed(p_max_count integer default 100000)
returns bigint
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
-- A generic plan doesn't know the snapshot, and would read all of an index.
set plan_cache_mode = force_custom_plan
as $$
declare
    head audit.seal_head;
begin
    -- (A separate query: in a join, the plan doesn't know the snapshot either.)
    select * into strict head from audit.seal_head;
    return (
        select count(*)
        from (
            select
            from audit_internal.events_between(head.from_snapshot, pg_current_snapshot()) as event
            where event.id > greatest(head.epoch, head.above_id)
            limit p_max_count
        ) as waiting
    );
end
$$;

comment on function audit_internal.count_unsealed(integer) is 'Counts the unsealed events, up to p_max_count.';

create or replace function audit_internal.begin_seal_batch(head audit.seal_head)
returns audit.seal_head
language plpgsql
set search_path = pg_catalog, pg_temp
-- A generic plan doesn't know the snapshot, and would read all of an index.
set plan_cache_mode = force_custom_plan
as $$
declare
    -- Taken after the head was locked, so that it sees what another session sealed.
    present pg_snapshot := audit_internal.current_snapshot();
begin
    if head.system_identifier <> audit_internal.system_identifier() then
        head := audit_internal.follow_restore(head);
    end if;
    if head.to_snapshot is not null then
        return head;
    end if;
    -- (The event of a seal alone would be sealed, and so on for ever.)
    if exists (
        select
        from audit_internal.events_between(head.from_snapshot, present) as event
        where event.id > head.epoch and event.action <> 'audit.sealed'
    )
    then
        head.to_snapshot := present;
        head.to_time := clock_timestamp();
        -- Not the snapshot's xmax: an old transaction may still be open beyond it.
        head.next_time := now();
        head.next_xid := pg_current_xact_id();
        head.above_id := head.epoch;
    end if;
    return head;
end
$$;

comment on function audit_internal.begin_seal_batch(audit.seal_head) is
    'Returns the head with the batch to seal next; to_snapshot null: there is nothing to seal.';

create or replace function audit_internal.advance_head(head audit.seal_head, seal audit.seal)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    head.number := seal.number;
    head.hash := seal.hash;
    if seal.up_to_id is not null then
        head.above_id := seal.up_to_id;
    else
        head.from_snapshot := head.to_snapshot;
        head.from_time := head.next_time;
        head.from_xid := head.next_xid;
        head.from_id := greatest(head.from_id, seal.last_id);
        head.above_id := head.epoch;
        head.to_snapshot := null;
        head.to_time := null;
        head.next_time := null;
        head.next_xid := null;
    end if;
    perform audit_internal.store_head(head);
end
$$;

comment on function audit_internal.advance_head(audit.seal_head, audit.seal) is 'Moves the head so that the next seal begins where this one ends.';

create or replace function audit_internal.store_head(head audit.seal_head)
returns void
language sql
as $$
    update audit.seal_head
    set
        number = head.number,
        hash = head.hash,
        system_identifier = head.system_identifier,
        from_snapshot = head.from_snapshot,
        from_time = head.from_time,
        from_xid = head.from_xid,
        from_id = head.from_id,
        to_snapshot = head.to_snapshot,
        to_time = head.to_time,
        next_time = head.next_time,
        next_xid = head.next_xid,
        epoch = head.epoch,
        above_id = head.above_id
$$;

comment on function audit_internal.store_head(audit.seal_head) is 'Stores where the next seal begins.';

create or replace function audit_internal.seal_anchor(seal audit.seal)
returns jsonb
language sql
stable
as $$
    select pg_catalog.jsonb_build_object(
        'number', seal.number,
        'sealed_at', audit_internal.rfc3339(seal.sealed_at),
        'events', seal.events,
        'first_id', seal.first_id,
        'last_id', seal.last_id,
        'root', pg_catalog.encode(seal.root, 'hex'),
        'previous', pg_catalog.encode(seal.previous, 'hex'),
        'hash', pg_catalog.encode(seal.hash, 'hex')
    )
$$;

comment on function audit_internal.seal_anchor(audit.seal) is 'Returns the anchor of a seal, to be kept elsewhere: number, root, hash and what they cover; digests in hex.';

create or replace function audit_internal.find_seal(p_event_id bigint)
returns audit.seal
language sql
stable
as $$
    select seal
    from audit.seal
    join audit.seal_leaves using (number)
    where p_event_id between seal.first_id and seal.last_id
        and p_event_id = any (seal_leaves.ids)
$$;

comment on function audit_internal.find_seal(bigint) is 'Returns the seal that an event is in; null if it is not sealed yet.';

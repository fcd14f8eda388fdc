-- Seals: a hash over each batch of events, chained to the one before. docs/seals.md has every byte of it.

create or replace function audit.random_bytes()
returns bytea
language sql
volatile
as $$
    -- Two random UUIDs hold 244 random bits.
    select pg_catalog.sha256(
        pg_catalog.uuid_send(pg_catalog.gen_random_uuid()) || pg_catalog.uuid_send(pg_catalog.gen_random_uuid())
    )
$$;

comment on function audit.random_bytes() is '32 random bytes.';

-- The canonical form of an event -----------------------------------------------------------------------------------

create or replace function audit.actor_part(event audit.event)
returns text
language sql
stable
parallel safe
as $$
    select pg_catalog.json_build_array(event.actor_id, event.actor_label, event.actor_ip, event.user_agent)::text
$$;

comment on function audit.actor_part(audit.event) is
    'Canonical text of the fields that tell who did it: a JSON array of actor_id, actor_label, actor_ip, user_agent.';

create or replace function audit.rows_part(event audit.event)
returns text
language sql
stable
parallel safe
as $$
    select pg_catalog.json_build_array(event.resource_label, event.before, event.after)::text
$$;

comment on function audit.rows_part(audit.event) is
    'Canonical text of the rows: a JSON array of resource_label, before, after.';

create or replace function audit.commitment(salt bytea, part text)
returns bytea
language sql
stable
parallel safe
as $$
    select pg_catalog.sha256(coalesce(salt, '') || pg_catalog.convert_to(part, 'UTF8'))
$$;

comment on function audit.commitment(bytea, text) is
    'SHA-256 over the salt (32 bytes; null: none) and a part in UTF-8: it holds whoever made it to the part, and does not give the part away.';

create or replace function audit.event_text(event audit.event, actor_commitment bytea, rows_commitment bytea)
returns text
language sql
stable
parallel safe
as $$
    -- What pgtrail recorded itself has the text that it had before anything could be imported, and that before there were hubs.
    select pg_catalog.left(pg_catalog.json_build_array(
        case
            when pg_catalog.num_nonnulls(event.node, event.node_id, event.node_xid) > 0 then 'pgtrail event 3'
            when event.imported_from is not null then 'pgtrail event 2'
            else 'pgtrail event 1'
        end,
        event.id,
        event.xid::text,
        audit.rfc3339(event.occurred_at),
        event.org_id,
        event.category,
        event.action,
        event.operation,
        event.table_name,
        event.resource_type,
        event.resource_id,
        event.request_id,
        event.reason,
        event.actor_type,
        event.db_role,
        event.client_addr,
        event.application_name,
        event.changed
    )::text, -1)
        || case
            when pg_catalog.num_nonnulls(event.node, event.node_id, event.node_xid) > 0 then
                ', ' || pg_catalog.btrim(
                    pg_catalog.json_build_array(event.imported_from, event.node, event.node_id, event.node_xid::text)::text, '[]'
                )
            when event.imported_from is not null then ', ' || pg_catalog.to_json(event.imported_from)::text
            else ''
        end
        || ', '
        || pg_catalog.substr(
            pg_catalog.json_build_array(
                pg_catalog.encode(actor_commitment, 'hex'),
                pg_catalog.encode(rows_commitment, 'hex')
            )::text,
            2
        )
$$;

comment on function audit.event_text(audit.event, bytea, bytea) is
    'The canonical text of an event: a JSON array of its fields, with commitments in place of its two parts. docs/seals.md.';

create or replace function audit.merkle_leaf(canonical text)
returns bytea
language sql
stable
parallel safe
as $$
    select pg_catalog.sha256('\x00' || pg_catalog.convert_to(canonical, 'UTF8'))
$$;

comment on function audit.merkle_leaf(text) is 'The hash of a leaf (RFC 6962, 2.1): SHA-256 over a zero byte and the text in UTF-8.';

create or replace function audit.merkle_parents(level bytea)
returns bytea
language sql
immutable
parallel safe
as $$
    -- Pair by pair from the left; one that is left over goes up as it is. That is the tree of the RFC.
    select pg_catalog.string_agg(
        case
            when pg_catalog.length(level) - place >= 64 then
                pg_catalog.sha256('\x01' || pg_catalog.substr(level, place + 1, 64))
            else pg_catalog.substr(level, place + 1, 32)
        end,
        '' order by place
    )
    from pg_catalog.generate_series(0, pg_catalog.length(level) - 1, 64) as place
$$;

comment on function audit.merkle_parents(bytea) is
    'The level of a Merkle tree above one: nodes of 32 bytes, one after the other (RFC 6962, 2.1).';

create or replace function audit.merkle_root(leaves bytea)
returns bytea
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    level bytea := leaves;
begin
    while length(level) > 32
    loop
        level := audit.merkle_parents(level);
    end loop;
    return case level when '' then sha256('') else level end;
end
$$;

comment on function audit.merkle_root(bytea) is
    'The root (RFC 6962, 2.1; 32 bytes) over leaf hashes, 32 bytes each, one after the other.';

create or replace function audit.seal_text(seal audit.seal)
returns text
language sql
stable
as $$
    select pg_catalog.json_build_array(
        'pgtrail seal 1',
        seal.number,
        audit.rfc3339(seal.sealed_at),
        seal.system_identifier::text,
        seal.from_snapshot::text,
        audit.rfc3339(seal.from_time),
        seal.from_xid::text,
        seal.from_id,
        seal.to_snapshot::text,
        audit.rfc3339(seal.to_time),
        seal.epoch,
        seal.above_id,
        seal.up_to_id,
        seal.events,
        seal.first_id,
        seal.last_id,
        seal.personal,
        pg_catalog.encode(seal.root, 'hex'),
        pg_catalog.encode(seal.previous, 'hex')
    )::text
$$;

comment on function audit.seal_text(audit.seal) is 'The canonical text of a seal, over which its hash is the SHA-256. docs/seals.md.';

create or replace function audit.seal_hash(seal audit.seal)
returns bytea
language sql
stable
as $$
    select pg_catalog.sha256(pg_catalog.convert_to(audit.seal_text(seal), 'UTF8'))
$$;

comment on function audit.seal_hash(audit.seal) is 'The hash of a seal, 32 bytes.';

create or replace trigger refuse_change
    before update or delete on audit.seal
    for each row execute function audit.refuse_change();

create or replace trigger refuse_truncate
    before truncate on audit.seal
    for each statement execute function audit.refuse_change();

create or replace trigger refuse_change
    before update or delete on audit.seal_leaves
    for each row execute function audit.refuse_change();

create or replace trigger refuse_truncate
    before truncate on audit.seal_leaves
    for each statement execute function audit.refuse_change();

-- Which events, and what they come to ------------------------------------------------------------------------------

create or replace function audit.last_foreign_id()
returns bigint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    head audit.seal_head;
begin
    -- (First: to look for what there can't be takes a plan over all months, and asks whatever server some lie on.)
    select * into head from audit.seal_head where system_identifier <> audit.system_identifier();
    if not found then
        return null;
    end if;
    return coalesce(
        (
            -- Transactions that this cluster has not begun …
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
        -- … or neither yet, but that is what comes.
        case
            when pg_snapshot_xmax(pg_current_snapshot()) < pg_snapshot_xmax(head.from_snapshot)
                then (select coalesce(max(last_id), 0) from audit.seal)
        end
    );
end
$$;

comment on function audit.last_foreign_id() is
    'Where the database was restored into another cluster and no seal was made since: the last event of the old one; null: it was not, or transaction ids go on from where they were.';

drop function if exists audit.next_epoch(audit.seal);

create or replace function audit.next_epoch(seal audit.seal, of_node text default null)
returns bigint
language sql
stable
as $$
    select case
        when of_node is not null then
            (select min(later.epoch) from audit.node_seal as later where later.node = of_node and later.epoch > seal.epoch)
        else coalesce(
            (select min(later.epoch) from audit.seal as later where later.epoch > seal.epoch), audit.last_foreign_id()
        )
    end
$$;

comment on function audit.next_epoch(audit.seal, text) is
    'Events above this id were recorded after the database (or the node, of one''s seal) had been restored into another cluster; null: it has not been.';

create or replace function audit.as_recorded(event audit.event)
returns audit.event
language plpgsql
immutable
parallel safe
as $$
begin
    event.id := event.node_id;
    event.xid := event.node_xid;
    event.node := null;
    event.node_id := null;
    event.node_xid := null;
    return event;
end
$$;

comment on function audit.as_recorded(audit.event) is 'A node''s event as it was there: what the node''s seals were made over.';

drop function if exists audit.sealed_events(audit.seal);

create or replace function audit.sealed_events(seal audit.seal, of_node text default null)
returns setof audit.event
language plpgsql
stable
set search_path = pg_catalog, pg_temp
-- A seal's events are held until they are hashed.
set work_mem = '64MB'
-- A plan that is kept knows no snapshot, and would read all of an index.
set plan_cache_mode = force_custom_plan
as $$
declare
    high_id bigint := least(seal.up_to_id, audit.next_epoch(seal, of_node));
begin
    if of_node is not null then
        return query
        select event.*
        from audit.event
        where event.node = of_node
            and event.node_id > seal.above_id
            and (high_id is null or event.node_id <= high_id)
            and (
                event.node_xid = any (array(select pg_snapshot_xip(seal.from_snapshot)))
                or event.node_xid >= pg_snapshot_xmax(seal.from_snapshot)
            )
            and pg_visible_in_snapshot(event.node_xid, seal.to_snapshot)
            -- Follows from that, and is what an index can use.
            and event.node_xid < pg_snapshot_xmax(seal.to_snapshot);
    -- A part of a large batch is found by id, a whole one by transaction.
    elsif seal.up_to_id is null then
        return query
        select event.*
        from audit.batch(seal.from_snapshot, seal.to_snapshot) as event
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

comment on function audit.sealed_events(audit.seal, text) is
    'The events that are in a seal''s batch now: those that it sealed, unless somebody meddled.';

create or replace function audit.event_leaves(seal audit.seal)
returns table (event_id bigint, leaf bytea)
language sql
stable
as $$
    select
        event.id,
        audit.merkle_leaf(
            audit.event_text(
                event,
                coalesce(erased_actor.commitment, audit.commitment(actor_salt.salt, audit.actor_part(event))),
                coalesce(erased_rows.commitment, audit.commitment(rows_salt.salt, audit.rows_part(event)))
            )
        )
    from audit.sealed_events(seal) as event
    left join audit.salt as actor_salt
        on (actor_salt.kind, actor_salt.type, actor_salt.id) = ('actor', event.actor_type, event.actor_id)
    left join audit.salt as rows_salt
        on (rows_salt.kind, rows_salt.type, rows_salt.id) = ('resource', event.resource_type, event.resource_id)
        and event.resource_type = any (seal.personal)
    left join audit.erased_part as erased_actor
        on (erased_actor.event_id, erased_actor.part) = (event.id, 'actor') and not erased_actor.superseded
    left join audit.erased_part as erased_rows
        on (erased_rows.event_id, erased_rows.part) = (event.id, 'rows') and not erased_rows.superseded
$$;

comment on function audit.event_leaves(audit.seal) is 'The ids of the events in a seal''s batch, each with its leaf hash as it is now.';

create or replace function audit.present_personal_types()
returns text[]
language sql
stable
as $$
    select array(
        select resource
        from audit.tracked_table
        where coalesce(personal, audit.tells_of_a_person(relation))
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

comment on function audit.present_personal_types() is
    'The resource types whose rows tell of a person now, here or at a node.';

create or replace function audit.node_commitments(p_node text, event audit.event, p_part text, personal text[])
returns setof bytea
language sql
stable
as $$
    -- Under each salt that the person ever had, or none …
    select audit.commitment(salted.salt, said.text)
    from (select case p_part when 'actor' then audit.actor_part(event) else audit.rows_part(event) end as text) as said
    left join lateral (
        select node_salt.salt
        from audit.node_salt
        where case p_part
                when 'actor' then (node_salt.kind, node_salt.type) = ('actor', event.actor_type) and node_salt.id = event.actor_id
                else (node_salt.kind, node_salt.type) = ('resource', event.resource_type) and node_salt.id = event.resource_id
                    and event.resource_type = any (personal)
            end
            and node_salt.node = p_node
    ) as salted on true
    union all
    -- … or what it was sealed as before it was erased, here, or there before it was copied as that left it.
    select erased.commitment
    from audit.node_erased_part as erased
    where erased.node = p_node
        and erased.event_id = event.node_id
        and erased.part = p_part
        and erased.commitment is not null
        and (
            erased.here
            or (
                exists (select from audit.node_copy where node_copy.node = p_node and node_copy.xid = event.xid)
                and erased.redacted = audit.commitment(
                    null, case p_part when 'actor' then audit.actor_part(event) else audit.rows_part(event) end
                )
            )
        )
$$;

comment on function audit.node_commitments(text, audit.event, text, text[]) is
    'What a part (`actor` or `rows`) of a node''s event may stand for in the node''s leaf; personal: the seal''s.';

-- Sealing ----------------------------------------------------------------------------------------------------------

create or replace function audit.seal(p_max_events integer default 65536)
returns audit.seal
language plpgsql
volatile
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
        head := audit.begin_sealing(head);
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
    seal.up_to_id := audit.last_of_part(seal, p_max_events);
    seal.personal := audit.present_personal_types();
    seal.previous := head.hash;

    perform audit.salt_persons(seal);
    select array_agg(hashed.event_id order by hashed.event_id), string_agg(hashed.leaf, '' order by hashed.event_id)
    into leaves.ids, leaves.leaves
    from audit.event_leaves(seal) as hashed;
    seal.events := cardinality(leaves.ids);
    seal.first_id := leaves.ids[1];
    seal.last_id := leaves.ids[seal.events];
    seal.root := audit.merkle_root(leaves.leaves);
    seal.hash := audit.seal_hash(seal);
    leaves.number := seal.number;

    insert into audit.seal values (seal.*);
    insert into audit.seal_leaves values (leaves.*);
    perform audit.move_head(head, seal);
    perform audit.announce_seal(seal);
    return seal;
end
$$;

comment on function audit.seal(integer) is
    'Seals the events since the last seal, or the first of them: at most p_max_events. Null: there is nothing to seal, or another session is sealing. Call it until it returns null. The worker does, every ten seconds; pg_cron can.';

create or replace function audit.seal_if_due(p_every interval, p_events integer)
returns audit.seal
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    head audit.seal_head := (select seal_head from audit.seal_head);
begin
    -- By the database's clock, so that many workers make no more seals than one.
    if head.to_snapshot is null
        and head.from_time > clock_timestamp() - p_every
        and audit.count_unsealed(p_events) < p_events
    then
        return null;
    end if;
    return audit.seal();
end
$$;

comment on function audit.seal_if_due(interval, integer) is
    'audit.seal() where the last seal is so long ago, or so many events wait for one; else null.';

create or replace function audit.count_unsealed(p_most integer default 100000)
returns bigint
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
-- A plan that is kept knows no snapshot, and would read all of an index.
set plan_cache_mode = force_custom_plan
as $$
declare
    head audit.seal_head;
begin
    -- (First: joined with that row, no plan knows the snapshot either.)
    select * into strict head from audit.seal_head;
    return (
        select count(*)
        from (
            select
            from audit.batch(head.from_snapshot, pg_current_snapshot()) as event
            where event.id > greatest(head.epoch, head.above_id)
            limit p_most
        ) as waiting
    );
end
$$;

comment on function audit.count_unsealed(integer) is 'How many events wait for a seal; it counts no further than p_most.';

create or replace function audit.begin_sealing(head audit.seal_head)
returns audit.seal_head
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
-- A plan that is kept knows no snapshot, and would read all of an index.
set plan_cache_mode = force_custom_plan
as $$
declare
    -- Taken after the head was locked: what another sealer sealed is behind it.
    present pg_snapshot := pg_current_snapshot();
begin
    if head.system_identifier <> audit.system_identifier() then
        head := audit.follow_restore(head);
    end if;
    if head.to_snapshot is not null then
        return head;
    end if;
    -- A seal that announces a seal would go on for ever.
    if exists (
        select
        from audit.batch(head.from_snapshot, present) as event
        where event.id > head.epoch and event.action <> 'audit.sealed'
    )
    then
        head.to_snapshot := present;
        head.to_time := clock_timestamp();
        -- Not the snapshot's xmax: a transaction that has not ended may lie beyond it, and be old.
        head.next_time := now();
        head.next_xid := pg_current_xact_id();
        head.above_id := head.epoch;
    end if;
    return head;
end
$$;

comment on function audit.begin_sealing(audit.seal_head) is
    'The head with the batch that is to be sealed next; to_snapshot null: nothing is to be sealed.';

create or replace function audit.follow_restore(head audit.seal_head)
returns audit.seal_head
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    last_foreign bigint := audit.last_foreign_id();
    highest_xid xid8;
begin
    -- Where transaction ids go on from where they were (pg_upgrade, a cluster that was further), so does the chain.
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
            -- What was recorded there and not sealed: one last batch by the transaction ids of that cluster.
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
    head.system_identifier := audit.system_identifier();
    perform audit.store_head(head);
    return head;
end
$$;

comment on function audit.follow_restore(audit.seal_head) is
    'The head in a cluster that the database was restored into: first with what was not sealed in the old one, then as a new epoch.';

create or replace function audit.id_in_order(seal audit.seal, low_id bigint, high_id bigint, place integer)
returns bigint
language sql
stable
set search_path = pg_catalog, pg_temp
-- In the order of the primary key, and no further than it takes.
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
    offset place - 1
    limit 1
$$;

comment on function audit.id_in_order(audit.seal, bigint, bigint, integer) is
    'The id of the event at a place, from 1, of a seal''s batch in the order of ids, from low_id to high_id (null: without an end).';

create or replace function audit.last_of_part(seal audit.seal, max_events integer)
returns bigint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
-- A plan that is kept knows no snapshot, and would read all of an index.
set plan_cache_mode = force_custom_plan
as $$
declare
    high_id bigint := audit.next_epoch(seal);
    low_id bigint := seal.above_id + 1;
begin
    if (
        select count(*) <= max_events
        from (
            select
            from audit.batch(seal.from_snapshot, seal.to_snapshot) as event
            where event.id > seal.above_id and (high_id is null or event.id <= high_id)
            limit max_events + 1
        ) as first
    )
    then
        return null;
    end if;
    if seal.above_id = seal.epoch then
        -- Before its first part lies the whole log. (Plus nothing: else the planner would look for the least from there.)
        low_id := (
            select min(event.id + 0)
            from audit.batch(seal.from_snapshot, seal.to_snapshot) as event
            where event.id > seal.above_id
        );
    end if;
    return audit.id_in_order(seal, low_id, high_id, max_events);
end
$$;

comment on function audit.last_of_part(audit.seal, integer) is
    'The last id of the first so many events of a seal''s batch; null: it has no more than that.';

create or replace function audit.salt_persons(seal audit.seal)
returns void
language sql
volatile
as $$
    insert into audit.salt (kind, type, id, salt)
    select person.kind, person.type, person.id, audit.random_bytes()
    from (
        select distinct part.*
        from audit.sealed_events(seal) as event
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

comment on function audit.salt_persons(audit.seal) is 'Makes the salts that the events of a seal''s batch lack.';

create or replace function audit.move_head(head audit.seal_head, seal audit.seal)
returns void
language plpgsql
volatile
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
    perform audit.store_head(head);
end
$$;

comment on function audit.move_head(audit.seal_head, audit.seal) is 'Lets the next seal begin where this one ends.';

create or replace function audit.store_head(head audit.seal_head)
returns void
language sql
volatile
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

comment on function audit.store_head(audit.seal_head) is 'Stores where the next seal begins.';

create or replace function audit.announce_seal(seal audit.seal)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from audit.destination where seals) then
        perform audit.record('audit.sealed', 'seal', seal.number::text, null, null, audit.seal_object(seal));
    end if;
end
$$;

comment on function audit.announce_seal(audit.seal) is 'Records a seal as an event, where a destination asks for seals: what the SIEM has can''t be rewritten here.';

create or replace function audit.seal_object(seal audit.seal)
returns jsonb
language sql
stable
as $$
    select pg_catalog.jsonb_build_object(
        'number', seal.number,
        'sealed_at', audit.rfc3339(seal.sealed_at),
        'events', seal.events,
        'first_id', seal.first_id,
        'last_id', seal.last_id,
        'root', pg_catalog.encode(seal.root, 'hex'),
        'previous', pg_catalog.encode(seal.previous, 'hex'),
        'hash', pg_catalog.encode(seal.hash, 'hex')
    )
$$;

comment on function audit.seal_object(audit.seal) is 'What of a seal is kept elsewhere, as an anchor: number, root, hash and what they cover; digests in hex.';

-- Verifying --------------------------------------------------------------------------------------------------------

create or replace function audit.check_seal(p_number bigint)
returns table (event_id bigint, problem text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    seal audit.seal;
    before audit.seal;
    sealed audit.seal_leaves;
    present audit.seal_leaves;
begin
    select * into seal from audit.seal where number = p_number;
    if not found then
        return query values (null::bigint, 'it is missing');
        return;
    end if;
    select * into before from audit.seal where number = p_number - 1;
    return query select null::bigint, wrong from audit.wrong_in_chain(seal, before) as wrong;

    select * into sealed from audit.seal_leaves where number = p_number;
    if not found or audit.merkle_root(sealed.leaves) <> seal.root then
        return query values (null::bigint, 'its list of leaves was changed: it has another root');
    end if;

    select array_agg(hashed.event_id order by hashed.event_id), string_agg(hashed.leaf, '' order by hashed.event_id)
    into present.ids, present.leaves
    from audit.event_leaves(seal) as hashed;
    if (present.ids, present.leaves) is distinct from (sealed.ids, sealed.leaves) then
        -- (Each once, though it may be both.)
        return query
        select * from audit.differing_leaves(sealed, present, audit.dropped_ids())
        union
        select * from audit.misfiled_events(seal)
        order by 1;
    else
        return query select * from audit.misfiled_events(seal);
    end if;
    return query select * from audit.misdated_events(seal);
    return query select * from audit.changed_since_erased(seal);
end
$$;

comment on function audit.check_seal(bigint) is
    'What does not match in a seal: the seal itself (event_id null) or events of its batch. No rows: it holds.';

create or replace function audit.follows(seal audit.seal, before audit.seal)
returns boolean
language sql
immutable
as $$
    select case
        when seal.number = 1 then seal.from_snapshot::text = '1:1:' and seal.above_id = seal.epoch
        when seal.epoch <> before.epoch then
            seal.from_snapshot::text = '1:1:' and seal.epoch >= before.last_id and before.up_to_id is null
        when before.up_to_id is not null then
            seal.above_id = before.up_to_id
            and seal.from_snapshot::text = before.from_snapshot::text
            and seal.to_snapshot::text = before.to_snapshot::text
        else seal.above_id = seal.epoch and seal.from_snapshot::text = before.to_snapshot::text
    end
$$;

comment on function audit.follows(audit.seal, audit.seal) is 'Whether a seal leaves no gap after the seal before it.';

create or replace function audit.wrong_in_chain(seal audit.seal, before audit.seal)
returns setof text
language sql
stable
as $$
    select 'it was changed: its hash is another'
    where seal.hash <> audit.seal_hash(seal)
    union all
    select case
        when seal.previous <> coalesce(before.hash, pg_catalog.decode(pg_catalog.repeat('00', 32), 'hex')) then
            'the chain is broken: it follows another seal than the one before it'
        else 'it does not begin where the seal before it ends'
    end
    where seal.previous <> coalesce(before.hash, pg_catalog.decode(pg_catalog.repeat('00', 32), 'hex'))
        or not audit.follows(seal, before)
$$;

comment on function audit.wrong_in_chain(audit.seal, audit.seal) is
    'What does not match of a seal by itself, and with the seal before it (null: it is the first).';

create or replace function audit.differing_leaves(
    sealed audit.seal_leaves, present audit.seal_leaves, dropped int8multirange
)
returns table (event_id bigint, problem text)
language sql
stable
as $$
    with was as (
        select place.id, pg_catalog.substr(sealed.leaves, (place.number::integer - 1) * 32 + 1, 32) as leaf
        from pg_catalog.unnest(sealed.ids) with ordinality as place (id, number)
    ),
    is_now as (
        select place.id, pg_catalog.substr(present.leaves, (place.number::integer - 1) * 32 + 1, 32) as leaf
        from pg_catalog.unnest(present.ids) with ordinality as place (id, number)
    )
    select
        id,
        case
            when is_now.leaf is null then 'it was deleted'
            when was.leaf is null then 'it was inserted after its batch had been sealed'
            else 'it was changed'
        end
    from was
    full join is_now using (id)
    where was.leaf is distinct from is_now.leaf
        and not (is_now.leaf is null and coalesce(dropped @> id, false))
    order by id
$$;

comment on function audit.differing_leaves(audit.seal_leaves, audit.seal_leaves, int8multirange) is
    'The events whose leaf is not the sealed one, but for those that retention has dropped.';

create or replace function audit.dropped_ids()
returns int8multirange
language sql
stable
as $$
    select pg_catalog.range_agg(held)
    from (select pg_catalog.unnest(ids) as held from audit.dropped_partition) as dropped
$$;

comment on function audit.dropped_ids() is 'The ids of the events that retention has dropped; null: none.';

create or replace function audit.misfiled_events(seal audit.seal)
returns table (event_id bigint, problem text)
language sql
stable
as $$
    -- What is derived is in no leaf; but by another hash a history or an activity would not find the event.
    select event.id, 'it was changed'
    from audit.sealed_events(seal) as event
    where event.resource_hash is distinct from pg_catalog.hashtextextended(event.resource_id, 0)
        or event.actor_hash is distinct from pg_catalog.hashtextextended(event.actor_id, 0)
    order by event.id
$$;

comment on function audit.misfiled_events(audit.seal) is
    'The events of a seal''s batch whose resource_hash or actor_hash is not that of their resource or actor.';

drop function if exists audit.misdated_events(audit.seal);

create or replace function audit.misdated_events(seal audit.seal, of_node text default null)
returns table (event_id bigint, problem text)
language sql
stable
as $$
    -- (Of a node's seal, by what they were there; of others' events in one of this database's, their nodes' seals tell.)
    with recorded as (
        select
            case when of_node is null then stored.id else stored.node_id end as id,
            case when of_node is null then stored.xid else stored.node_xid end as xid,
            stored.occurred_at,
            stored.imported_from
        from audit.sealed_events(seal, of_node) as stored
        where of_node is not null or stored.node is null
    )
    -- It was recorded after that moment, so that it can't have occurred before; clocks are set by a second or two.
    select
        event.id,
        pg_catalog.format('it says that it occurred at %s, but was recorded after %s', audit.rfc3339(event.occurred_at), audit.rfc3339(seal.from_time))
    from recorded as event
    where event.xid > seal.from_xid
        -- (What was imported did occur before it was recorded, and says so.)
        and event.imported_from is null
        and event.occurred_at < seal.from_time - case when event.id > seal.from_id then interval '2 seconds' else interval '0' end
    union all
    select
        event.id,
        pg_catalog.format('it says that it occurred at %s, but was recorded before %s', audit.rfc3339(event.occurred_at), audit.rfc3339(seal.to_time))
    from recorded as event
    where event.occurred_at > seal.to_time + interval '2 seconds'
    order by 1
$$;

comment on function audit.misdated_events(audit.seal, text) is
    'Events that claim another time than that of their batch: they were inserted into the past, or into the future.';

create or replace function audit.changed_since_erased(seal audit.seal)
returns table (event_id bigint, problem text)
language sql
stable
as $$
    select event.id, 'its ' || case erased_part.part when 'actor' then 'actor was' else 'rows were' end || ' changed after the erasure'
    from audit.erased_part
    join audit.event on event.id = erased_part.event_id
    where erased_part.event_id between seal.first_id and seal.last_id
        and not erased_part.superseded
        and erased_part.redacted <> audit.commitment(
            null, case erased_part.part when 'actor' then audit.actor_part(event) else audit.rows_part(event) end
        )
$$;

comment on function audit.changed_since_erased(audit.seal) is 'Events with an erased part that does not stand as the erasure left it.';

create or replace function audit.check_log()
returns table (subject text, problem text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
-- A plan that is kept knows no id, and would read all of an index.
set plan_cache_mode = force_custom_plan
as $$
declare
    last_given bigint := (select last_value from audit.event_id_seq);
    -- (A value, which leaves out the months that lie elsewhere.)
    next_xid xid8 := pg_snapshot_xmax(pg_current_snapshot());
    head audit.seal_head := (select seal_head from audit.seal_head);
    last audit.seal := (select seal from audit.seal order by number desc limit 1);
begin
    if coalesce(last.number, 0) <> head.number then
        return query
        select 'seal ' || missing, 'it is missing: the last seal was number ' || head.number
        from generate_series(coalesce(last.number, 0) + 1, head.number) as missing;
    elsif last.hash <> head.hash then
        return query values ('seal ' || head.number, 'it is not the seal that was made last');
    end if;

    -- Every id and every transaction id belongs to a seal, or to the one that comes next.
    return query
    select 'event ' || event.id, 'it claims a transaction that is in no seal and has not begun either'
    from audit.event
    where (
            event.xid >= next_xid
            or (
                event.id <= head.epoch
                and event.xid >= (select max(pg_snapshot_xmax(to_snapshot)) from audit.seal where epoch < head.epoch)
            )
        )
        and not exists (
            select
            from audit.seal
            where event.id > seal.above_id
                and (seal.up_to_id is null or event.id <= seal.up_to_id)
                and event.xid < pg_snapshot_xmax(seal.to_snapshot)
                and event.id <= coalesce(audit.next_epoch(seal), event.id)
        )
        and event.xid is distinct from pg_current_xact_id_if_assigned()
        and head.system_identifier = audit.system_identifier();

    return query
    select 'event ' || stray.id, 'its id was never given'
    from (
        -- (Either by an end of the primary key.)
        select event.id from audit.event where event.id < 1
        union all
        select event.id from audit.event where event.id > last_given
    ) as stray;

    return query
    select 'erasure ' || erasure.id, 'it is not what its event says'
    from audit.erasure
    left join audit.event on event.id = erasure.event_id and event.action = 'audit.actor_erased'
    where not exists (select from audit.dropped_partition where ids @> erasure.event_id)
        and event.after ->> 'digest' is distinct from encode(audit.erasure_digest(erasure.id), 'hex');

    return query
    select 'partition ' || dropped.name, 'it is not what the event of its removal says'
    from audit.dropped_partition as dropped
    left join audit.event on event.id = dropped.event_id and event.action = 'audit.partition_dropped'
    -- Its event may have been dropped since, by a later removal that has one.
    where not exists (
            select from audit.dropped_partition as later where later.event_id > dropped.event_id and later.ids @> dropped.event_id
        )
        and event.after ->> 'ids_sha256' is distinct from encode(sha256(convert_to(dropped.ids::text, 'UTF8')), 'hex');
end
$$;

comment on function audit.check_log() is
    'What does not match beside the seals: the end of the chain, events outside of every batch, erasures and dropped partitions. No rows: it holds.';

-- Proofs -----------------------------------------------------------------------------------------------------------

create or replace function audit.merkle_path(leaves bytea, leaf_index integer)
returns bytea[]
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    level bytea := leaves;
    place integer := leaf_index;
    sibling bytea;
    path bytea[] := '{}';
begin
    while length(level) > 32
    loop
        sibling := substr(level, (place # 1) * 32 + 1, 32);
        -- The one that is left over has none, and goes up as it is.
        if sibling <> '' then
            path := path || sibling;
        end if;
        level := audit.merkle_parents(level);
        place := place / 2;
    end loop;
    return path;
end
$$;

comment on function audit.merkle_path(bytea, integer) is
    'The audit path (RFC 6962, 2.1.1) of the leaf at an index from 0, from the leaf up; leaves as audit.merkle_root() takes them.';

create or replace function audit.seal_of(p_event_id bigint)
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

comment on function audit.seal_of(bigint) is 'The seal that an event is in; null: it is not sealed yet.';

create or replace function audit.check_is_stored(event audit.event)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Definers tell of an event to those alone who know the whole of it, and so may read it.
    if event is distinct from (select stored from audit.event as stored where stored.id = event.id) then
        raise exception using errcode = 'PT019', message = 'this is not the event as it is recorded';
    end if;
end
$$;

comment on function audit.check_is_stored(audit.event) is 'Raises PT019 unless this is the event as it is recorded.';

create or replace function audit.prove(p_event_id bigint)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Under the caller's own row-level security: who may not read the event gets no proof of it.
    event audit.event := (select event from audit.event where id = p_event_id);
begin
    if event.id is null then
        raise exception using
            errcode = 'PT019',
            message = format('there is no event %s that you may read', p_event_id),
            hint = 'pgtrail log shows the ids.';
    end if;
    return audit.proof(event);
end
$$;

comment on function audit.prove(bigint) is
    'That an event is in the chain of seals: the event, its salts, the path to the root, and the seal. Whoever has it can check it without a database (pgtrail verify-proof; docs/seals.md). PT019.';

create or replace function audit.proof(event audit.event)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    seal audit.seal;
    sealed audit.seal_leaves;
    place integer;
    actor_commitment bytea;
    rows_commitment bytea;
    actor_salt bytea := (
        select salt from audit.salt where (kind, type, id) = ('actor', event.actor_type, event.actor_id)
    );
    rows_salt bytea;
begin
    perform audit.check_is_stored(event);
    seal := audit.seal_of(event.id);
    if seal.number is null then
        raise exception using
            errcode = 'PT020',
            message = format('event %s is not sealed yet', event.id),
            hint = 'The worker seals every few seconds; pgtrail seal does it now.';
    end if;
    select * into sealed from audit.seal_leaves where number = seal.number;
    place := array_position(sealed.ids, event.id) - 1;
    if event.resource_type = any (seal.personal) then
        rows_salt := (
            select salt from audit.salt where (kind, type, id) = ('resource', event.resource_type, event.resource_id)
        );
    end if;
    actor_commitment := (select commitment from audit.erased_part where event_id = event.id and part = 'actor' and not superseded);
    rows_commitment := (select commitment from audit.erased_part where event_id = event.id and part = 'rows' and not superseded);
    return jsonb_build_object(
        'proof', 'pgtrail proof 1',
        'event', audit.event_text(
            event,
            coalesce(actor_commitment, audit.commitment(actor_salt, audit.actor_part(event))),
            coalesce(rows_commitment, audit.commitment(rows_salt, audit.rows_part(event)))
        ),
        -- Erased: the commitment stands in the event's text, and can't be opened any more.
        'actor', case when actor_commitment is null then
            jsonb_build_object('text', audit.actor_part(event), 'salt', encode(coalesce(actor_salt, ''), 'hex')) end,
        'rows', case when rows_commitment is null then
            jsonb_build_object('text', audit.rows_part(event), 'salt', encode(coalesce(rows_salt, ''), 'hex')) end,
        'leaf_index', place,
        'path', array(select encode(node, 'hex') from unnest(audit.merkle_path(sealed.leaves, place)) with ordinality as step (node, number) order by number),
        'seal', audit.seal_text(seal),
        'seal_hash', encode(seal.hash, 'hex')
    );
end
$$;

comment on function audit.proof(audit.event) is 'audit.prove() for an event that its caller may read. PT020.';

create or replace function audit.sealed_in(event audit.event)
returns table (number bigint, sealed_at timestamptz, hash text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    seal audit.seal := audit.seal_of(event.id);
begin
    perform audit.check_is_stored(event);
    if seal.number is not null then
        return query values (seal.number, seal.sealed_at, encode(seal.hash, 'hex'));
    end if;
end
$$;

comment on function audit.sealed_in(audit.event) is 'The seal that an event is in; no row: it is not sealed yet. PT019.';

create or replace function audit.check_event(event audit.event)
returns setof text
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform audit.check_is_stored(event);
    return query
    select found.problem
    from audit.check_seal((audit.seal_of(event.id)).number) as found
    where found.event_id is null or found.event_id = event.id;
end
$$;

comment on function audit.check_event(audit.event) is
    'What does not match of an event that is sealed, or of its seal: computed anew. No rows: it holds. PT019.';

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

create or replace function audit.event_text(
    event audit.event, actor_commitment text, label_commitment text, before_commitments text, after_commitments text
)
returns text
language sql
stable
parallel safe
as $$
    select pg_catalog.json_build_array(
        'pgtrail event 1',
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
        event.changed,
        event.imported_from,
        event.node,
        event.node_id,
        event.node_xid::text,
        actor_commitment,
        label_commitment,
        before_commitments,
        after_commitments
    )::text
$$;

comment on function audit.event_text(audit.event, text, text, text, text) is
    'The canonical text of an event: a JSON array of its fields, with commitments (in hex) in place of those that may tell of a person. docs/seals.md.';

create or replace function audit.leaf_salt(secret bytea, event_id bigint)
returns bytea
language sql
immutable
parallel safe
as $$
    select pg_catalog.sha256(secret || pg_catalog.int8send(event_id))
$$;

comment on function audit.leaf_salt(bytea, bigint) is
    'What blinds an event''s leaf: SHA-256 over the secret of its seal and its id (8 bytes, big-endian).';

create or replace function audit.field_salt(person bytea, leaf_salt bytea, part text)
returns bytea
language sql
stable
parallel safe
as $$
    select case
        when person is null then leaf_salt
        else pg_catalog.sha256(person || leaf_salt || pg_catalog.convert_to(part, 'UTF8'))
    end
$$;

comment on function audit.field_salt(bytea, bytea, text) is
    'What blinds a field: the leaf''s salt or, where the resource tells of a person (person: its salt), one of the field''s own, which can be kept when that is destroyed.';

create or replace function audit.row_members(content jsonb)
returns jsonb
language sql
stable
parallel safe
as $$
    select case
        -- (Null is none, and has no members.)
        when content is null or pg_catalog.jsonb_typeof(content) = 'object' then content
        else pg_catalog.jsonb_build_object('', content)
    end
$$;

comment on function audit.row_members(jsonb) is 'A row as an object, also what somebody stored in place of one.';

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
                pg_catalog.sha256(E'\\x01' || pg_catalog.substr(level, place + 1, 64))
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
        seal.months,
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

create or replace function audit.next_epoch(seal audit.seal)
returns bigint
language sql
stable
as $$
    select coalesce(
        (select min(later.epoch) from audit.seal as later where later.epoch > seal.epoch), audit.last_foreign_id()
    )
$$;

comment on function audit.next_epoch(audit.seal) is
    'Events above this id were recorded after the database had been restored into another cluster; null: it has not been.';

create or replace function audit.sealed_events(seal audit.seal)
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
    high_id bigint := least(seal.up_to_id, audit.next_epoch(seal));
begin
    -- A part of a large batch is found by id, a whole one by transaction.
    if seal.up_to_id is null then
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

comment on function audit.sealed_events(audit.seal) is 'The events of a seal''s batch.';

create or replace function audit.event_leaves(seal audit.seal, secret bytea)
returns table (event_id bigint, occurred_at timestamptz, leaf bytea)
language sql
stable
as $$
    select
        event.id,
        event.occurred_at,
        pg_catalog.sha256(
            E'\\x00'::bytea
            || blinded.salt
            || pg_catalog.convert_to(
                audit.event_text(
                    event,
                    pg_catalog.encode(audit.commitment(coalesce(actor_salt.salt, blinded.salt), audit.actor_part(event)), 'hex'),
                    case when event.resource_label is not null then
                        pg_catalog.encode(
                            audit.commitment(
                                audit.field_salt(person.salt, blinded.salt, 'label'), pg_catalog.to_json(event.resource_label)::text
                            ),
                            'hex'
                        )
                    end,
                    case when event.before is not null then coalesce(was.commitments, '') end,
                    case when event.after is not null then coalesce(becomes.commitments, '') end
                ),
                'UTF8'
            )
        )
    from audit.sealed_events(seal) as event
    left join audit.salt as actor_salt
        on (actor_salt.kind, actor_salt.type, actor_salt.id) = ('actor', event.actor_type, event.actor_id)
    left join audit.salt as person
        on (person.kind, person.type, person.id) = ('resource', event.resource_type, event.resource_id)
        and event.resource_type = any (seal.personal)
    -- (Computed once: without an offset each place where it is used would.)
    cross join lateral (select audit.leaf_salt(secret, event.id) as salt offset 0) as blinded
    cross join lateral (
        select
            pg_catalog.encode(
                pg_catalog.string_agg(
                    pg_catalog.sha256(
                        audit.field_salt(person.salt, blinded.salt, 'before.' || member.key)
                        || pg_catalog.convert_to(pg_catalog.to_json(member.key)::text || ': ' || member.value::text, 'UTF8')
                    ),
                    ''
                ),
                'hex'
            ) as commitments
        from pg_catalog.jsonb_each(audit.row_members(event.before)) as member
    ) as was
    cross join lateral (
        select
            pg_catalog.encode(
                pg_catalog.string_agg(
                    pg_catalog.sha256(
                        audit.field_salt(person.salt, blinded.salt, 'after.' || member.key)
                        || pg_catalog.convert_to(pg_catalog.to_json(member.key)::text || ': ' || member.value::text, 'UTF8')
                    ),
                    ''
                ),
                'hex'
            ) as commitments
        from pg_catalog.jsonb_each(audit.row_members(event.after)) as member
    ) as becomes
$$;

comment on function audit.event_leaves(audit.seal, bytea) is
    'The events of a batch that is to be sealed: id, time, leaf hash. secret: 32 random bytes of the seal''s own.';

create or replace function audit.fields(event audit.event, secret bytea, personal text[])
returns table (part text, place bigint, content text, salt bytea)
language sql
stable
as $$
    with blinded as materialized (
        select
            audit.leaf_salt(secret, event.id) as salt,
            (select salt from audit.salt where (kind, type, id) = ('actor', event.actor_type, event.actor_id)) as actor,
            (
                select salt
                from audit.salt
                where (kind, type, id) = ('resource', event.resource_type, event.resource_id) and event.resource_type = any (personal)
            ) as person
    )
    select 'actor', 0, audit.actor_part(event), coalesce(actor, salt)
    from blinded
    union all
    select
        field.part, field.place, field.content, audit.field_salt(blinded.person, blinded.salt, field.part)
    from blinded
    cross join lateral (
        select 'label' as part, 0 as place, pg_catalog.to_json(event.resource_label)::text as content
        where event.resource_label is not null
        union all
        select side.name || '.' || member.key, member.place, pg_catalog.to_json(member.key)::text || ': ' || member.value::text
        from (values ('before', event.before), ('after', event.after)) as side (name, content)
        cross join lateral pg_catalog.jsonb_each(audit.row_members(side.content)) with ordinality as member (key, value, place)
        where side.content is not null
    ) as field
$$;

comment on function audit.fields(audit.event, bytea, text[]) is
    'What of an event is committed to by itself, each with its text and its salt: `actor`, `label`, `before.NAME`, `after.NAME`. secret, personal: of its seal.';

create or replace function audit.commitments(event audit.event, secret bytea, personal text[])
returns table (part text, place bigint, content text, salt bytea, erased boolean, commitment bytea)
language sql
stable
as $$
    select
        field.part,
        field.place,
        field.content,
        coalesce(known.salt, field.salt),
        known.event_id is not null and known.salt is null,
        coalesce(known.commitment, audit.commitment(field.salt, field.content))
    from audit.fields(event, secret, personal) as field
    left join audit.erased_part as known
        on (known.event_id, known.part) = (event.id, field.part) and not known.superseded
$$;

comment on function audit.commitments(audit.event, bytea, text[]) is
    'audit.fields() with what the leaf holds of each; erased: its text is no longer what was sealed.';

create or replace function audit.sealed_text(event audit.event, secret bytea, personal text[])
returns text
language sql
stable
as $$
    select audit.event_text(
        event,
        pg_catalog.max(pg_catalog.encode(held.commitment, 'hex')) filter (where held.part = 'actor'),
        pg_catalog.max(pg_catalog.encode(held.commitment, 'hex')) filter (where held.part = 'label'),
        case when event.before is not null then coalesce(pg_catalog.string_agg(pg_catalog.encode(held.commitment, 'hex'), '' order by held.place)
            filter (where pg_catalog.starts_with(held.part, 'before.')), '') end,
        case when event.after is not null then coalesce(pg_catalog.string_agg(pg_catalog.encode(held.commitment, 'hex'), '' order by held.place)
            filter (where pg_catalog.starts_with(held.part, 'after.')), '') end
    )
    from audit.commitments(event, secret, personal) as held
$$;

comment on function audit.sealed_text(audit.event, bytea, text[]) is
    'The canonical text of one event that is sealed, erased or not. secret, personal: of its seal.';

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
    leaves.secret := audit.random_bytes();
    with hashed as materialized (
        select * from audit.event_leaves(seal, leaves.secret)
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
    'That an event is in the chain of seals: the event, its salts, the path to the root, and the seal. Whoever has it can check it without a database (pgtrail proof check; docs/seals.md). PT019.';

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
    return jsonb_build_object(
        'proof', 'pgtrail proof 1',
        'event', audit.sealed_text(event, sealed.secret, seal.personal),
        -- (It blinds this leaf alone: who has it can't test a guess at another.)
        'salt', encode(audit.leaf_salt(sealed.secret, event.id), 'hex'),
        -- Erased: the commitment stands in the event's text, and can't be opened any more.
        'fields', (
            select jsonb_agg(
                case
                    when held.erased then jsonb_build_object('part', held.part)
                    else jsonb_build_object('part', held.part, 'text', held.content, 'salt', encode(held.salt, 'hex'))
                end
                order by split_part(held.part, '.', 1), held.place
            )
            from audit.commitments(event, sealed.secret, seal.personal) as held
        ),
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
declare
    seal audit.seal;
    sealed audit.seal_leaves;
begin
    perform audit.check_is_stored(event);
    seal := audit.seal_of(event.id);
    if seal.number is null then
        return;
    end if;
    select * into sealed from audit.seal_leaves where number = seal.number;
    if seal.hash <> audit.seal_hash(seal) or audit.merkle_root(sealed.leaves) <> seal.root then
        return next 'its seal was changed';
    elsif substr(sealed.leaves, (array_position(sealed.ids, event.id) - 1) * 32 + 1, 32) <> sha256(
        E'\\x00'::bytea
        || audit.leaf_salt(sealed.secret, event.id)
        || convert_to(audit.sealed_text(event, sealed.secret, seal.personal), 'UTF8')
    )
        or event.resource_hash is distinct from hashtextextended(event.resource_id, 0)
    then
        return next 'it was changed';
    end if;
end
$$;

comment on function audit.check_event(audit.event) is
    'A first look at an event that is sealed, for the page: whether it is what its leaf says, and that in its seal. No rows: it is. What lives in the database can be replaced: `pgtrail verify` relies on none of it. PT019.';

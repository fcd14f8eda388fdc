-- On a hub: events and seals of other databases, as they arrive by logical replication, and whether they hold.
--
-- A subscription writes to audit.event, audit.seal and the others as if they were its own. These triggers, which fire for what
-- is replicated and for nothing else, give an event its place in this log and put what verifies it beside: the hub has seals
-- of its own. `pgtrail hub init` sets them up; elsewhere there are none.

create or replace function audit.learn_node()
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    source record;
begin
    select
        node.name,
        node.copies_above,
        case when worker.relid is not null then node.copies_to else 0 end as copies_to,
        worker.subid
    into source
    from pg_stat_get_subscription(null) as worker
    left join audit.node on node.subscription = worker.subid
    where worker.pid = pg_backend_pid();
    if source.name is null then
        raise exception using
            errcode = 'PT046',
            message = 'events are replicated into this hub, and not from one of its nodes',
            hint = 'pgtrail hub add adds a node; to copy the hub itself, drop the triggers "receive" of the copy first.';
    end if;
    -- For as long as this worker lives, where it copies. Otherwise, from PostgreSQL 16 on, a worker forgets after each row
    -- what was set for it: so this is called for each, and does no more than it must.
    perform set_config('pgtrail.copies_to', source.copies_to::text, false);
    if source.copies_to > 0 then
        perform set_config('pgtrail.copies_above', source.copies_above::text, false);
        perform set_config(
            'pgtrail.copies_again', (exists (select from audit.event where node = source.name))::text, false
        );
        if exists (select from pg_subscription_rel where srsubid = source.subid and srrelid = 'audit.event'::regclass and srsubstate = 'd')
        then
            insert into audit.node_copy (node, xid)
            values (source.name, pg_current_xact_id())
            on conflict do nothing;
        end if;
    end if;
    -- With the process, so that what somebody set for the database or a role beforehand is not believed.
    perform set_config('pgtrail.node', pg_backend_pid() || ' ' || source.name, false);
    return source.name;
end
$$;

comment on function audit.learn_node() is
    'The node whose changes this session applies, which is kept in the settings pgtrail.node, pgtrail.copies_above, pgtrail.copies_to (0: nothing is copied any more) and pgtrail.copies_again (whether some of it may be here). PT046.';

create or replace function audit.applying_node()
returns text
language sql
volatile
as $$
    select case
        when pg_catalog.split_part(pg_catalog.current_setting('pgtrail.node', true), ' ', 1) = pg_catalog.pg_backend_pid()::text
            then pg_catalog.split_part(pg_catalog.current_setting('pgtrail.node', true), ' ', 2)
        else audit.learn_node()
    end
$$;

comment on function audit.applying_node() is
    'The node whose changes this session applies; `-`: what it records is the hub''s own. PT046.';

create or replace function audit.has_received(event audit.event, from_node text)
returns boolean
language sql
stable
-- A plan that is kept is made when there is little to read, and would read all of it later.
set enable_seqscan = off
as $$
    -- (An id that a restored node gave again has another transaction or another time.)
    select exists (
        select
        from audit.event as known
        where known.node = from_node
            and known.node_id = event.id
            -- (One transaction may have very many: the index of transactions does not serve.)
            and known.node_xid is not distinct from event.xid
            and known.occurred_at = event.occurred_at
    )
$$;

comment on function audit.has_received(audit.event, text) is 'Whether a node''s event, as it comes from there, is in this log already.';

create or replace function audit.receive_event()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    copies_to bigint;
begin
    new.node := audit.applying_node();
    if new.node = '-' then
        -- What the hub itself has to say of it.
        new.node := null;
        return new;
    end if;
    copies_to := pg_catalog.current_setting('pgtrail.copies_to')::bigint;
    new.node_xid := new.xid;
    new.xid := pg_catalog.pg_current_xact_id();
    new.node_id := new.id;
    if copies_to = 0 then
        new.id := pg_catalog.nextval('audit.event_id_seq');
    else
        new.id := new.node_id;
        new.xid := new.node_xid;
        if pg_catalog.current_setting('pgtrail.copies_again')::boolean
            and (
                audit.has_received(new, new.node)
                -- What retention has dropped here does not come back.
                or exists (select from audit.node_dropped where node = new.node and here and ids @> new.node_id)
            )
        then
            return null;
        end if;
        new.xid := pg_catalog.pg_current_xact_id();
        -- What is copied comes in the order of the disk.
        new.id := case
            when new.node_id <= copies_to then new.node_id + pg_catalog.current_setting('pgtrail.copies_above')::bigint
            else pg_catalog.nextval('audit.event_id_seq')
        end;
    end if;
    if audit.takes_the_wake() then
        notify pgtrail;
    end if;
    return new;
end
$$;

comment on function audit.receive_event() is
    'Gives a node''s event its place in this log. Commits are applied in the order in which the node made them, so ids keep the order of each resource''s events.';

create or replace function audit.record_broken_chain(p_node text, p_number bigint)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    update audit.node
    set broken_seal = p_number
    where name = p_node and broken_seal is null;
    perform set_config('pgtrail.node', pg_backend_pid() || ' -', false);
    perform audit.record(
        'audit.node_rewritten', 'node', p_node, p_node, null, jsonb_build_object('seal', p_number)
    );
    perform set_config('pgtrail.node', pg_backend_pid() || ' ' || p_node, false);
end
$$;

comment on function audit.record_broken_chain(text, bigint) is
    'Records that a node''s seal does not fit to those that had arrived, as an event of the hub''s own: destinations hear of it at once.';

create or replace function audit.receive_seal()
returns trigger
language plpgsql
set enable_seqscan = off
set search_path = pg_catalog, pg_temp
as $$
declare
    node_name text := audit.applying_node();
begin
    if exists (select from audit.node_seal where node = node_name and number = new.number and hash = new.hash) then
        return null;
    end if;
    insert into audit.node_seal (
        node, number, sealed_at, system_identifier, from_snapshot, from_time, from_xid, from_id, to_snapshot, to_time,
        epoch, above_id, up_to_id, events, first_id, last_id, personal, root, previous, hash
    )
    values (
        node_name, new.number, new.sealed_at, new.system_identifier, new.from_snapshot, new.from_time, new.from_xid,
        new.from_id, new.to_snapshot, new.to_time, new.epoch, new.above_id, new.up_to_id, new.events, new.first_id,
        new.last_id, new.personal, new.root, new.previous, new.hash
    );
    if exists (select from audit.node_seal where node = node_name and number = new.number and hash <> new.hash)
        or new.previous <> all (array(select hash from audit.node_seal where node = node_name and number = new.number - 1))
            and exists (select from audit.node_seal where node = node_name and number = new.number - 1)
    then
        perform audit.record_broken_chain(node_name, new.number);
    end if;
    return null;
end
$$;

comment on function audit.receive_seal() is
    'Keeps a node''s seal in audit.node_seal. Whatever else arrives under its number is kept too, and tells: audit.node_rewritten.';

create or replace function audit.receive_seal_leaves()
returns trigger
language plpgsql
set enable_seqscan = off
set search_path = pg_catalog, pg_temp
as $$
declare
    node_name text := audit.applying_node();
begin
    if not exists (
        select
        from audit.node_seal_leaves as known
        where known.node = node_name and known.number = new.number and known.ids = new.ids and known.leaves = new.leaves
    )
    then
        insert into audit.node_seal_leaves (node, number, ids, leaves)
        values (node_name, new.number, new.ids, new.leaves);
    end if;
    return null;
end
$$;

comment on function audit.receive_seal_leaves() is 'Keeps the leaves of a node''s seal in audit.node_seal_leaves.';

create or replace function audit.receive_salt()
returns trigger
language plpgsql
set enable_seqscan = off
set search_path = pg_catalog, pg_temp
as $$
declare
    node_name text := audit.applying_node();
begin
    -- (A person who was erased there and came back has another; events of before are held to by the old one.)
    if not exists (select from audit.node_dead_salt where digest = pg_catalog.sha256(new.salt))
        and not exists (
            select
            from audit.node_salt
            where id = new.id and (node, kind, type, salt) = (node_name, new.kind, new.type, new.salt)
        )
    then
        insert into audit.node_salt (node, kind, type, id, salt)
        values (node_name, new.kind, new.type, new.id, new.salt);
    end if;
    return null;
end
$$;

comment on function audit.receive_salt() is 'Keeps a node''s salt in audit.node_salt, unless it was destroyed here.';

create or replace function audit.receive_erased_part()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if new.commitment is not null and new.redacted is not null then
        insert into audit.node_erased_part (node, event_id, part, here, commitment, redacted)
        select audit.applying_node(), new.event_id, new.part, false, new.commitment, new.redacted
        where not exists (
            select
            from audit.node_erased_part as known
            where (known.node, known.event_id, known.part) = (audit.applying_node(), new.event_id, new.part)
                and not known.here
                and (known.commitment, known.redacted) = (new.commitment, new.redacted)
        );
    end if;
    return null;
end
$$;

comment on function audit.receive_erased_part() is 'Keeps what a node says that an erased part was sealed as in audit.node_erased_part.';

create or replace function audit.receive_dropped_partition()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    node_name text := audit.applying_node();
begin
    -- What it drops once it is followed is here.
    if pg_catalog.current_setting('pgtrail.copies_to')::bigint > 0 then
        insert into audit.node_dropped (node, name, here, ids, told_by)
        values (node_name, new.name, false, new.ids, new.event_id)
        on conflict do nothing;
    end if;
    return null;
end
$$;

comment on function audit.receive_dropped_partition() is 'Keeps which events a node''s retention had dropped before it was copied in audit.node_dropped.';

create or replace function audit.replicated_tables()
returns table (relation regclass, receiver regproc)
language sql
stable
as $$
    values
        ('audit.event'::regclass, 'audit.receive_event'::regproc),
        ('audit.seal', 'audit.receive_seal'),
        ('audit.seal_leaves', 'audit.receive_seal_leaves'),
        ('audit.salt', 'audit.receive_salt'),
        ('audit.erased_part', 'audit.receive_erased_part'),
        ('audit.dropped_partition', 'audit.receive_dropped_partition')
$$;

comment on function audit.replicated_tables() is 'What a node publishes, and the function by which a hub takes it in.';

create or replace function audit.is_hub()
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select exists (
        select
        from pg_catalog.pg_trigger
        where tgrelid = 'audit.event'::pg_catalog.regclass
            and tgfoid = 'audit.receive_event'::pg_catalog.regproc
            and tgenabled = 'R'
    )
$$;

comment on function audit.is_hub() is 'Whether this database takes in the events of others.';

create or replace function audit.has_nodes()
returns boolean
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select exists (select from audit.node)
$$;

comment on function audit.has_nodes() is
    'Whether there may be events of other databases in this log: also of nodes that were removed, or in the copy of a hub.';

create or replace trigger refuse_change
    before update or delete on audit.node_seal
    for each row execute function audit.refuse_change();

create or replace trigger refuse_truncate
    before truncate on audit.node_seal
    for each statement execute function audit.refuse_change();

create or replace trigger refuse_change
    before update or delete on audit.node_seal_leaves
    for each row execute function audit.refuse_change();

create or replace trigger refuse_truncate
    before truncate on audit.node_seal_leaves
    for each statement execute function audit.refuse_change();

-- Whether a node's seals hold --------------------------------------------------------------------------------------

create or replace function audit.first_seal(p_node text, p_number bigint)
returns audit.seal
language sql
stable
as $$
    select row(
        number, sealed_at, system_identifier, from_snapshot, from_time, from_xid, from_id, to_snapshot, to_time, epoch, above_id,
        up_to_id, events, first_id, last_id, personal, root, previous, hash
    )::audit.seal
    from audit.node_seal
    where node = p_node and number = p_number
    order by arrival
    limit 1
$$;

comment on function audit.first_seal(text, bigint) is 'A node''s seal of a number: the one that arrived first, which holds; null: none has.';

create or replace function audit.first_leaves(p_node text, seal audit.seal)
returns audit.seal_leaves
language sql
stable
as $$
    select row(number, ids, leaves)::audit.seal_leaves
    from audit.node_seal_leaves
    where node = p_node and number = seal.number and audit.merkle_root(leaves) = seal.root
    order by arrival
    limit 1
$$;

comment on function audit.first_leaves(text, audit.seal) is
    'The leaves of a node''s seal: those that arrived first of those that have its root; null: none have.';

create or replace function audit.node_leaves(p_node text, seal audit.seal, sealed audit.seal_leaves)
returns table (event_id bigint, leaf bytea)
language sql
stable
as $$
    with was as (
        select place.id, pg_catalog.substr(sealed.leaves, (place.number::integer - 1) * 32 + 1, 32) as leaf
        from pg_catalog.unnest(sealed.ids) with ordinality as place (id, number)
    ),
    -- All but few of them at once: as they stand here, under a salt that arrived.
    plain as materialized (
        select
            event.node_id as id,
            audit.merkle_leaf(
                audit.event_text(
                    audit.as_recorded(event),
                    audit.commitment(actor_salt.salt, audit.actor_part(event)),
                    audit.commitment(rows_salt.salt, audit.rows_part(event))
                )
            ) as leaf
        from audit.sealed_events(seal, p_node) as event
        left join audit.node_salt as actor_salt
            on (actor_salt.node, actor_salt.kind, actor_salt.type, actor_salt.id) = (p_node, 'actor', event.actor_type, event.actor_id)
        left join audit.node_salt as rows_salt
            on (rows_salt.node, rows_salt.kind, rows_salt.type, rows_salt.id) = (p_node, 'resource', event.resource_type, event.resource_id)
            and event.resource_type = any (seal.personal)
    ),
    other as (
        select plain.id
        from plain
        left join was using (id)
        group by plain.id
        having pg_catalog.bool_and(plain.leaf is distinct from was.leaf)
    ),
    present as (
        select plain.id, plain.leaf
        from plain
        union all
        -- The others as anything that they may stand for.
        select event.node_id, audit.merkle_leaf(audit.event_text(audit.as_recorded(event), actor, rows))
        from other
        join audit.event on event.node = p_node and event.node_id = other.id
        cross join lateral audit.node_commitments(p_node, event, 'actor', seal.personal) as actor
        cross join lateral audit.node_commitments(p_node, event, 'rows', seal.personal) as rows
    )
    select distinct on (present.id) present.id, present.leaf
    from present
    left join was using (id)
    order by present.id, present.leaf is distinct from was.leaf
$$;

comment on function audit.node_leaves(text, audit.seal, audit.seal_leaves) is
    'The ids at the node of the events in a seal''s batch, each with its leaf hash as it is now: the sealed one, if it can be that.';

create or replace function audit.differing_node_leaves(p_node text, sealed audit.seal_leaves, present audit.seal_leaves)
returns table (event_id bigint, problem text)
language sql
stable
as $$
    select differing.*
    from audit.differing_leaves(
        sealed, present, (select range_agg(dropped.held) from (select unnest(ids) as held from audit.node_dropped where node = p_node) as dropped)
    ) as differing
    -- Erased here before it was sealed there: this hub's own seals have it.
    where not exists (
        select
        from audit.node_erased_part as erased
        where erased.node = p_node and erased.event_id = differing.event_id and erased.here and erased.commitment is null
    )
$$;

comment on function audit.differing_node_leaves(text, audit.seal_leaves, audit.seal_leaves) is
    'The events of a node whose leaf is not the sealed one, but for those that were dropped, there before they were copied or here.';

create or replace function audit.check_node_seal(p_node text, p_number bigint)
returns table (event_id bigint, problem text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    seal audit.seal := audit.first_seal(p_node, p_number);
    before audit.seal := audit.first_seal(p_node, p_number - 1);
    sealed audit.seal_leaves := audit.first_leaves(p_node, seal);
    present audit.seal_leaves;
begin
    if seal.number is null then
        return query values (null::bigint, 'it is missing');
        return;
    end if;
    return query
    select null::bigint, format('it was made again, with the hash %s: the node''s history was rewritten, or restored from a backup', encode(again.hash, 'hex'))
    from audit.node_seal as again
    where again.node = p_node and again.number = p_number and again.hash <> seal.hash
    order by again.arrival;

    return query select null::bigint, wrong from audit.wrong_in_chain(seal, before) as wrong;

    if sealed.number is null then
        return query values (null::bigint, 'its list of leaves was changed: it has another root');
    end if;

    select p_number, array_agg(hashed.event_id order by hashed.event_id), string_agg(hashed.leaf, '' order by hashed.event_id)
    into present
    from audit.node_leaves(p_node, seal, sealed) as hashed;
    if (present.ids, present.leaves) is distinct from (sealed.ids, sealed.leaves) then
        return query select * from audit.differing_node_leaves(p_node, sealed, present);
    end if;
    return query select * from audit.misdated_events(seal, p_node);
end
$$;

comment on function audit.check_node_seal(text, bigint) is
    'What does not match in a node''s seal: the seal itself (event_id null) or events of its batch, by their ids at the node. No rows: it holds.';

create or replace function audit.check_node(p_node text)
returns table (subject text, problem text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select format('node %s seal %s', p_node, missing), 'it is missing'
    from generate_series(1, (select max(number) from audit.node_seal where node = p_node)) as missing
    where not exists (select from audit.node_seal where node = p_node and number = missing);

    return query
    select format('event %s:%s', p_node, twice.node_id), 'there are two of it: the node''s history was rewritten, or restored from a backup'
    from (
        select event.node_id
        from audit.event
        where event.node = p_node
        group by event.node_id
        having count(*) > 1
    ) as twice;

    -- What a node says that it dropped, its events say too; unless that was dropped here since.
    return query
    select format('node %s partition %s', p_node, dropped.name), 'it is not what the event of its removal says'
    from audit.node_dropped as dropped
    where dropped.node = p_node
        and not dropped.here
        and not exists (
            select
            from audit.event
            where event.node = p_node
                and event.action = 'audit.partition_dropped'
                and event.resource_id = dropped.name
                and event.after ->> 'ids_sha256' = encode(sha256(convert_to(dropped.ids::text, 'UTF8')), 'hex')
        )
        and not exists (
            select
            from audit.node_dropped as here
            where here.node = p_node and here.here and here.ids @> dropped.told_by
        );

    return query select * from audit.uncovered_node_events(p_node);
end
$$;

comment on function audit.check_node(text) is
    'What does not match of a node beside its seals: gaps in the chain, ids that came twice, events that its seals leave out, partitions that were said to be dropped. No rows: it holds.';

create or replace function audit.uncovered_node_events(p_node text)
returns table (subject text, problem text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set work_mem = '64MB'
-- A plan that is kept knows no snapshot, and would read all of an index.
set plan_cache_mode = force_custom_plan
as $$
declare
    last audit.seal := audit.first_seal(p_node, (select max(number) from audit.node_seal where node = p_node));
    -- Whatever had a lower transaction has been sealed.
    sealed_below xid8 := pg_snapshot_xmin(case when last.up_to_id is null then last.to_snapshot else last.from_snapshot end);
    waiting record;
begin
    return query
    with covered as (
        select unnest((audit.first_leaves(p_node, audit.first_seal(p_node, known.number))).ids) as id
        from (select distinct number from audit.node_seal where node = p_node) as known
    )
    select format('event %s:%s', p_node, event.node_id), 'it is in no seal, though its transaction had ended when the last one was made'
    from audit.event
    where event.node = p_node
        and (event.node_xid < sealed_below or event.node_id < 1)
        and not exists (select from covered where covered.id = event.node_id)
    order by event.node_id;

    select count(*) as events, min(event.occurred_at) as since
    into waiting
    from audit.event
    where event.node = p_node
        and event.node_xid >= coalesce(sealed_below, '3')
        and event.occurred_at < now() - interval '1 day'
        -- (What was imported occurred when it says, and what was copied may have waited there.)
        and event.imported_from is null
        -- (Where nothing else is recorded, none is made for it.)
        and event.action <> 'audit.sealed'
        and (select added_at from audit.node where name = p_node) < now() - interval '1 day'
        and not exists (select from audit.node_seal_leaves as leaves where leaves.node = p_node and event.node_id = any (leaves.ids));
    if waiting.events > 0 then
        return query
        values (
            format('node %s seal %s', p_node, coalesce(last.number, 0) + 1),
            format('it has not arrived: %s events wait for it, the oldest since %s', waiting.events, audit.rfc3339(waiting.since))
        );
    end if;
end
$$;

comment on function audit.uncovered_node_events(text) is
    'Events of a node that none of its seals has, though they should: those of transactions that had ended, and those of more than a day ago.';

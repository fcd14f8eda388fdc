-- On a hub: events and seals of other databases are received by logical replication, and checked.
--
-- A subscription writes to audit.event, audit.seal and the others as if they were its own. These triggers, which fire for what
-- is replicated only, give an event its id in this log and store what verifies it in tables of nodes: the hub has seals
-- of its own. `pgtrail hub init` sets them up; elsewhere there are none.

create or replace function audit_internal.identify_node()
returns text
language plpgsql
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
            message = 'this hub received replicated events that are not from one of its nodes',
            hint = 'pgtrail hub add adds a node; to copy the hub itself, drop the triggers "receive" of the copy first.';
    end if;
    -- Kept for the lifetime of a worker that copies. Otherwise, from PostgreSQL 16 on, a worker loses after each row
    -- its settings: so this is called for each row, and does as little as possible.
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
    -- With the process id, so that a value set beforehand for the database or a role is ignored.
    perform set_config('pgtrail.node', pg_backend_pid() || ' ' || source.name, false);
    return source.name;
end
$$;

comment on function audit_internal.identify_node() is
    'Returns the node whose changes this session applies, and keeps it in the settings pgtrail.node, pgtrail.copies_above, pgtrail.copies_to (0: nothing is copied any more) and pgtrail.copies_again (whether some events may be here already). PT046.';

create or replace function audit_internal.source_node()
returns text
language sql
as $$
    select case
        when pg_catalog.split_part(pg_catalog.current_setting('pgtrail.node', true), ' ', 1) = pg_catalog.pg_backend_pid()::text
            then pg_catalog.split_part(pg_catalog.current_setting('pgtrail.node', true), ' ', 2)
        else audit_internal.identify_node()
    end
$$;

comment on function audit_internal.source_node() is
    'Returns the node whose changes this session applies; `-`: the hub''s own. PT046.';

create or replace function audit_internal.has_received(event audit.event, from_node text)
returns boolean
language sql
stable
-- A cached plan is made when there are few rows, and would later read all of them.
set enable_seqscan = off
as $$
    -- (An id that a restored node assigned again has another transaction or time.)
    select exists (
        select
        from audit.event as known
        where known.node = from_node
            and known.node_id = event.id
            -- (One transaction may have very many events, so the index of transactions is no help.)
            and known.node_xid is not distinct from event.xid
            and known.occurred_at = event.occurred_at
    )
$$;

comment on function audit_internal.has_received(audit.event, text) is 'Whether a node''s event, as received, is in this log already.';

create or replace function audit_internal.receive_event()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    copies_to bigint;
begin
    new.node := audit_internal.source_node();
    if new.node = '-' then
        -- The hub's own event about the node.
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
                audit_internal.has_received(new, new.node)
                -- Events that retention has dropped here are not received again.
                or exists (select from audit.node_dropped where node = new.node and here and ids @> new.node_id)
            )
        then
            return null;
        end if;
        new.xid := pg_catalog.pg_current_xact_id();
        -- Copied rows arrive in physical order.
        new.id := case
            when new.node_id <= copies_to then new.node_id + pg_catalog.current_setting('pgtrail.copies_above')::bigint
            else pg_catalog.nextval('audit.event_id_seq')
        end;
    end if;
    if audit_internal.should_notify() then
        notify pgtrail;
    end if;
    return new;
end
$$;

comment on function audit_internal.receive_event() is
    'Gives a node''s event its id in this log. Commits are applied in the order in which the node made them, so ids keep the order of each resource''s events.';

create or replace function audit_internal.record_broken_chain(p_node text, p_number bigint)
returns void
language plpgsql
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

comment on function audit_internal.record_broken_chain(text, bigint) is
    'Records as an event of the hub that a node''s seal does not follow those received before: destinations receive it at once.';

create or replace function audit_internal.receive_seal()
returns trigger
language plpgsql
set enable_seqscan = off
set search_path = pg_catalog, pg_temp
as $$
declare
    node_name text := audit_internal.source_node();
begin
    if exists (select from audit.node_seal where node = node_name and number = new.number and hash = new.hash) then
        return null;
    end if;
    -- (Its other columns are those of audit.seal.)
    insert into audit.node_seal values (node_name, clock_timestamp(), default, new.*);
    if exists (select from audit.node_seal where node = node_name and number = new.number and hash <> new.hash)
        or new.previous <> all (array(select hash from audit.node_seal where node = node_name and number = new.number - 1))
            and exists (select from audit.node_seal where node = node_name and number = new.number - 1)
    then
        perform audit_internal.record_broken_chain(node_name, new.number);
    end if;
    return null;
end
$$;

comment on function audit_internal.receive_seal() is
    'Stores a node''s seal in audit.node_seal. A different seal with the same number is stored too, and recorded as audit.node_rewritten.';

create or replace function audit_internal.receive_seal_leaves()
returns trigger
language plpgsql
set enable_seqscan = off
set search_path = pg_catalog, pg_temp
as $$
declare
    node_name text := audit_internal.source_node();
begin
    if not exists (
        select
        from audit.node_seal_leaves as known
        where known.node = node_name and known.number = new.number and known.ids = new.ids and known.leaves = new.leaves and known.secret = new.secret
    )
    then
        insert into audit.node_seal_leaves (node, number, ids, leaves, secret)
        values (node_name, new.number, new.ids, new.leaves, new.secret);
    end if;
    return null;
end
$$;

comment on function audit_internal.receive_seal_leaves() is 'Stores the leaves of a node''s seal in audit.node_seal_leaves.';

create or replace function audit_internal.receive_salt()
returns trigger
language plpgsql
set enable_seqscan = off
set search_path = pg_catalog, pg_temp
as $$
declare
    node_name text := audit_internal.source_node();
begin
    -- (A person who was erased there and came back has a new salt; earlier events keep the old one.)
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

comment on function audit_internal.receive_salt() is 'Stores a node''s salt in audit.node_salt, unless it was destroyed here.';

create or replace function audit_internal.receive_erased_part()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if new.commitment is not null and new.redacted is not null then
        insert into audit.node_erased_part (node, event_id, part, here, commitment, redacted, salt)
        select audit_internal.source_node(), new.event_id, new.part, false, new.commitment, new.redacted, new.salt
        where not exists (
            select
            from audit.node_erased_part as known
            where (known.node, known.event_id, known.part) = (audit_internal.source_node(), new.event_id, new.part)
                and not known.here
                and (known.commitment, known.redacted) = (new.commitment, new.redacted)
                and known.salt is not distinct from new.salt
        );
    end if;
    return null;
end
$$;

comment on function audit_internal.receive_erased_part() is 'Stores in audit.node_erased_part what a node says an erased part was sealed as.';

create or replace function audit_internal.receive_dropped_partition()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    node_name text := audit_internal.source_node();
begin
    -- Partitions dropped after that hold events that are here.
    if pg_catalog.current_setting('pgtrail.copies_to')::bigint > 0 then
        insert into audit.node_dropped (node, name, here, ids, reported_by)
        values (node_name, new.name, false, new.ids, new.event_id)
        on conflict do nothing;
    end if;
    return null;
end
$$;

comment on function audit_internal.receive_dropped_partition() is 'Stores in audit.node_dropped which events a node''s retention had dropped before they were copied.';

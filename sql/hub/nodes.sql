-- On a hub: a node is added, stopped and removed, and how far each has got.

create or replace function audit_internal.register_node(
    p_name text, p_system_identifier bigint, p_timeline integer, p_last_id bigint
)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    -- More events may be recorded there before the copy begins.
    copies_to bigint := p_last_id + 100000;
    above bigint;
begin
    perform audit_internal.check_is_hub();
    if copies_to not between 1 and 1000000000000 then
        raise exception using
            errcode = 'PT048',
            message = format('its last event can''t be number %s', p_last_id),
            hint = 'It is taken from the sequence audit.event_id_seq of the node: look at it there.';
    end if;
    -- Two at once would reserve the same ids. Events recorded meanwhile get ids below them.
    lock table audit.node in share row exclusive mode;
    above := nextval('audit.event_id_seq') + 100000;
    perform setval('audit.event_id_seq', above + copies_to);
    insert into audit.node (
        name, subscription, system_identifier, timeline, copies_above, copies_to, hub_system_identifier, hub_timeline
    )
    values (
        p_name, audit_internal.subscription_oid(p_name), p_system_identifier, p_timeline, above, copies_to,
        audit_internal.system_identifier(), audit_internal.timeline()
    )
    on conflict (name) do update
    set subscription = excluded.subscription,
        system_identifier = excluded.system_identifier,
        timeline = excluded.timeline,
        copies_above = excluded.copies_above,
        copies_to = excluded.copies_to,
        hub_system_identifier = excluded.hub_system_identifier,
        hub_timeline = excluded.hub_timeline,
        added_at = excluded.added_at,
        removed_at = null;
end
$$;

comment on function audit_internal.register_node(text, bigint, integer, bigint) is
    'Stores a node, its subscription (found by name) and the ids reserved for copied events: part of audit.add_node(). PT048.';

create or replace function audit_internal.unregister_node(p_name text)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update audit.node
    set subscription = null, removed_at = clock_timestamp()
    where name = p_name and subscription is not null;
    if not found then
        raise exception using
            errcode = 'PT048',
            message = format('there is no node "%s"', left(p_name, 100)),
            hint = 'pgtrail status lists them.';
    end if;
end
$$;

comment on function audit_internal.unregister_node(text) is 'Stores that a node was removed: part of audit.remove_node(). PT048.';

create or replace function audit_internal.subscription_oid(p_node text)
returns oid
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select subscription.oid
    from pg_catalog.pg_subscription as subscription
    where subscription.subname = audit_internal.subscription_name(p_node)
        and subscription.subdbid = (
            select database.oid from pg_catalog.pg_database as database where database.datname = pg_catalog.current_database()
        )
$$;

comment on function audit_internal.subscription_oid(text) is 'Returns the oid of this database''s subscription to a node; null if there is none.';

create or replace function audit.add_node(
    p_name text, p_conninfo text, p_system_identifier bigint, p_timeline integer, p_last_id bigint
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
begin
    -- (Not enabled yet: its workers start once the node is registered.)
    begin
        execute format(
            'create subscription %I connection %L publication pgtrail '
            'with (create_slot = false, slot_name = %L, enabled = false, copy_data = true, streaming = on)',
            audit_internal.subscription_name(p_name), p_conninfo, audit_internal.slot_name(p_name)
        );
    exception
        when others then
            -- Raised again without its context, which is the statement with the password.
            raise exception using errcode = sqlstate, message = sqlerrm;
    end;
    perform audit_internal.register_node(p_name, p_system_identifier, p_timeline, p_last_id);
    execute format('alter subscription %I enable', audit_internal.subscription_name(p_name));
end
$$;

comment on function audit.add_node(text, text, bigint, integer, bigint) is
    'Subscribes to a node that has been published to this hub: its events are copied, then new ones follow. Events that are here already are not copied again. Runs as its caller, who needs the right to create subscriptions, in one transaction.';

create or replace function audit_internal.current_slot_name(p_node text)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    -- (After an upgrade of the cluster, audit_internal.slot_name() would give another name.)
    select coalesce(
        (select subslotname::text from pg_catalog.pg_subscription where oid = audit_internal.subscription_oid(p_node)), audit_internal.slot_name(p_node)
    )
$$;

comment on function audit_internal.current_slot_name(text) is 'Returns the name of the slot and role at a node that is followed, or would be.';

create or replace function audit_internal.stop_node(p_name text)
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
begin
    if audit_internal.subscription_oid(p_name) is not null then
        execute format('alter subscription %I disable', audit_internal.subscription_name(p_name));
    end if;
    return audit_internal.current_slot_name(p_name);
end
$$;

comment on function audit_internal.stop_node(text) is
    'Disables the subscription to a node. Called in a separate transaction before audit.remove_node(), so that no worker restarts meanwhile. Returns the name of the slot and role at the node.';

create or replace function audit.remove_node(p_name text)
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
declare
    subscription_name text := audit_internal.subscription_name(p_name);
    slot text := audit_internal.current_slot_name(p_name);
begin
    perform audit_internal.unregister_node(p_name);
    if audit_internal.subscription_oid(p_name) is not null then
        execute format('alter subscription %I disable', subscription_name);
        -- The node may be unreachable: its slot is dropped there.
        execute format('alter subscription %I set (slot_name = none)', subscription_name);
        execute format('drop subscription %I', subscription_name);
    end if;
    return slot;
end
$$;

comment on function audit.remove_node(text) is
    'Ends the subscription to a node; its events stay. Returns the name of the slot and role that remain at the node: audit.unpublish() drops them there. PT048.';

create or replace function audit_internal.node_state()
returns table (
    name text, state text, last_id bigint, last_occurred_at timestamptz, last_seal bigint,
    last_seal_hash text, last_seal_at timestamptz, slot_name text, system_identifier bigint, timeline integer, broken_seal bigint,
    hub_changed boolean, published text[]
)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select
        node.name,
        case
            when node.subscription is null then 'removed'
            when subscription.oid is null then 'without its subscription'
            when not subscription.subenabled then 'disabled'
            when not exists (select from pg_stat_subscription as worker where worker.subid = subscription.oid and worker.relid is null and worker.pid is not null) then
                'stopped'
            when exists (
                select from pg_subscription_rel as copied where copied.srsubid = subscription.oid and copied.srsubstate not in ('r', 's')
            )
            then 'copying'
            else 'streaming'
        end,
        last_event.node_id,
        last_event.occurred_at,
        last_seal.number,
        encode(last_seal.hash, 'hex'),
        last_seal.sealed_at,
        coalesce(subscription.subslotname::text, audit_internal.slot_name(node.name)),
        node.system_identifier,
        node.timeline,
        node.broken_seal,
        (node.hub_system_identifier, node.hub_timeline) is distinct from (audit_internal.system_identifier(), audit_internal.timeline()),
        (select array_agg(replicated.relation::text order by 1) from audit_internal.replicated_tables() as replicated)
    from audit.node
    left join pg_subscription as subscription on subscription.oid = node.subscription
    left join lateral (
        select event.node_id, event.occurred_at
        from audit.event
        where event.node = node.name
        order by event.node_id desc
        limit 1
    ) as last_event on true
    left join lateral (
        select seal.number, seal.hash, seal.sealed_at
        from audit.node_seal as seal
        where seal.node = node.name
        order by seal.number desc, seal.arrival
        limit 1
    ) as last_seal on true
    order by node.name
$$;

comment on function audit_internal.node_state() is
    'Each node as this hub sees it: whether its subscription is `copying`, `streaming`, `stopped` (it failed, or starts anew: the server''s log says why), `disabled` or `removed`, and what arrived last.';

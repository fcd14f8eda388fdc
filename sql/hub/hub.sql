-- One log over many databases: each is a node that publishes what it records, and a hub subscribes to all of them.
--
-- The transport is Postgres' own logical replication. docs/hub.md says how it is operated.

create or replace function audit_internal.subscription_name(p_node text)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    select 'pgtrail_' || p_node
$$;

comment on function audit_internal.subscription_name(text) is 'What a hub calls its subscription to a node.';

create or replace function audit_internal.slot_name(p_node text)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    -- Of two hubs, in two clusters or in one, each has its own. At most 51 of the 63 characters that a slot's name may have.
    select 'pgtrail_' || p_node || '_' || pg_catalog.left(
        pg_catalog.md5(
            audit_internal.system_identifier() || ' ' || (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
        ),
        12
    )
$$;

comment on function audit_internal.slot_name(text) is
    'What this hub calls its replication slot at a node, and the role by which it connects: the node''s name, and 12 digits that stand for this database.';

create or replace function audit_internal.timeline()
returns integer
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    -- The first part of a WAL file's name, in hexadecimal digits; of a standby nobody can say so.
    select case
        when not pg_catalog.pg_is_in_recovery() then
            ('x' || pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))::bit(32)::integer
    end
$$;

comment on function audit_internal.timeline() is 'The timeline of this cluster: a promotion, or a restore from a backup, begins another. Null: it is a standby.';

-- On a hub ---------------------------------------------------------------------------------------------------------

create or replace function audit_internal.hub_problems()
returns table (problem text, hint text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    -- A node takes a worker and an origin, and one more of each for every table that is being copied: two, unless somebody
    -- raised max_sync_workers_per_subscription.
    select
        pg_catalog.format('its %s is %s, and its nodes need %s', wanted.setting, present.value, wanted.least),
        pg_catalog.format('set %s = %s or more, and restart the server', wanted.setting, wanted.least)
    from (select count(*) + 1 from audit.node where removed_at is null) as following (nodes)
    cross join lateral (values
        ('max_logical_replication_workers', following.nodes + 1),
        ('max_worker_processes', following.nodes + 3),
        (
            case
                when pg_catalog.current_setting('server_version_num')::integer < 180000 then 'max_replication_slots'
                else 'max_active_replication_origins'
            end,
            following.nodes + 2
        )
    ) as wanted (setting, least)
    cross join lateral (select pg_catalog.current_setting(wanted.setting)::bigint as value) as present
    where present.value < wanted.least
    union all
    select pg_catalog.format('role %s may not make subscriptions', pg_catalog.quote_ident(current_user)),
        'connect as a superuser or, from PostgreSQL 16 on, as a member of pg_create_subscription and audit_owner'
    where not (select rolsuper from pg_catalog.pg_roles where rolname = current_user)
        and not exists (
            select
            from pg_catalog.pg_roles
            where rolname = 'pg_create_subscription' and pg_catalog.pg_has_role(current_user, pg_roles.oid, 'usage')
        )
$$;

comment on function audit_internal.hub_problems() is 'What keeps this database from following one more node, and how to fix it. No rows: nothing does.';

create or replace function audit.init_hub()
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    replicated record;
begin
    if audit_internal.is_hub() then
        return false;
    end if;
    -- They fire for what is replicated, and for nothing else.
    for replicated in select * from audit_internal.replicated_tables()
    loop
        execute format(
            'create or replace trigger receive before insert on %s for each row execute function %s()',
            replicated.relation, replicated.receiver
        );
        execute format('alter table %s enable replica trigger receive', replicated.relation);
    end loop;
    create index if not exists event_node on audit.event (node, node_id);
    create index if not exists event_node_xid on audit.event (node, node_xid);
    perform audit.record('audit.hub_made', 'hub', current_database(), current_database(), null, null);
    return true;
end
$$;

comment on function audit.init_hub() is
    'Makes this database a hub: sets up the triggers that take in what nodes publish, and the indexes by which a node''s events are found. Whether it was none before. It locks the log while the indexes are built.';

create or replace function audit_internal.check_is_hub()
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if not audit_internal.is_hub() then
        raise exception using
            errcode = 'PT048',
            message = format('database "%s" is no hub', current_database()),
            hint = 'Make it one with: pgtrail hub init';
    end if;
end
$$;

comment on function audit_internal.check_is_hub() is 'Raises PT048 unless this database is a hub.';

create or replace function audit_internal.published_columns()
returns text[]
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select array(
        select replicated.relation::text || '.' || column_of.attname
        from audit_internal.replicated_tables() as replicated
        join pg_catalog.pg_attribute as column_of on column_of.attrelid = replicated.relation
        where column_of.attnum > 0 and not column_of.attisdropped
    )
$$;

comment on function audit_internal.published_columns() is 'What a node publishes: `audit.event.id` and so on. A hub has to have all of them.';

create or replace function audit_internal.check_new_node(p_name text, p_hashes jsonb, p_columns text[])
returns void
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    known audit.node := (select node from audit.node where name = p_name);
    last record;
begin
    perform audit_internal.check_is_hub();
    if p_name !~ '^[a-z][a-z0-9_]{0,29}$' then
        raise exception using
            errcode = 'PT048',
            message = format('"%s" is no name for a node', left(p_name, 100)),
            hint = 'Lower-case letters, digits and underscores, 30 at most, a letter first: eu1.';
    elsif known.subscription is not null then
        raise exception using
            errcode = 'PT048',
            message = format('there is a node "%s" already', p_name),
            hint = 'pgtrail status shows it; pgtrail hub remove removes it.';
    end if;
    p_columns := array(select unnest(p_columns) except select unnest(audit_internal.published_columns()) order by 1);
    if p_columns <> '{}' then
        raise exception using
            errcode = 'PT048',
            message = format('the node has a later version of pgtrail: this hub has no %s', p_columns[1]),
            hint = 'Upgrade the hub first, then its nodes: pgtrail migrate';
    end if;
    select number, encode(hash, 'hex') as hash
    into last
    from audit.node_seal
    where node = p_name
    order by number desc, arrival
    limit 1;
    if last.number is not null and p_hashes ->> last.number::text is distinct from last.hash then
        raise exception using
            errcode = 'PT048',
            message = format('this is not the database that was node "%s": it has not the seal %s that this hub received', p_name, last.number),
            hint = 'Another database, or one that was restored from a backup, is added under a name of its own: its events are called by it.';
    end if;
end
$$;

comment on function audit_internal.check_new_node(text, jsonb, text[]) is
    'Raises PT048 unless a database can be added under this name: a new one, or the one that had it, which has the last seal that arrived. p_hashes: the hashes of its seals, hex, by number; p_columns: its audit_internal.published_columns().';

create or replace function audit_internal.last_received_seal(p_name text)
returns bigint
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select max(number) from audit.node_seal where node = p_name
$$;

comment on function audit_internal.last_received_seal(text) is 'The number of the last seal that arrived from a node; null: none has.';

create or replace function audit_internal.prepare_for_node(p_first_time timestamptz)
returns integer
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
set timezone = 'UTC'
as $$
    -- (What is older was imported, or is wrong: the default partition takes it.)
    select audit_internal.make_past_partitions(
        array(
            select generate_series(
                date_trunc('month', greatest(p_first_time, now() - interval '10 years')), now(), interval '1 month'
            )
        )
    )
$$;

comment on function audit_internal.prepare_for_node(timestamptz) is
    'Makes the partitions for what a node holds since that time. How many. In a transaction of its own: audit.add_node() waits for the node.';

create or replace function audit_internal.register_node(
    p_name text, p_system_identifier bigint, p_timeline integer, p_last_id bigint
)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    -- More may be recorded there before the copy begins.
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
    -- Two at once would set aside the same ids. Whoever records meanwhile takes one below them.
    lock table audit.node in share row exclusive mode;
    above := nextval('audit.event_id_seq') + 100000;
    perform setval('audit.event_id_seq', above + copies_to);
    insert into audit.node (
        name, subscription, system_identifier, timeline, copies_above, copies_to, hub_system_identifier, hub_timeline
    )
    values (
        p_name, audit_internal.own_subscription(p_name), p_system_identifier, p_timeline, above, copies_to,
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
    'Notes a node, its subscription (by its name) and the ids that what is copied gets: part of audit.add_node(). PT048.';

create or replace function audit_internal.unregister_node(p_name text)
returns void
language plpgsql
volatile
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

comment on function audit_internal.unregister_node(text) is 'Notes that a node was removed: part of audit.remove_node(). PT048.';

create or replace function audit_internal.own_subscription(p_node text)
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

comment on function audit_internal.own_subscription(text) is 'The subscription of this database to a node, by its name; null: there is none.';

create or replace function audit.add_node(
    p_name text, p_conninfo text, p_system_identifier bigint, p_timeline integer, p_last_id bigint
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
begin
    -- (Not enabled yet: its workers do not start before the node is known.)
    begin
        execute format(
            'create subscription %I connection %L publication pgtrail '
            'with (create_slot = false, slot_name = %L, enabled = false, copy_data = true, streaming = on)',
            audit_internal.subscription_name(p_name), p_conninfo, audit_internal.slot_name(p_name)
        );
    exception
        when others then
            -- Anew, since the context of what failed is the statement, with the password in it.
            raise exception using errcode = sqlstate, message = sqlerrm;
    end;
    perform audit_internal.register_node(p_name, p_system_identifier, p_timeline, p_last_id);
    execute format('alter subscription %I enable', audit_internal.subscription_name(p_name));
end
$$;

comment on function audit.add_node(text, text, bigint, integer, bigint) is
    'Subscribes to a node that has been published to this hub: what it holds is copied, then what it records follows. What is here already is not copied again. As whoever calls it, who may make subscriptions; in one transaction.';

create or replace function audit_internal.present_slot(p_node text)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    -- (Of a cluster that was upgraded the name would be another now.)
    select coalesce(
        (select subslotname::text from pg_catalog.pg_subscription where oid = audit_internal.own_subscription(p_node)), audit_internal.slot_name(p_node)
    )
$$;

comment on function audit_internal.present_slot(text) is 'What the slot and the role at a node are called that is followed, or would be called.';

create or replace function audit_internal.stop_node(p_name text)
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
begin
    if audit_internal.own_subscription(p_name) is not null then
        execute format('alter subscription %I disable', audit_internal.subscription_name(p_name));
    end if;
    return audit_internal.present_slot(p_name);
end
$$;

comment on function audit_internal.stop_node(text) is
    'Disables the subscription to a node. What is called, in a transaction of its own, before audit.remove_node(), so that nothing begins anew meanwhile. The name of the slot and role at the node.';

create or replace function audit.remove_node(p_name text)
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
declare
    subscription_name text := audit_internal.subscription_name(p_name);
    slot text := audit_internal.present_slot(p_name);
begin
    perform audit_internal.unregister_node(p_name);
    if audit_internal.own_subscription(p_name) is not null then
        execute format('alter subscription %I disable', subscription_name);
        -- The node may be gone: its slot is dropped there.
        execute format('alter subscription %I set (slot_name = none)', subscription_name);
        execute format('drop subscription %I', subscription_name);
    end if;
    return slot;
end
$$;

comment on function audit.remove_node(text) is
    'Ends the subscription to a node; its events stay. The name of the slot and role that are left at the node: audit.unpublish() drops them there. PT048.';

create or replace function audit_internal.node_state()
returns table (
    name text, state text, last_id bigint, last_occurred_at timestamptz, last_seal bigint,
    last_seal_hash text, last_seal_at timestamptz, slot_name text, system_identifier bigint, timeline integer, broken_seal bigint,
    hub_moved boolean, published text[]
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

-- At a node --------------------------------------------------------------------------------------------------------

create or replace function audit_internal.node_problems()
returns table (problem text, hint text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select 'wal_level is ' || pg_catalog.current_setting('wal_level'), 'set wal_level = logical, and restart the server'
    where pg_catalog.current_setting('wal_level') <> 'logical'
    union all
    select 'it has no replication slot left', 'raise max_replication_slots, and restart the server'
    where (select count(*) from pg_catalog.pg_replication_slots) + 2 > pg_catalog.current_setting('max_replication_slots')::integer
    union all
    select 'it has no WAL sender left', 'raise max_wal_senders, and restart the server'
    where (select count(*) from pg_catalog.pg_stat_replication) + 2 > pg_catalog.current_setting('max_wal_senders')::integer
    union all
    select 'it is a standby', 'add its primary'
    where pg_catalog.pg_is_in_recovery()
    union all
    select 'it is a hub itself', 'add its nodes to this hub'
    where audit_internal.is_hub()
    union all
    select pg_catalog.format('role %s may not make publications, roles and slots there', pg_catalog.quote_ident(current_user)),
        'give --dsn for a superuser; the hub itself gets a role that may only read what is published'
    where not (select rolsuper from pg_catalog.pg_roles where rolname = current_user)
$$;

comment on function audit_internal.node_problems() is 'What keeps this database from being a node, and how to fix it. No rows: nothing does.';

create or replace function audit.publish(p_role text, p_password text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
begin
    -- Inserts alone: what is recorded does not change, and what somebody changes all the same is not to reach the hub.
    if not exists (select from pg_publication where pubname = 'pgtrail') then
        execute format(
            'create publication pgtrail for table %s with (publish = ''insert'', publish_via_partition_root = true)',
            (select string_agg(relation::text, ', ') from audit_internal.replicated_tables())
        );
    end if;
    execute format('create role %I login replication connection limit 10 password %L', p_role, p_password);
    execute format('grant audit_hub to %I', p_role);
    perform audit.record('audit.published', 'hub', p_role, null, null, null);
end
$$;

comment on function audit.publish(text, text) is
    'Lets a hub subscribe: makes the publication, and a role (a slot has the same name) that may replicate, and read what is published and nothing else. As a superuser. 42710: the role is there already.';

create or replace function audit.unpublish(p_role text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
begin
    perform pg_terminate_backend(active_pid, 10000) from pg_replication_slots where slot_name = p_role and active_pid is not null;
    perform pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = p_role;
    if exists (select from pg_roles where rolname = p_role) then
        execute format('drop role %I', p_role);
    end if;
    if not exists (
        select
        from pg_replication_slots
        where database = current_database() and plugin = 'pgoutput' and starts_with(slot_name, 'pgtrail_')
    )
    then
        drop publication if exists pgtrail;
    end if;
    perform audit.record('audit.unpublished', 'hub', p_role, null, null, null);
end
$$;

comment on function audit.unpublish(text) is
    'Takes audit.publish() back: drops the hub''s slot, with what it holds of the write-ahead log, and its role. As a superuser.';

create or replace function audit_internal.published_since(p_id bigint, p_most integer default 100000)
returns table (events bigint, first_occurred_at timestamptz)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select count(*), min(waiting.occurred_at)
    from (
        select event.occurred_at
        from audit.event
        where event.id > p_id
        limit p_most
    ) as waiting
$$;

comment on function audit_internal.published_since(bigint, integer) is
    'How many events have a higher id, counted no further than p_most, and when the first of them occurred: what a hub that has got so far lacks.';

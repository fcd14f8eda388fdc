-- One log over many databases: each is a node that publishes what it records, and a hub subscribes to all of them.
--
-- The transport is Postgres' own logical replication. docs/operate/hub.md says how it is operated.

create or replace function audit_internal.subscription_name(p_node text)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    select 'pgtrail_' || p_node
$$;

comment on function audit_internal.subscription_name(text) is 'Returns the name of a hub''s subscription to a node.';

create or replace function audit_internal.slot_name(p_node text)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    -- Different for each hub, also for two in one cluster. At most 51 of the 63 characters of a slot's name.
    select 'pgtrail_' || p_node || '_' || pg_catalog.left(
        pg_catalog.md5(
            audit_internal.system_identifier() || ' ' || (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
        ),
        12
    )
$$;

comment on function audit_internal.slot_name(text) is
    'Returns the name of this hub''s replication slot at a node, and of the role by which it connects: the node''s name and 12 digits that identify this database.';

create or replace function audit_internal.timeline()
returns integer
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    -- The first part of a WAL file's name, in hexadecimal digits; a standby has none.
    select case
        when not pg_catalog.pg_is_in_recovery() then
            ('x' || pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))::bit(32)::integer
    end
$$;

comment on function audit_internal.timeline() is 'Returns the timeline of this cluster: a promotion, or a restore from a backup, begins a new one. Null on a standby.';

-- On a hub ---------------------------------------------------------------------------------------------------------

create or replace function audit_internal.hub_problems()
returns table (problem text, hint text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    -- A node needs a worker and an origin, and one more of each for every table that is being copied: two by
    -- default (max_sync_workers_per_subscription).
    select
        pg_catalog.format('its %s is %s, and its nodes need %s', wanted.setting, present.value, wanted.minimum),
        pg_catalog.format('set %s = %s or more, and restart the server', wanted.setting, wanted.minimum)
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
    ) as wanted (setting, minimum)
    cross join lateral (select pg_catalog.current_setting(wanted.setting)::bigint as value) as present
    where present.value < wanted.minimum
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

comment on function audit_internal.hub_problems() is 'Returns what prevents this database from following one more node, and how to fix it. No rows: nothing does.';

create or replace function audit.init_hub()
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    replicated record;
begin
    if audit_internal.is_hub() then
        return false;
    end if;
    -- They fire for replicated changes only.
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
    'Makes this database a hub: sets up the triggers that receive what nodes publish, and the indexes that find a node''s events. Returns whether it was not a hub before. It locks the log while the indexes are built.';

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
            message = format('database "%s" is not a hub', current_database()),
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

comment on function audit_internal.published_columns() is 'Returns the columns that a node publishes: `audit.event.id` and so on. A hub has to have all of them.';

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
            message = format('invalid node name "%s"', left(p_name, 100)),
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
            message = format('this is not the database that was node "%s": it does not have seal %s, which this hub received', p_name, last.number),
            hint = 'Another database, or one that was restored from a backup, is added under a new name, which identifies its events.';
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

comment on function audit_internal.last_received_seal(text) is 'Returns the number of the last seal that arrived from a node; null if none has.';

create or replace function audit_internal.make_node_partitions(p_first_time timestamptz)
returns integer
language sql
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
set timezone = 'UTC'
as $$
    -- (Older events were imported, or have a wrong time: they go to the default partition.)
    select audit_internal.make_missing_partitions(
        array(
            select generate_series(
                date_trunc('month', greatest(p_first_time, now() - interval '10 years')), now(), interval '1 month'
            )
        )
    )
$$;

comment on function audit_internal.make_node_partitions(timestamptz) is
    'Makes the partitions for a node''s events since that time. Returns how many. Called in a separate transaction, since audit.add_node() waits for the node.';

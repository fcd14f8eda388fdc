-- At a node: what it publishes to its hub.

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

comment on function audit_internal.node_problems() is 'Returns what prevents this database from being a node, and how to fix it. No rows: nothing does.';

create or replace function audit.publish(p_role text, p_password text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
begin
    -- Inserts only: recorded events don't change, and a tampered one must not reach the hub.
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
    'Reverts audit.publish(): drops the hub''s slot, with the write-ahead log it retains, and its role. As a superuser.';

create or replace function audit_internal.count_published_since(p_id bigint, p_max_count integer default 100000)
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
        limit p_max_count
    ) as waiting
$$;

comment on function audit_internal.count_published_since(bigint, integer) is
    'Counts the events with a higher id, up to p_max_count, with the time of the first: what a hub that has received events up to p_id lacks.';

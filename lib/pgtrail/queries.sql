-- What the library asks the database.

-- name: settings
-- Names, operators and types are Postgres' own, and texts look the same, whatever the server, the database, the role or the
-- environment have set. For this transaction alone: behind a transaction pooler the next one may be somebody else's.
set local search_path = pg_catalog, pg_temp;
set local datestyle = 'ISO';
set local intervalstyle = 'postgres';
set local standard_conforming_strings = on;
set local bytea_output = 'hex';
set local extra_float_digits = 1;
set local array_nulls = on;
set local transform_null_equals = off;
set local quote_all_identifiers = off;
set local row_security = on

-- name: named_table
-- (Under the settings of the session: a name is looked for where psql would, and nothing else is.)
select pg_catalog.to_regclass(%(name)s::pg_catalog.text)::pg_catalog.oid

-- name: owner_of
-- Of a table that is not the present role's; no row: it is, or a superuser's, or the name has no schema.
select quote_ident(owner.rolname), quote_ident(current_user), current_setting('server_version_num')::integer >= 160000
from pg_class
join pg_namespace on pg_namespace.oid = pg_class.relnamespace
join pg_roles as owner on owner.oid = pg_class.relowner
where array[nspname, relname]::text[] = parse_ident(%(name)s, false)
    and not owner.rolsuper
    and not pg_has_role(owner.oid, 'usage')

-- name: migration_obstacles
-- (In ASCII: a database in another encoding must be able to read it.)
-- (Another tool for the same purpose may have a schema of the same name.)
select
    format('this database''s encoding is %s, and pgtrail needs UTF8: what events hold is Unicode', current_setting('server_encoding')),
    'dump it, and restore it into one made with: create database NAME encoding ''UTF8'' template template0'
where current_setting('server_encoding') <> 'UTF8'
union all
select
    format(
        'this database has a schema %s that is not pgtrail''s%s', nspname, ' (it has ' || string_agg(relname, ', ' order by relname) || ')'
    ),
    'pgtrail needs that name: docs/dba/coming-from.md moves another tool''s schema out of the way without a gap'
from pg_namespace
left join pg_class on relnamespace = pg_namespace.oid and relkind in ('r', 'p')
where nspname in ('audit', 'audit_internal') and pg_get_userbyid(nspowner) <> 'audit_owner'
group by nspname

-- name: bookkeeping_obstacles
-- yoyo looks its names up there: a function or a trigger of the schema's owner would run as who migrates.
select
    format('the schema pgtrail_meta belongs to %s, whose code would run as this role', nspowner::regrole),
    format('run pgtrail migrate as %s; or, where pgtrail was never installed, drop that schema', nspowner::regrole)
from pg_namespace
join pg_roles as owner on owner.oid = nspowner
join pg_roles as present on present.rolname = current_user
where nspname = 'pgtrail_meta'
    and not owner.rolsuper
    and owner.oid <> present.oid
    and (present.rolsuper or not pg_has_role(owner.oid, 'usage'))

-- name: record_installation
insert into audit.installation (files_hash, version)
values (%(files_hash)s, %(version)s)
on conflict (only_row) do update
set files_hash = excluded.files_hash, version = excluded.version, installed_at = now()

-- name: standing_as_owner
select
    quote_ident(present.rolname),
    present.rolsuper
        or (
            pg_has_role(owner.oid, 'usage')
            and pg_has_role(owner.oid, case when version.has_options then 'set' else 'usage' end)
        ),
    (not version.has_options and present.rolcreaterole) or pg_has_role(owner.oid, 'member with admin option'),
    version.has_options,
    array(
        select quote_ident(member.rolname)
        from pg_auth_members
        join pg_roles as member on member.oid = pg_auth_members.member
        where roleid = owner.oid and admin_option and not member.rolsuper
        order by member.rolname
    )
from pg_roles as owner
join pg_roles as present on present.rolname = current_user
cross join (select current_setting('server_version_num')::integer >= 160000) as version (has_options)
where owner.rolname = 'audit_owner'

-- name: drop_adoption_code
do $$
declare
    functions text := (
        select string_agg(pg_proc.oid::regprocedure::text, ', ')
        from pg_proc
        where pronamespace = pg_my_temp_schema() and xmin = pg_current_xact_id()::xid
    );
begin
    execute concat('drop function ', functions);
end
$$

-- name: hub_problems
select problem, hint
from audit_internal.hub_problems()

-- name: node_problems
select problem, hint
from audit_internal.node_problems()

-- name: node_identity
select
    audit_internal.system_identifier(),
    audit_internal.timeline(),
    (select last_value from audit.event_id_seq),
    (select min(occurred_at) from audit.event),
    audit_internal.published_columns(),
    coalesce(
        (select jsonb_build_object(number::text, encode(hash, 'hex')) from audit.seal where number = %(seal)s), '{}'
    )

-- name: log_no_password
select set_config('log_statement', 'none', true), set_config('log_min_duration_statement', '-1', true)
where (select rolsuper from pg_roles where rolname = current_user)

-- name: end_replication
select pg_terminate_backend(pid)
from pg_stat_activity
where usename = %(role)s

-- name: node_state
select *
from audit_internal.node_state()

-- name: node_conninfo
select subconninfo
from pg_subscription
where oid = (select subscription from audit.node where name = %(name)s)

-- name: inspect_node
-- Run by the hub's role at the node: reads its tables and pg_catalog, and calls no function of its database.
select
    (select system_identifier from pg_control_system()) as system_identifier,
    case when not pg_is_in_recovery() then
        ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer
    end as timeline,
    waiting.events,
    extract(epoch from clock_timestamp() - waiting.first_occurred_at)::double precision as seconds,
    (select max(id) from audit.event) as last_id,
    (select encode(hash, 'hex') from audit.seal where number = %(seal)s) as seal_hash,
    -- (A seal that was made longer ago than it takes to arrive.)
    (select max(number) from audit.seal where sealed_at < clock_timestamp() - interval '10 minutes') as last_seal,
    (
        select array_agg(quote_ident(schemaname) || '.' || quote_ident(tablename) order by 1)
        from pg_publication_tables
        where pubname = 'pgtrail'
            and rowfilter is null
            and (select pubinsert and pubviaroot from pg_publication where pg_publication.pubname = 'pgtrail')
            and cardinality(attnames) = (
                select count(*)
                from pg_attribute
                where attrelid = format('%%I.%%I', schemaname, tablename)::regclass and attnum > 0 and not attisdropped
            )
    ) as published,
    slot.wal_status,
    case when not pg_is_in_recovery() then pg_wal_lsn_diff(pg_current_wal_lsn(), slot.restart_lsn)::bigint end as slot_bytes
from (
    select count(*) as events, min(unread.occurred_at) as first_occurred_at
    from (
        select event.occurred_at
        from audit.event
        where event.id > coalesce(%(last_id)s, 0)
        limit 100000
    ) as unread
) as waiting
left join pg_replication_slots as slot on slot.slot_name = %(slot)s

-- name: begin_export
select
    begun.events,
    begun.csv,
    begun.visible_from,
    case when begun.events = 0 then (select jsonb_agg(missing) from audit_internal.unmatched_filter_values(begun.passing) as missing) end as unmatched
from audit_internal.begin_export(%(filter)s::jsonb, %(by_field)s) as begun

-- name: event
select
    event.id,
    audit_internal.event_reference(event) as name,
    event.node,
    event.occurred_at,
    to_char(event.occurred_at, 'YYYY-MM-DD HH24:MI:SS.US') as local_time,
    audit_internal.rfc3339(event.occurred_at) as utc_time,
    event.action,
    event.category,
    coalesce(category.label, event.category) as category_label,
    event.operation,
    event.table_name,
    event.org_id,
    audit_internal.label_of_org(event.org_id) as org_label,
    event.resource_type,
    event.resource_id,
    event.resource_label,
    event.actor_type,
    event.actor_id,
    event.actor_label,
    host(event.actor_ip) as actor_ip,
    event.user_agent,
    event.request_id,
    event.reason,
    event.db_role,
    host(event.client_addr) as client_addr,
    event.application_name,
    event.imported_from
from audit.event
left join audit.category on category.name = event.category
where event.id = %(id)s

-- name: event_json
select audit.event_json(event)::text as json
from audit.event
where event.id = %(id)s

-- name: diff
select field, before::text as before, after::text as after, changed
from audit.diff
where event_id = %(id)s
order by changed desc, field

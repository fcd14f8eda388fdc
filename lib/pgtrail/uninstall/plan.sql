-- What `pgtrail uninstall` shows. All but the contents of the log comes from the catalogue, so that what was renamed,
-- disabled or left over is found too.

-- name: standing
select
    current_database()::text,
    current_user::text,
    to_regclass('audit.installation') is not null,
    (select rolsuper from pg_roles where rolname = current_user),
    (select bool_and(pg_has_role(nspowner, 'usage')) from pg_namespace where nspname in ('audit', 'audit_internal', 'pgtrail_meta'))

-- name: contents
select
    count(*),
    min(occurred_at),
    max(occurred_at),
    (select count(*) from audit_internal.partition_bounds()),
    (select count(*) from audit.seal),
    array(
        select format('%I.%I', nspname, relname)
        from pg_class
        join pg_namespace on pg_namespace.oid = relnamespace
        where pg_class.oid in (select relation from audit.tracked_table) and nspname <> 'audit'
        order by 1
    ),
    array(select name from audit.legal_hold order by name),
    array(
        select name
        from audit.worker
        where seen_at > clock_timestamp() - interval '1 minute'
        order by name
    )
from audit.event

-- name: deliveries
select name, events_behind, dead_letters, replays
from audit.destination_status
order by name

-- name: sessions
select format('%s (process %s)', application_name, string_agg(pid::text, ', ' order by pid))
from pg_stat_activity
where datname = current_database()
    and application_name like 'pgtrail%'
    and pid <> pg_backend_pid()
group by application_name
order by application_name

-- name: event_triggers
select evtname::text
from pg_event_trigger
join pg_proc on pg_proc.oid = evtfoid
where pronamespace = to_regnamespace('audit_internal') and proname in ('extend_capture', 'follow_ddl', 'follow_drop', 'follow_rewrite')
order by evtname

-- name: dependents
with recursive
reached as (
    -- What stands in our schemas, and what hangs on it. From a foreign thing it is not followed any further.
    select classid, objid, objsubid, false as strange
    from pg_depend
    where refclassid = 'pg_namespace'::regclass
        and refobjid in (select oid from pg_namespace where nspname in ('audit', 'audit_internal', 'pgtrail_meta'))
    union
    select
        hanging.classid,
        hanging.objid,
        hanging.objsubid,
        hanging.deptype in ('n', 'a', 'x')
            and not coalesce(located.schema_oid in (select oid from pg_namespace where nspname in ('audit', 'audit_internal', 'pgtrail_meta')), false)
    from reached
    join pg_depend as hanging on hanging.refclassid = reached.classid and hanging.refobjid = reached.objid
    cross join lateral (
        select coalesce(
            (select relnamespace from pg_class where hanging.classid = 'pg_class'::regclass and oid = hanging.objid),
            (select pronamespace from pg_proc where hanging.classid = 'pg_proc'::regclass and oid = hanging.objid),
            (select typnamespace from pg_type where hanging.classid = 'pg_type'::regclass and oid = hanging.objid),
            (select connamespace from pg_constraint where hanging.classid = 'pg_constraint'::regclass and oid = hanging.objid),
            (
                select relnamespace
                from pg_class
                where oid = coalesce(
                    (select ev_class from pg_rewrite where hanging.classid = 'pg_rewrite'::regclass and oid = hanging.objid),
                    (select adrelid from pg_attrdef where hanging.classid = 'pg_attrdef'::regclass and oid = hanging.objid),
                    (select tgrelid from pg_trigger where hanging.classid = 'pg_trigger'::regclass and oid = hanging.objid),
                    (select polrelid from pg_policy where hanging.classid = 'pg_policy'::regclass and oid = hanging.objid)
                )
            )
        )
    ) as located (schema_oid)
    where not reached.strange
),
found as (
    select classid, objid, objsubid from reached where strange
    union
    -- Somebody else's, put into our schemas.
    select 'pg_class'::regclass, pg_class.oid, 0
    from pg_class
    where relnamespace in (select oid from pg_namespace where nspname in ('audit', 'audit_internal'))
        and relkind in ('r', 'p', 'v', 'm', 'f', 'S')
        and relowner <> to_regrole('audit_owner')
    union
    select 'pg_proc'::regclass, pg_proc.oid, 0
    from pg_proc
    where pronamespace in (select oid from pg_namespace where nspname in ('audit', 'audit_internal'))
        and proowner not in (select oid from pg_roles where rolname ~ '^audit_(owner|recorder(_[0-9]+)?)$')
        -- (A superuser's that are ours are there for audit_owner to call.)
        and not exists (select from aclexplode(proacl) as one where one.grantee = to_regrole('audit_owner'))
    union
    -- A role's own things, elsewhere.
    select classid, objid, objsubid
    from pg_shdepend
    where dbid = (select oid from pg_database where datname = current_database())
        and deptype = 'o'
        and refobjid in (
            select oid
            from pg_roles
            where rolname ~ '^audit_(owner|admin|auditor|reader|forwarder|org_reader|hub|recorder(_[0-9]+)?)$'
        )
        and not coalesce(
            case classid
                when 'pg_class'::regclass then (select relnamespace from pg_class where oid = objid)
                when 'pg_proc'::regclass then (select pronamespace from pg_proc where oid = objid)
                when 'pg_namespace'::regclass then objid
            end
            in (select oid from pg_namespace where nspname in ('audit', 'audit_internal')),
            true
        )
)
select distinct case
    when classid = 'pg_rewrite'::regclass
        then pg_describe_object('pg_class'::regclass, (select ev_class from pg_rewrite where oid = objid), 0)
    else pg_describe_object(classid, objid, objsubid)
end
from found
where not (
        classid = 'pg_trigger'::regclass
        and exists (
            select
            from pg_trigger
            join pg_proc on pg_proc.oid = tgfoid
            where pg_trigger.oid = objid
                and pg_proc.pronamespace = to_regnamespace('audit_internal')
                and starts_with(proname, 'capture ')
        )
    )
    and not (
        classid = 'pg_event_trigger'::regclass
        and exists (
            select
            from pg_event_trigger
            join pg_proc on pg_proc.oid = evtfoid
            where pg_event_trigger.oid = objid and proname in ('extend_capture', 'follow_ddl', 'follow_drop', 'follow_rewrite')
        )
    )
    -- (A table's toast, and the like.)
    and not (classid = 'pg_class'::regclass and (select relnamespace from pg_class where oid = objid) = 'pg_toast'::regnamespace)
order by 1

-- name: callers
select format('%I.%I', nspname, proname)
from pg_proc
join pg_namespace on pg_namespace.oid = pronamespace
where prosrc ~ '\maudit(_internal)?\.[a-z_]'
    and nspname not in ('audit', 'audit_internal', 'pgtrail_meta', 'pg_catalog', 'information_schema')
order by 1

-- name: roles
with own_role as (
    select oid, rolname
    from pg_roles
    where rolname ~ '^audit_(owner|admin|auditor|reader|forwarder|org_reader|hub|recorder(_[0-9]+)?)$'
)
select
    own_role.rolname::text,
    array(
        select distinct format('database %I uses it', datname)
        from pg_shdepend
        join pg_database on pg_database.oid = dbid
        where refclassid = 'pg_authid'::regclass
            and (
                refobjid = own_role.oid
                -- One that records may be free, and needed tomorrow, wherever pgtrail is.
                or (own_role.rolname ~ '^audit_recorder' and refobjid = to_regrole('audit_owner'))
            )
            and datname <> current_database()
        order by 1
    ) || array(
        select format('%I is a member', member.rolname)
        from pg_auth_members
        join pg_roles as member on member.oid = pg_auth_members.member
        where roleid = own_role.oid
            and member.rolname <> current_user
            and member.oid not in (select oid from own_role)
            -- (Who creates a role may hand it on, since 16, and is no member by that.)
            and not (admin_option and to_jsonb(pg_auth_members) ->> 'set_option' = 'false')
        order by 1
    ),
    array(
        select distinct format('it has rights on %s', pg_describe_object(classid, objid, objsubid))
        from pg_shdepend
        where pg_shdepend.refclassid = 'pg_authid'::regclass
            and pg_shdepend.refobjid = own_role.oid
            and pg_shdepend.dbid in (0, (select oid from pg_database where datname = current_database()))
            and classid <> 'pg_auth_members'::regclass
        order by 1
    )
from own_role
order by own_role.rolname

-- name: hub_obstacles
-- What a hub would leave behind: subscriptions here, or a slot that keeps the write-ahead log for a hub.
select format('it gathers what %s records', substr(subname, length('pgtrail_') + 1)), 'remove it: pgtrail hub remove'
from pg_subscription
where subdbid = (select oid from pg_database where datname = current_database())
    and subpublications = array['pgtrail']
union all
select 'a hub gathers what it records', format('remove it at the hub: pgtrail hub remove; or here: select audit.unpublish(%L)', slot_name)
from pg_replication_slots
where database = current_database()
    and plugin = 'pgoutput'
    and starts_with(slot_name, 'pgtrail_')
    and exists (select from pg_publication where pubname = 'pgtrail')

-- What `pgtrail uninstall` runs, and generates from the catalogue.

-- name: marked_tables
with own_role as (
    select oid, rolname from pg_roles where rolname ~ '^audit_(owner|recorder(_[0-9]+)?)$'
),
step (relation, before, after, locks) as (
    select tgrelid, format('drop trigger %I on ', tgname), '', true
    from pg_trigger
    join pg_proc on pg_proc.oid = tgfoid
    where tgparentid = 0
        and pg_proc.pronamespace = to_regnamespace('audit_internal')
        and starts_with(proname, 'capture ')
    union all
    select polrelid, format('drop policy %I on ', polname), '', true
    from pg_policy
    where polname = 'pgtrail_truncate' or polroles && array(select oid from own_role)
    union all
    -- (What is revoked on a table is revoked on its columns too.)
    select pg_class.oid, 'revoke all on ', format(' from %I', own_role.rolname), false
    from pg_class
    cross join own_role
    where relkind in ('r', 'p', 'v', 'm', 'f')
        and relowner <> to_regrole('audit_owner')
        and exists (
            select
            from (select relacl union all select attacl from pg_attribute where attrelid = pg_class.oid) as granted (rights)
            cross join lateral aclexplode(granted.rights) as one
            where one.grantee = own_role.oid
        )
)
select
    pg_class.oid,
    known.name,
    pg_has_role(pg_class.relowner, 'usage'),
    case
        when bool_or(step.locks) then (
            select format(
                'lock table %s in access exclusive mode',
                string_agg(format('only %I.%I', branch_schema.nspname, branch.relname), ', ' order by branch.oid)
            )
            from (select relid from pg_partition_tree(pg_class.oid) union select pg_class.oid) as tree
            join pg_class as branch on branch.oid = tree.relid
            join pg_namespace as branch_schema on branch_schema.oid = branch.relnamespace
        )
    end,
    string_agg(step.before || known.name || step.after, '; ' order by step.before)
from step
join pg_class on pg_class.oid = step.relation
join pg_namespace on pg_namespace.oid = pg_class.relnamespace
cross join lateral (select format('%I.%I', nspname, relname) as name) as known
where nspname not in ('audit', 'audit_internal', 'pgtrail_meta')
group by pg_class.oid, known.name
-- A parent before its partitions, whose own triggers are left when it is done.
order by pg_class.relispartition, known.name

-- name: forget_table
delete from audit.tracked_table where relation = %(relation)s

-- name: lock_log
select statement
from (
    -- (Its owner may change nothing in the log, and so not lock it either. This is rolled back, or goes with the table.)
    select 1, pg_class.oid, format('grant truncate on %I.%I to audit_owner', nspname, relname)
    from pg_class
    join pg_namespace on pg_namespace.oid = relnamespace
    where nspname = 'audit' and relkind in ('r', 'p') and not has_table_privilege(pg_class.oid, 'truncate')
    union all
    select 2, pg_class.oid, format('lock table %I.%I in access exclusive mode', nspname, relname)
    from pg_class
    join pg_namespace on pg_namespace.oid = relnamespace
    where nspname in ('audit', 'audit_internal', 'pgtrail_meta') and relkind in ('r', 'p') and not relispartition
) as step (position, relation, statement)
order by position, relation

-- name: drop_schemas
select statement
from (
    select 1, format('drop schema %I cascade', nspname)
    from pg_namespace
    where nspname in ('audit', 'audit_internal', 'pgtrail_meta')
    union all
    -- It is the default again, so nothing is left of it.
    select 2, 'alter default privileges for role audit_owner grant execute on functions to public'
    where exists (
        select from pg_default_acl where defaclrole = to_regrole('audit_owner') and defaclnamespace = 0 and defaclobjtype = 'f'
    )
    union all
    select 3, format('revoke all on schema %I from %I', nspname, rolname)
    from pg_namespace
    cross join lateral aclexplode(nspacl) as granted
    join pg_roles on pg_roles.oid = granted.grantee
    where rolname ~ '^audit_(owner|recorder(_[0-9]+)?)$' and nspname not in ('audit', 'audit_internal', 'pgtrail_meta')
    union all
    select 4, format('alter database %I reset %s', datname, split_part(setting, '=', 1))
    from pg_db_role_setting
    join pg_database on pg_database.oid = setdatabase
    cross join lateral unnest(setconfig) as setting
    where datname = current_database()
        and setrole = 0
        and setting like 'pgtrail.%'
        and pg_has_role(datdba, 'usage')
) as step (position, statement)
order by position

-- name: seen
-- (An earlier cluster's transaction ids say nothing in this one: events to the second number are seen, whatever theirs is.)
select
    pg_current_snapshot()::text,
    coalesce(
        (
            select max(id)
            from audit.event
            where xid >= pg_snapshot_xmin(pg_current_snapshot()) and not pg_visible_in_snapshot(xid, pg_current_snapshot())
        ),
        0
    )

-- What `pgtrail verify` asks. A superuser may have replaced whatever lives in the database, so nothing here calls a function,
-- an operator or a view that is not of pg_catalog (the connection's search_path holds nothing else), and no definer either.

-- name: facts
-- Each object of schema audit, aspect by aspect, as `pgtrail migrate` makes it. What is made for tracked tables
-- (audit."capture …") is left to `pgtrail doctor`; of partitions only what must not be there or must be is looked at.
with relation as (
    select
        pg_class.*,
        relispartition or relkind = 'f' as is_partition,
        case when relispartition then 'audit.(partition)' else format('audit.%%I', relname) end as name
    from pg_class
    where relnamespace = 'audit'::regnamespace and relkind not in ('i', 'I', 't')
),
fact as (
    select
        'function ' || pg_proc.oid::regprocedure::text as object,
        aspect.*
    from pg_proc
    join pg_language on pg_language.oid = prolang
    cross join lateral (values
        ('source', concat(prosrc, probin, pg_get_function_sqlbody(pg_proc.oid))),
        ('settings', array_to_string(proconfig, '; ')),
        (
            'attributes',
            concat_ws(
                ' ', lanname, prokind, provolatile, proparallel, proisstrict, prosecdef, proleakproof, procost, prorows,
                prosupport, pg_get_function_arguments(pg_proc.oid), pg_get_function_result(pg_proc.oid)
            )
        ),
        ('owner', case when (select rolsuper from pg_roles where oid = proowner) then 'a superuser' else proowner::regrole::text end),
        (
            'privileges',
            (
                select string_agg(
                    case grantee when 0 then 'public' else grantee::regrole::text end || case when is_grantable then '*' else '' end,
                    ' ' order by grantee::regrole::text
                )
                from aclexplode(coalesce(proacl, acldefault('f', proowner)))
                where grantee <> proowner
            )
        )
    ) as aspect (aspect, value)
    where pronamespace = 'audit'::regnamespace and not starts_with(proname, 'capture ')
    union all
    select
        aspect.what || name,
        aspect.aspect,
        aspect.value
    from relation
    cross join lateral (values
        ('table ', 'kind', concat_ws(' ', relkind, relpersistence)),
        ('table ', 'owner', relowner::regrole::text),
        ('table ', 'row-level security', concat_ws(' ', relrowsecurity, relforcerowsecurity)),
        ('table ', 'options', array_to_string(reloptions, ' ')),
        ('table ', 'definition', case relkind when 'v' then pg_get_viewdef(oid) end),
        (
            'privileges on ',
            'privileges',
            -- (Who may read is the operator's to say; who may change it is not.)
            (
                select string_agg(grantee::regrole::text || '=' || privilege_type, ' ' order by grantee::regrole::text, privilege_type)
                from aclexplode(coalesce(relacl, acldefault(case relkind when 'S' then 's'::"char" else 'r' end, relowner)))
                where (privilege_type <> 'SELECT' or grantee = 0) and grantee <> relowner
            )
        )
    ) as aspect (what, aspect, value)
    where not is_partition
    union all
    select
        format('%%s of %%s', aspect.what, name),
        attname,
        aspect.value
    from relation
    join pg_attribute on attrelid = relation.oid and attnum > 0 and not attisdropped
    left join pg_attrdef on adrelid = attrelid and adnum = attnum
    cross join lateral (values
        ('columns', format_type(atttypid, atttypmod)),
        (
            'column settings',
            concat_ws(
                ' ', attnotnull, attidentity, attgenerated, pg_get_expr(adbin, adrelid),
                (
                    select string_agg(grantee::regrole::text || '=' || privilege_type, ' ' order by grantee::regrole::text, privilege_type)
                    from aclexplode(attacl)
                )
            )
        )
    ) as aspect (what, value)
    where not is_partition and relkind <> 'S'
    union all
    select
        format('policy %%I on %%s', polname, name),
        'definition',
        concat_ws(
            ' ', polcmd, polpermissive,
            (select string_agg(case role when 0 then 'public' else role::regrole::text end, ',' order by role::regrole::text) from unnest(polroles) as role),
            pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)
        )
    from relation
    join pg_policy on polrelid = relation.oid
    union all
    select
        format('trigger %%I on %%s', tgname, name),
        aspect.*
    from relation
    join pg_trigger on tgrelid = relation.oid and not tgisinternal
    cross join lateral (values
        (
            'definition',
            replace(pg_get_triggerdef(pg_trigger.oid), format('audit.%%I', relname), name)
        ),
        ('state', tgenabled::text)
    ) as aspect (aspect, value)
    -- A partition has those of the table, and one of its own.
    where tgparentid = 0
    union all
    select
        format('rule %%I on %%s', rulename, name),
        'definition',
        concat_ws(' ', ev_enabled, pg_get_ruledef(pg_rewrite.oid))
    from relation
    join pg_rewrite on ev_class = relation.oid
    -- (A view is one, and compared above.)
    where relkind <> 'v' or ev_type <> '1'
    union all
    select
        format('check %%I on %%s', conname, name),
        'definition',
        concat_ws(' ', convalidated, pg_get_constraintdef(pg_constraint.oid))
    from relation
    join pg_constraint on conrelid = relation.oid and contype = 'c'
    where not is_partition
    union all
    select
        'index ' || indexrelid::regclass::text,
        'definition',
        pg_get_indexdef(indexrelid)
    from relation
    join pg_index on indrelid = relation.oid
    where not is_partition and (indexprs is not null or indpred is not null)
    union all
    select
        'type audit.' || quote_ident(typname),
        'definition',
        concat_ws(' ', typtype, typbasetype, typowner::regrole)
    from pg_type
    where typnamespace = 'audit'::regnamespace and typtype not in ('c', 'b')
    union all
    select
        'schema audit',
        aspect.*
    from pg_namespace
    cross join lateral (values
        ('owner', nspowner::regrole::text),
        (
            'privileges',
            (
                select string_agg(grantee::regrole::text || '=' || privilege_type, ' ' order by grantee::regrole::text, privilege_type)
                from aclexplode(nspacl)
                where privilege_type <> 'USAGE' and grantee <> nspowner
            )
        )
    ) as aspect (aspect, value)
    where nspname = 'audit'
    union all
    -- What would change the meaning of every statement here. (Below 16384 is what initdb made.)
    select
        format('cast from %%s to %%s', castsource::regtype, casttarget::regtype),
        'definition',
        castfunc::regprocedure::text
    from pg_cast
    where pg_cast.oid >= 16384 and castsource < 16384 and casttarget < 16384
    union all
    select
        'function pg_catalog.' || added.oid::regprocedure::text,
        'definition',
        ''
    from pg_proc as added
    where oid >= 16384
        and pronamespace = 'pg_catalog'::regnamespace
        and exists (select from pg_proc as known where known.oid < 16384 and known.proname = added.proname)
    union all
    select
        'operator ' || added.oid::regoperator::text,
        'definition',
        ''
    from pg_operator as added
    where oid >= 16384
        and oprnamespace = 'pg_catalog'::regnamespace
        and exists (select from pg_operator as known where known.oid < 16384 and known.oprname = added.oprname)
)
select object, aspect, value
from fact
where value is not null

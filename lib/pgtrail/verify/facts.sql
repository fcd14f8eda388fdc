-- What schema audit is made of, compared with what it should be before anything else is read (integrity.py).

-- name: facts
-- Each object of schema audit, aspect by aspect, as `pgtrail migrate` makes it. What is made for tracked tables
-- (audit_internal."capture …", "read …", "find …", "label …", "name …") is left to `pgtrail doctor`; of partitions only what must not be there or must be is looked at.
-- Whatever planning or running a read evaluates is here, so this reads nothing but pg_catalog, and runs before anything else is read.
with recursive recorder as (
    select oid from pg_roles where rolname ~ '^audit_recorder(_[0-9]+)?$'
),
-- Reading a table reads what inherits from it, in whatever schema.
tree as (
    select oid from pg_class where relnamespace in (select oid from pg_namespace where nspname in ('audit', 'audit_internal')) and relkind not in ('i', 'I', 't')
    union
    select inhrelid from tree join pg_inherits on inhparent = tree.oid
),
relation as (
    select
        pg_class.*,
        partition.is_partition,
        case when partition.is_partition then 'audit.(partition)' else format('%%I.%%I', nspname, relname) end as name
    from pg_class
    join pg_namespace on pg_namespace.oid = relnamespace
    cross join lateral (
        select
            relispartition
            and exists (select from pg_inherits where inhrelid = pg_class.oid and inhparent = to_regclass('audit.event')) as is_partition
    ) as partition
    where pg_class.oid in (select oid from tree)
),
catalogue as (
    select pg_class.*
    from pg_class
    where oid < 16384 and relnamespace = 'pg_catalog'::regnamespace and relkind in ('r', 'v')
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
                -- (Which roles record is told by audit.recorder, and differs from one database to the next.)
                where grantee <> proowner and grantee <> all (array(select oid from recorder))
            )
        )
    ) as aspect (aspect, value)
    where pronamespace in (select oid from pg_namespace where nspname in ('audit', 'audit_internal')) and proname !~ '^(capture|read|find|label|name) '
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
                where (privilege_type <> 'SELECT' or grantee = 0) and grantee <> relowner and grantee <> all (array(select oid from recorder))
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
    -- A virtual column is computed when it is read; another collation is another =.
    select
        'columns of ' || name,
        attname || aspect.aspect,
        aspect.value
    from relation
    join pg_attribute on attrelid = relation.oid and attnum > 0 and not attisdropped
    join pg_type on pg_type.oid = atttypid
    cross join lateral (values
        (' generated', case when attgenerated = 'v' then (select pg_get_expr(adbin, adrelid) from pg_attrdef where adrelid = attrelid and adnum = attnum) end),
        (' collation', case when attcollation <> typcollation then attcollation::regcollation::text end)
    ) as aspect (aspect, value)
    union all
    select
        'table ' || relation.oid::regclass::text,
        aspect.aspect,
        aspect.value
    from relation
    cross join lateral (values
        ('kind of partition', case when is_partition then nullif(relkind, 'r')::text end),
        ('partition key', case when relkind = 'p' then nullif(pg_get_partkeydef(relation.oid), 'RANGE (occurred_at)') end),
        ('access method', (select amname::text from pg_am where pg_am.oid = relam and pg_am.oid >= 16384))
    ) as aspect (aspect, value)
    union all
    -- The planner evaluates the expressions of statistics objects, checks and indexes. (Those of a catalogue: nobody needs any.)
    select
        format('statistics %%I.%%I on %%s', nspname, stxname, stxrelid::regclass),
        'definition',
        pg_get_statisticsobjdef(pg_statistic_ext.oid)
    from pg_statistic_ext
    join pg_namespace on pg_namespace.oid = stxnamespace
    where stxrelid in (select oid from relation union all select oid from catalogue)
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
        format('rule %%I on %%s', rulename, catalogue.oid::regclass),
        'definition',
        pg_get_ruledef(pg_rewrite.oid)
    from catalogue
    join pg_rewrite on ev_class = catalogue.oid and pg_rewrite.oid >= 16384
    union all
    select
        format('check %%I on %%s', conname, name),
        'definition',
        concat_ws(' ', convalidated, pg_get_constraintdef(pg_constraint.oid))
    from (select oid, name, is_partition from relation union all select oid, oid::regclass::text, false from catalogue) as checked
    join pg_constraint on conrelid = checked.oid and contype = 'c'
    where not (
        is_partition
        and exists (
            select
            from pg_constraint as inherited
            where inherited.conrelid = to_regclass('audit.event')
                and inherited.contype = 'c'
                and inherited.conname = pg_constraint.conname
                and pg_get_constraintdef(inherited.oid) = pg_get_constraintdef(pg_constraint.oid)
        )
    )
    union all
    select
        'index ' || indexrelid::regclass::text,
        'definition',
        pg_get_indexdef(indexrelid)
    from relation
    join pg_index on indrelid = relation.oid
    join pg_class as index on index.oid = indexrelid
    where (
            indexprs is not null
            or indpred is not null
            or index.relam >= 16384
            -- (It would be searched by functions of that class.)
            or exists (select from unnest(indclass::oid[]) as class where class >= 16384)
        )
        -- An index that is part of one on audit.event is like that one.
        and not (is_partition and index.relispartition)
    union all
    select
        'index ' || indexrelid::regclass::text,
        'definition',
        pg_get_indexdef(indexrelid)
    from catalogue
    join pg_index on indrelid = catalogue.oid and indexrelid >= 16384
    union all
    select
        format('type %%I.%%I', nspname, typname),
        'definition',
        concat_ws(' ', typtype, typbasetype, typowner::regrole)
    from pg_type
    join pg_namespace on pg_namespace.oid = typnamespace
    where nspname in ('audit', 'audit_internal') and typtype not in ('c', 'b')
    union all
    select
        'schema ' || nspname,
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
    where nspname in ('audit', 'audit_internal')
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
    union all
    select
        format('operator family %%s', opfname),
        member.what,
        ''
    from pg_opfamily
    join (
        select amopfamily, amopopr::regoperator::text
        from pg_amop
        where oid >= 16384 and amoplefttype < 16384 and amoprighttype < 16384
        union all
        select amprocfamily, amproc::regprocedure::text
        from pg_amproc
        where oid >= 16384 and amproclefttype < 16384 and amprocrighttype < 16384
    ) as member (family, what) on member.family = pg_opfamily.oid
    where pg_opfamily.oid < 16384
)
select object, aspect, value
from fact
where value is not null

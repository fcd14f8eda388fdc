-- What `pgtrail verify` asks. A superuser may have replaced whatever lives in the database, so nothing here calls a function,
-- an operator or a view that is not of pg_catalog (the connection's search_path holds nothing else), and no definer either.
-- What a leaf, a root or a hash is computed with is qualified too, should a path change within a transaction.

-- name: facts
-- Each object of schema audit, aspect by aspect, as `pgtrail migrate` makes it. What is made for tracked tables
-- (audit."capture …", "read …", "find …", "label …", "name …") is left to `pgtrail doctor`; of partitions only what must not be there or must be is looked at.
-- Whatever planning or running a read evaluates is here, so this reads nothing but pg_catalog, and runs before anything else is read.
with recursive recorder as (
    select oid from pg_roles where rolname ~ '^audit_recorder(_[0-9]+)?$'
),
-- Reading a table reads what inherits from it, in whatever schema.
tree as (
    select oid from pg_class where relnamespace = 'audit'::regnamespace and relkind not in ('i', 'I', 't')
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
    where pronamespace = 'audit'::regnamespace and proname !~ '^(capture|read|find|label|name) '
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
    from relation
    join pg_constraint on conrelid = relation.oid and contype = 'c'
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
        format('check %%I on %%s', conname, catalogue.oid::regclass),
        'definition',
        pg_get_constraintdef(pg_constraint.oid)
    from catalogue
    join pg_constraint on conrelid = catalogue.oid and contype = 'c'
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

-- name: pin
-- Nothing of a superuser's is found by name, no row is hidden without a word, and every text is the same everywhere.
set local search_path = pg_catalog, pg_temp;
set local row_security = off;
set local transaction_read_only = on;
set local timezone = 'UTC';
set local datestyle = 'ISO';
set local intervalstyle = 'postgres';
set local extra_float_digits = 1;
set local bytea_output = 'hex';
set local standard_conforming_strings = on;
set local quote_all_identifiers = off;
set local array_nulls = on;
-- (No check is evaluated to plan a statement.)
set local constraint_exclusion = off;
set local work_mem = '64MB';
-- (Compiling a seal's statement takes longer than running it.)
set local jit = off

-- name: is_under_policies
select row_security_active('audit.event')

-- name: pin_through_policies
set local row_security = on

-- name: epochs
select distinct epoch
from audit.seal
order by epoch

-- name: last_foreign_id
-- Where the database was restored into another cluster and no seal was made since: the last event of the old one.
select case
    when head.system_identifier <> (select system_identifier from pg_control_system()) then coalesce(
        (
            select max(event.id)
            from audit.event
            where event.id > head.epoch and event.xid >= pg_snapshot_xmax(pg_current_snapshot())
        ),
        (
            select min(event.id) - 1
            from audit.event
            where event.id > (select coalesce(max(last_id), 0) from audit.seal)
                and event.xid < pg_snapshot_xmax(head.from_snapshot)
                and event.xid <> all (array(select pg_snapshot_xip(head.from_snapshot)))
        ),
        case
            when pg_snapshot_xmax(pg_current_snapshot()) < pg_snapshot_xmax(head.from_snapshot)
                then (select coalesce(max(last_id), 0) from audit.seal)
        end
    )
end
from audit.seal_head as head

-- name: seals
select number, events
from audit.seal
where number >= %(first)s
order by number

-- name: node_seals
select number, max(events)
from audit.node_seal
where node = %(node)s
group by number
order by number

-- name: seal
select
    number, sealed_at, from_snapshot::text, from_time, from_xid::text, from_id, to_snapshot::text, to_time, epoch, above_id,
    up_to_id, events, first_id, last_id, personal, months, root, previous, hash,
    pg_catalog.json_build_array(
        'pgtrail seal 1', number, pg_catalog.to_char(sealed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        system_identifier::text, from_snapshot::text,
        pg_catalog.to_char(from_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), from_xid::text, from_id, to_snapshot::text,
        pg_catalog.to_char(to_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), epoch, above_id, up_to_id, events, first_id,
        last_id, personal, months, pg_catalog.encode(root, 'hex'), pg_catalog.encode(previous, 'hex')
    )::text as text,
    system_identifier::text
from audit.seal
where number = any (%(numbers)s::bigint[])

-- name: node_seal
-- What arrived first holds.
select
    number, sealed_at, from_snapshot::text, from_time, from_xid::text, from_id, to_snapshot::text, to_time, epoch, above_id,
    up_to_id, events, first_id, last_id, personal, months, root, previous, hash,
    pg_catalog.json_build_array(
        'pgtrail seal 1', number, pg_catalog.to_char(sealed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        system_identifier::text, from_snapshot::text,
        pg_catalog.to_char(from_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), from_xid::text, from_id, to_snapshot::text,
        pg_catalog.to_char(to_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), epoch, above_id, up_to_id, events, first_id,
        last_id, personal, months, pg_catalog.encode(root, 'hex'), pg_catalog.encode(previous, 'hex')
    )::text as text,
    system_identifier::text
from audit.node_seal
where node = %(node)s and number = any (%(numbers)s::bigint[])
order by arrival

-- name: sealed_leaves
select ids, leaves, secret
from audit.seal_leaves
where number = %(number)s

-- name: node_sealed_leaves
select ids, leaves, secret
from audit.node_seal_leaves
where node = %(node)s and number = %(number)s
order by arrival

-- name: batch
-- The events that are in a seal's batch now, with the salts of their persons.
select
    event.id, event.xid, event.occurred_at, event.org_id, event.category, event.action, event.operation, event.table_name,
    event.resource_type, event.resource_id, event.resource_label, event.resource_hash, event.actor_type, event.actor_id,
    event.actor_label, event.actor_ip, event.user_agent, event.request_id, event.reason, event.db_role,
    event.client_addr, event.application_name, event.before, event.after, event.changed, event.imported_from, event.node,
    event.node_id, event.node_xid,
    actor.salt as actor_salt,
    person.salt as person_salt
from audit.event
left join audit.salt as actor
    on actor.kind = 'actor' and actor.type = event.actor_type and actor.id = event.actor_id
left join audit.salt as person
    on person.kind = 'resource' and person.type = event.resource_type and person.id = event.resource_id
    and event.resource_type = any (%(personal)s::text[])
where event.id > %(above_id)s
    and event.id <= %(high_id)s
    and (event.xid = any (%(open)s::xid8[]) or event.xid >= %(from_xmax)s::xid8)
    and event.xid < %(to_xmax)s::xid8
    and pg_catalog.pg_visible_in_snapshot(event.xid, %(to_snapshot)s::pg_snapshot)

-- name: node_batch
-- The same of a node's seal: its events as they were there. (A person who was erased there and came back has two salts.)
select
    event.node_id as id, event.node_xid as xid, event.occurred_at, event.org_id, event.category, event.action,
    event.operation, event.table_name, event.resource_type, event.resource_id, event.resource_label, event.resource_hash,
    event.actor_type, event.actor_id, event.actor_label, event.actor_ip, event.user_agent,
    event.request_id, event.reason, event.db_role, event.client_addr, event.application_name, event.before, event.after,
    event.changed, event.imported_from, null::text as node, null::bigint as node_id, null::xid8 as node_xid,
    actor.salts[1] as actor_salt,
    person.salts[1] as person_salt,
    actor.salts as actor_salts,
    person.salts as person_salts,
    event.xid as here_xid
from audit.event
left join lateral (
    select pg_catalog.array_agg(salt) as salts
    from audit.node_salt
    where node = %(node)s and kind = 'actor' and type = event.actor_type and id = event.actor_id
) as actor on true
left join lateral (
    select pg_catalog.array_agg(salt) as salts
    from audit.node_salt
    where node = %(node)s
        and kind = 'resource'
        and type = event.resource_type
        and id = event.resource_id
        and event.resource_type = any (%(personal)s::text[])
) as person on true
where event.node = %(node)s
    and event.node_id > %(above_id)s
    and event.node_id <= %(high_id)s
    and (event.node_xid = any (%(open)s::xid8[]) or event.node_xid >= %(from_xmax)s::xid8)
    and event.node_xid < %(to_xmax)s::xid8
    and pg_catalog.pg_visible_in_snapshot(event.node_xid, %(to_snapshot)s::pg_snapshot)

-- name: leaves
-- docs/seals.md, as if nobody had been erased: what differs is looked at one by one (canonical.py). Derived columns are in no
-- leaf, but by another hash a history would not find the event; of a time that does not fit its batch more is asked.
select
    event.id,
    pg_catalog.sha256(
        '\x00'::bytea
        operator(pg_catalog.||) blinded.salt
        operator(pg_catalog.||) pg_catalog.convert_to(
            pg_catalog.json_build_array(
                'pgtrail event 1', event.id, event.xid::text,
                pg_catalog.to_char(event.occurred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), event.org_id, event.category,
                event.action, event.operation, event.table_name, event.resource_type, event.resource_id, event.request_id,
                event.reason, event.actor_type, event.db_role, event.client_addr, event.application_name, event.changed,
                event.imported_from, event.node, event.node_id, event.node_xid::text,
                pg_catalog.encode(
                    pg_catalog.sha256(
                        coalesce(event.actor_salt, blinded.salt)
                        operator(pg_catalog.||) pg_catalog.convert_to(
                            pg_catalog.json_build_array(event.actor_id, event.actor_label, event.actor_ip, event.user_agent)::text, 'UTF8'
                        )
                    ),
                    'hex'
                ),
                case when event.resource_label is not null then
                    pg_catalog.encode(
                        pg_catalog.sha256(
                            case
                                when event.person_salt is null then blinded.salt
                                else pg_catalog.sha256(
                                    event.person_salt operator(pg_catalog.||) blinded.salt operator(pg_catalog.||) 'label'::bytea
                                )
                            end
                            operator(pg_catalog.||) pg_catalog.convert_to(pg_catalog.to_json(event.resource_label)::text, 'UTF8')
                        ),
                        'hex'
                    )
                end,
                case when event.before is not null then coalesce(was.commitments, '') end,
                case when event.after is not null then coalesce(becomes.commitments, '') end
            )::text,
            'UTF8'
        )
    ) as leaf,
    event.resource_hash is distinct from pg_catalog.hashtextextended(event.resource_id, 0) as misfiled,
    case
        when event.node is null
            and (
                event.occurred_at > %(to_time)s::timestamptz + interval '2 seconds'
                or event.occurred_at < %(from_time)s::timestamptz and event.imported_from is null
            )
            then event.xid::text
    end as odd_xid,
    case when event.node is null then event.occurred_at end as occurred_at
from ({batch}) as event
cross join lateral (select pg_catalog.sha256(%(secret)s::bytea operator(pg_catalog.||) pg_catalog.int8send(event.id)) as salt offset 0) as blinded
cross join lateral (
    select
        pg_catalog.encode(
            pg_catalog.string_agg(
                pg_catalog.sha256(
                    case
                        when event.person_salt is null then blinded.salt
                        else pg_catalog.sha256(
                            event.person_salt
                            operator(pg_catalog.||) blinded.salt
                            operator(pg_catalog.||) pg_catalog.convert_to(pg_catalog.concat('before.', member.key), 'UTF8')
                        )
                    end
                    operator(pg_catalog.||) pg_catalog.convert_to(
                        pg_catalog.concat(pg_catalog.to_json(member.key)::text, ': ', member.value::text), 'UTF8'
                    )
                ),
                ''
            ),
            'hex'
        ) as commitments
    from pg_catalog.jsonb_each(
        case
            when event.before is null or pg_catalog.jsonb_typeof(event.before) = 'object' then event.before
            else pg_catalog.jsonb_build_object('', event.before)
        end
    ) as member (key, value)
) as was
cross join lateral (
    select
        pg_catalog.encode(
            pg_catalog.string_agg(
                pg_catalog.sha256(
                    case
                        when event.person_salt is null then blinded.salt
                        else pg_catalog.sha256(
                            event.person_salt
                            operator(pg_catalog.||) blinded.salt
                            operator(pg_catalog.||) pg_catalog.convert_to(pg_catalog.concat('after.', member.key), 'UTF8')
                        )
                    end
                    operator(pg_catalog.||) pg_catalog.convert_to(
                        pg_catalog.concat(pg_catalog.to_json(member.key)::text, ': ', member.value::text), 'UTF8'
                    )
                ),
                ''
            ),
            'hex'
        ) as commitments
    from pg_catalog.jsonb_each(
        case
            when event.after is null or pg_catalog.jsonb_typeof(event.after) = 'object' then event.after
            else pg_catalog.jsonb_build_object('', event.after)
        end
    ) as member (key, value)
) as becomes
order by event.id

-- name: texts
-- Some of these events in full.
select
    event.id,
    pg_catalog.left(
        pg_catalog.json_build_array(
            'pgtrail event 1', event.id, event.xid::text,
            pg_catalog.to_char(event.occurred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), event.org_id, event.category,
            event.action, event.operation, event.table_name, event.resource_type, event.resource_id, event.request_id,
            event.reason, event.actor_type, event.db_role, event.client_addr, event.application_name, event.changed,
            event.imported_from, event.node, event.node_id, event.node_xid::text
        )::text,
        -1
    ),
    pg_catalog.json_build_array(event.actor_id, event.actor_label, event.actor_ip, event.user_agent)::text,
    pg_catalog.to_json(event.resource_label)::text,
    event.before::text,
    event.after::text,
    {salts}
from ({batch}) as event
where event.id = any (%(ids)s::bigint[])
order by event.id

-- name: own_salts
array[event.actor_salt], array[event.person_salt], null

-- name: node_salts
event.actor_salts, event.person_salts, event.here_xid::text

-- name: erased_parts
select event_id, part, commitment, salt, redacted, erasure_id
from audit.erased_part
where not superseded and event_id = any (%(ids)s::bigint[])

-- name: node_erased_parts
select event_id, part, commitment, salt, redacted, here
from audit.node_erased_part
where node = %(node)s and event_id = any (%(ids)s::bigint[])

-- name: copied_in
select xid::text
from audit.node_copy
where node = %(node)s

-- name: seal_before
-- The last seal that was made before a transaction of the same cluster had begun, and whether a clock was set back since.
select
    seal.number,
    seal.from_time,
    exists (
        select
        from audit.seal as later
        where later.number between seal.number and %(number)s and later.sealed_at < later.from_time
    )
from audit.seal as seal
where seal.number <= %(number)s and seal.epoch = %(epoch)s and seal.from_xid < %(xid)s::xid8
order by seal.number desc
limit 1

-- name: node_seal_before
select
    seal.number,
    seal.from_time,
    exists (
        select
        from audit.node_seal as later
        where later.node = %(node)s and later.number between seal.number and %(number)s and later.sealed_at < later.from_time
    )
from audit.node_seal as seal
where seal.node = %(node)s and seal.number <= %(number)s and seal.epoch = %(epoch)s and seal.from_xid < %(xid)s::xid8
order by seal.number desc, seal.arrival
limit 1

-- name: before_epoch
-- The newest time that the last seal of the epoch before tells of: its beginning, or an event of it. (Not its sealed_at: what was
-- not sealed when the database was restored gets its seal there, when much may have been recorded there already.)
select
    greatest(
        seal.from_time,
        (
            select max(event.occurred_at)
            from audit.event
            where event.id between seal.first_id and seal.last_id
                and event.occurred_at <= seal.sealed_at
                and event.node is null
                and event.imported_from is null
        )
    )
from audit.seal as seal
where seal.number < %(number)s and seal.epoch < %(epoch)s
order by seal.number desc
limit 1

-- name: node_before_epoch
select
    greatest(
        seal.from_time,
        (
            select max(event.occurred_at)
            from audit.event
            where event.node = %(node)s
                and event.node_id between seal.first_id and seal.last_id
                and event.occurred_at <= seal.sealed_at
                and event.imported_from is null
        )
    )
from audit.node_seal as seal
where seal.node = %(node)s and seal.number < %(number)s and seal.epoch < %(epoch)s
order by seal.number desc, seal.arrival
limit 1

-- name: seal_head
select head.number, head.hash, last.number, last.hash
from audit.seal_head as head
left join (
    select number, hash
    from audit.seal
    order by number desc
    limit 1
) as last on true

-- name: strays
-- Events that belong to no seal, and to none that comes.
with head as materialized (
    select
        seal_head.*,
        pg_snapshot_xmax(pg_current_snapshot()) as next_xid,
        (select last_value from audit.event_id_seq) as last_given,
        (select system_identifier from pg_control_system()) as here
    from audit.seal_head
)
select event.id, 'it claims a transaction that is in no seal and has not begun either'
from audit.event
cross join head
where (
        event.xid >= %(next_xid)s::xid8
        or (
            event.id <= %(epoch)s
            and event.xid >= (select max(pg_snapshot_xmax(to_snapshot)) from audit.seal where epoch < %(epoch)s)
        )
    )
    and not exists (
        select
        from audit.seal
        where event.id > seal.above_id
            and (seal.up_to_id is null or event.id <= seal.up_to_id)
            and event.xid < pg_snapshot_xmax(seal.to_snapshot)
            and event.id <= coalesce(
                (select min(later.epoch) from audit.seal as later where later.epoch > seal.epoch), %(last_foreign_id)s, event.id
            )
    )
    and event.xid is distinct from pg_current_xact_id_if_assigned()
    and head.system_identifier = head.here
union all
select event.id, 'its id was never given'
from audit.event
where event.id < 1
union all
select event.id, 'its id was never given'
from audit.event
where event.id > %(last_given)s
union all
select event.id, 'it has no transaction, so that it is in no seal'
from audit.event
where event.xid is null
union all
select event.id, 'it has no id'
from audit.event
where event.id is null
union all
select
    min(event.id),
    format('it says that it is of node %%s, which audit.node does not have', event.node)
        || case when count(*) > 1 then format(', and so do %%s more', count(*) - 1) else '' end
from audit.event
where event.node is not null and event.node not in (select name from audit.node)
group by event.node
union all
select doubled.id, format('there are %%s of it', doubled.times)
from (
    select id, count(*) as times
    from audit.event
    group by id
    having count(*) > 1 and id is not null
) as doubled
order by 1, 2

-- name: present
select
    pg_snapshot_xmax(pg_current_snapshot())::text,
    (select last_value from audit.event_id_seq),
    (select epoch from audit.seal_head)

-- name: erasures
select
    erasure.id, erasure.pseudonym, erasure.event_id, erasure.erased_at, erasure.erased_by::text, erasure.reason,
    event.id, event.resource_id, event.occurred_at, event.db_role, event.after ->> 'digest'
from audit.erasure
left join audit.event
    on event.id = erasure.event_id
    and event.action = 'audit.actor_erased'
    and event.node is null
    -- (What a rule or an import calls so is not pgtrail's own.)
    and (event.category, event.resource_type) = ('audit', 'actor')
    and event.operation is null
    and event.table_name is null
    and event.imported_from is null
order by erasure.id

-- name: erased
select event_id, part, commitment, redacted
from audit.erased_part
where erasure_id = %(erasure)s
order by event_id, part collate "C"

-- name: removals
select
    dropped.name, dropped.begins, dropped.ends, dropped.events, dropped.ids::text, dropped.archive, dropped.event_id,
    dropped.dropped_at, dropped.dropped_by::text, event.resource_id, event.occurred_at, event.db_role, event.after::text
from audit.dropped_partition as dropped
left join audit.event
    on event.id = dropped.event_id
    and event.action = 'audit.partition_dropped'
    and event.node is null
    and (event.category, event.resource_type) = ('audit', 'partition')
    and event.operation is null
    and event.table_name is null
    and event.imported_from is null
order by dropped.event_id, dropped.name

-- name: carried
select event.id, event.after -> 'carried'
from audit.event
where event.action = 'audit.partition_dropped'
    and event.node is null
    and event.after ? 'carried'
    and (event.category, event.resource_type) = ('audit', 'partition')
    and event.operation is null
    and event.table_name is null
    and event.imported_from is null

-- name: told_by_nodes
select event.node, event.action, event.resource_id, event.occurred_at, event.db_role, event.after::text
from audit.event
where event.node is not null
    and (event.action, event.resource_type) in (('audit.actor_erased', 'actor'), ('audit.partition_dropped', 'partition'))
    and event.category = 'audit'
    and event.operation is null
    and event.table_name is null
    and event.imported_from is null
order by event.id

-- name: node_doubles
select event.node_id
from audit.event
where event.node = %(node)s
group by event.node_id
having count(*) > 1
order by event.node_id

-- name: node_dropped
select name, ids::text, here, told_by
from audit.node_dropped
where node = %(node)s

-- name: node_removal_events
select event.resource_id, event.after ->> 'ids_sha256'
from audit.event
where event.node = %(node)s
    and event.action = 'audit.partition_dropped'
    and (event.category, event.resource_type) = ('audit', 'partition')
    and event.operation is null
    and event.table_name is null
    and event.imported_from is null

-- name: node_uncovered
-- Whatever had a lower transaction has been sealed.
select event.node_id
from audit.event
where event.node = %(node)s
    and (event.node_xid < %(sealed_below)s::xid8 or event.node_id < 1 or event.node_xid is null)
order by event.node_id

-- name: node_waiting
select event.node_id, event.occurred_at
from audit.event
where event.node = %(node)s
    and event.node_xid >= %(sealed_below)s::xid8
    and event.occurred_at < now() - interval '1 day'
    -- (What was imported occurred when it says, and what was copied may have waited there.)
    and event.imported_from is null
    -- (Where nothing else is recorded, none is made for it.)
    and event.action <> 'audit.sealed'
    and (select added_at from audit.node where name = %(node)s) < now() - interval '1 day'

-- name: node_epochs
select min(epoch)
from audit.node_seal
where node = %(node)s and epoch > %(epoch)s

-- name: waiting
-- The last seal, and how many events wait for the next; counted to 100,000.
select
    (select coalesce(max(number), 0) from audit.seal),
    (
        select count(*)
        from (
            select
            from audit.event
            where (event.xid = any (%(open)s::xid8[]) or event.xid >= %(from_xmax)s::xid8)
                and event.id > %(above_id)s
            limit 100000
        ) as unsealed
    )

-- name: head_snapshot
select from_snapshot::text, greatest(epoch, above_id)
from audit.seal_head

-- name: seal_hashes
select number, pg_catalog.encode(hash, 'hex')
from audit.seal
where number = any (%(numbers)s::bigint[])

-- name: node_state
-- audit.node_state(), as far as verifying needs it.
select
    node.name,
    case
        when node.subscription is null then 'removed'
        when exists (
            select from pg_subscription_rel as copied where copied.srsubid = node.subscription and copied.srsubstate not in ('r', 's')
        )
        then 'copying'
        else 'streaming'
    end as state,
    (select max(node_id) from audit.event where event.node = node.name) as last_id,
    last_seal.number as last_seal,
    pg_catalog.encode(last_seal.hash, 'hex') as last_seal_hash,
    (select subslotname::text from pg_subscription where oid = node.subscription) as slot_name,
    node.system_identifier,
    node.timeline,
    (node.hub_system_identifier, node.hub_timeline) is distinct from (
        (select system_identifier from pg_control_system()),
        case when not pg_is_in_recovery() then
            ('x' || pg_catalog.left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer
        end
    ) as hub_moved,
    array['audit.dropped_partition', 'audit.erased_part', 'audit.event', 'audit.salt', 'audit.seal', 'audit.seal_leaves'] as published
from audit.node
left join lateral (
    select seal.number, seal.hash
    from audit.node_seal as seal
    where seal.node = node.name
    order by seal.number desc, seal.arrival
    limit 1
) as last_seal on true
order by node.name

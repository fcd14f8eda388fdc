-- What is altered about a tracked table, by whom and how: columns, types, constraints, owner, policies, rules, others' triggers.
-- An event says what changed. Expressions may hold secrets, so of those only digests are kept, and nothing is recorded.

create or replace function audit.column_entries(relation oid)
returns jsonb
language sql
stable
as $$
    select coalesce(
        pg_catalog.jsonb_object_agg(
            attname,
            pg_catalog.jsonb_build_array(
                pg_catalog.concat_ws(
                    ' ',
                    pg_catalog.format_type(atttypid, atttypmod),
                    case when attnotnull then 'not null' end,
                    case attidentity when 'a' then 'identity' when 'd' then 'identity by default' end,
                    case when attgenerated <> '' then 'generated' when atthasdef then 'default' end
                ),
                pg_catalog.hashtextextended(
                    pg_catalog.concat_ws(' ', attnum, attcollation, attgenerated, pg_attrdef.adbin::text), 0
                )::text,
                -- Another one for each change of the column.
                pg_attribute.xmin::text || pg_attribute.ctid::text,
                atthasmissing,
                attnum
            )
        ),
        '{}'
    )
    from pg_catalog.pg_attribute
    left join pg_catalog.pg_attrdef on adrelid = attrelid and adnum = attnum
    where attrelid = relation and attnum > 0 and not attisdropped
$$;

comment on function audit.column_entries(oid) is
    'A table''s columns: type, whether null is allowed, what fills them; then a digest with the expression that does; then by what a rewritten one is told, whether rows have a value that was never written to them, and its number.';

create or replace function audit.type_entries(relation oid)
returns table (name text, description text, fingerprint text)
language sql
stable
as $$
    -- The types that people made, and what those are made of.
    with recursive used (type) as (
        select atttypid
        from pg_catalog.pg_attribute
        where attrelid = relation and attnum > 0 and not attisdropped and atttypid >= 16384
        union
        select part.type
        from used
        join pg_catalog.pg_type as made on made.oid = used.type
        cross join lateral (
            select made.typelem
            union all
            select made.typbasetype
            union all
            select rngsubtype from pg_catalog.pg_range where made.oid in (rngtypid, rngmultitypid)
            union all
            select atttypid
            from pg_catalog.pg_attribute
            where attrelid = made.typrelid and attnum > 0 and not attisdropped
        ) as part (type)
        where part.type >= 16384
    )
    select pg_catalog.format_type(used.type, null), described.description, described.fingerprint
    from used
    join pg_catalog.pg_type as made on made.oid = used.type and made.typtype in ('e', 'd', 'c')
    cross join lateral (
        select
            case made.typtype
                when 'e' then (
                    select pg_catalog.string_agg(enumlabel, ', ' order by enumsortorder)
                    from pg_catalog.pg_enum
                    where enumtypid = made.oid
                )
                when 'c' then (
                    select pg_catalog.string_agg(attname || ' ' || pg_catalog.format_type(atttypid, atttypmod), ', ' order by attnum)
                    from pg_catalog.pg_attribute
                    where attrelid = made.typrelid and attnum > 0 and not attisdropped
                )
                else pg_catalog.concat_ws(
                    ' ',
                    pg_catalog.format_type(made.typbasetype, made.typtypmod),
                    case when made.typnotnull then 'not null' end,
                    case when made.typdefaultbin is not null then 'default' end,
                    (
                        select 'check ' || pg_catalog.string_agg(conname, ', ' order by conname)
                        from pg_catalog.pg_constraint
                        where contypid = made.oid and contype = 'c'
                    )
                )
            end as description,
            pg_catalog.concat(
                made.typdefaultbin::text,
                (
                    select pg_catalog.string_agg(conbin::text, ' ' order by conname)
                    from pg_catalog.pg_constraint
                    where contypid = made.oid and contype = 'c'
                )
            ) as fingerprint
    ) as described
$$;

comment on function audit.type_entries(oid) is
    'What a table''s columns are made of where people made it: the values of enums, the columns of composite types, domains.';

create or replace function audit.shape_entries(relation oid, with_types boolean)
returns table (part text, name text, description text, fingerprint text)
language sql
stable
as $$
    select 'types', type.name, type.description, type.fingerprint
    from audit.type_entries(relation) as type
    where with_types
    union all
    -- (A partition's own ones: what its parent has is its parent's.)
    select
        'constraints',
        conname,
        pg_catalog.concat_ws(
            ' ',
            case contype
                when 'p' then 'primary key'
                when 'u' then 'unique'
                when 'f' then 'foreign key'
                when 'c' then 'check'
                when 'x' then 'exclude'
            end,
            pg_catalog.format(
                '(%s)',
                (
                    select pg_catalog.string_agg(attname, ', ' order by position)
                    from pg_catalog.unnest(conkey) with ordinality as part (number, position)
                    join pg_catalog.pg_attribute on attrelid = conrelid and attnum = number
                )
            ),
            case when not convalidated then 'not valid' end
        ),
        pg_catalog.concat_ws(
            ' ', confrelid, confkey, condeferrable, condeferred, confupdtype, confdeltype, connoinherit, conbin::text
        )
    from pg_catalog.pg_constraint
    where conrelid = relation and contype in ('p', 'u', 'f', 'c', 'x') and conparentid = 0 and conislocal
    union all
    -- Those that are none of pgtrail's, which audit.own_trigger has.
    select
        'triggers',
        tgname,
        pg_catalog.format(
            '%s, %s %s %s',
            audit.fires(tgenabled),
            case when tgtype & 2 <> 0 then 'before' when tgtype & 64 <> 0 then 'instead of' else 'after' end,
            pg_catalog.concat_ws(
                ' or ',
                case when tgtype & 4 <> 0 then 'insert' end,
                case when tgtype & 8 <> 0 then 'delete' end,
                case when tgtype & 16 <> 0 then 'update' end,
                case when tgtype & 32 <> 0 then 'truncate' end
            ),
            case when tgtype & 1 <> 0 then 'for each row' else 'for each statement' end
        ),
        pg_catalog.concat_ws(
            ' ', tgfoid::oid, tgconstraint, tgdeferrable, tginitdeferred, tgattr::text, tgoldtable, tgnewtable,
            pg_catalog.encode(tgargs, 'hex'), tgqual::text
        )
    from pg_catalog.pg_trigger
    where tgrelid = relation and not tgisinternal and tgparentid = 0 and tgname <> all (audit.trigger_names())
    union all
    -- Rewrite rules, by which a write can become another or none.
    select
        'rules',
        rulename,
        pg_catalog.format(
            '%s, on %s do %s',
            audit.fires(ev_enabled),
            case ev_type when '1' then 'select' when '2' then 'update' when '3' then 'insert' else 'delete' end,
            case when is_instead then 'instead' else 'also' end
        ),
        pg_catalog.concat_ws(' ', ev_qual::text, ev_action::text)
    from pg_catalog.pg_rewrite
    where ev_class = relation
    union all
    select
        'policies',
        polname,
        pg_catalog.format(
            '%s for %s',
            case when polpermissive then 'permissive' else 'restrictive' end,
            case polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete' else 'all' end
        ),
        pg_catalog.concat_ws(' ', polroles::text, polqual::text, polwithcheck::text)
    from pg_catalog.pg_policy
    where polrelid = relation and polname <> 'pgtrail_truncate'
$$;

comment on function audit.shape_entries(oid, boolean) is
    'What belongs to a table, by parts of its shape: of each thing its name, what people read, and what a digest is made of.';

create or replace function audit.relatives(relation oid)
returns jsonb
language sql
stable
as $$
    select pg_catalog.jsonb_build_object(
        'parents',
        coalesce(
            (
                select pg_catalog.jsonb_agg(inhparent::bigint order by inhseqno)
                from pg_catalog.pg_inherits
                where inhrelid = relation
            ),
            '[]'
        ),
        -- (Partitions have events of their own.)
        'children',
        coalesce(
            (
                select pg_catalog.jsonb_agg(inhrelid::bigint order by inhrelid)
                from pg_catalog.pg_inherits
                join pg_catalog.pg_class on pg_class.oid = inhparent and relkind = 'r'
                where inhparent = relation
            ),
            '[]'
        )
    )
$$;

comment on function audit.relatives(oid) is 'The oids of the tables that a table inherits from or is a partition of, and of those that inherit from it.';

create or replace function audit.relation_names(oids jsonb)
returns jsonb
language sql
stable
as $$
    select coalesce(pg_catalog.jsonb_agg(audit.qualified_name(pg_class.oid) order by position), '[]')
    from pg_catalog.jsonb_array_elements_text(oids) with ordinality as listed (number, position)
    join pg_catalog.pg_class on pg_class.oid = number::oid
$$;

comment on function audit.relation_names(jsonb) is 'The names of tables, of those that there are.';

create or replace function audit.present_shape(relation regclass, root regclass)
returns jsonb
language sql
stable
as $$
    select pg_catalog.jsonb_build_object(
            -- After a restore it is another one, and nothing was altered.
            'oid', class.oid::bigint,
            'name', audit.qualified_name(class.oid),
            'owner', pg_catalog.pg_get_userbyid(class.relowner),
            'persistence', case class.relpersistence when 'u' then 'unlogged' else 'logged' end,
            'row_security', case
                when class.relrowsecurity then 'enabled' else 'disabled'
            end || case when class.relforcerowsecurity then ', forced' else '' end,
            'replica_identity', case class.relreplident
                when 'd' then 'default' when 'n' then 'nothing' when 'f' then 'full' else 'index'
            end,
            'constraints', '{}'::jsonb, 'triggers', '{}'::jsonb, 'rules', '{}'::jsonb, 'policies', '{}'::jsonb
        )
        || case
            -- A partition has its root's.
            when relation <> root then '{}'
            else pg_catalog.jsonb_build_object(
                'columns', audit.column_entries(class.oid),
                'types', '{}'::jsonb,
                'parents', audit.relation_names(relatives.oids -> 'parents'),
                'children', audit.relation_names(relatives.oids -> 'children')
            )
        end
        || coalesce(
            (
                select pg_catalog.jsonb_object_agg(part, things)
                from (
                    select
                        part,
                        pg_catalog.jsonb_object_agg(
                            name, pg_catalog.jsonb_build_array(description, pg_catalog.hashtextextended(fingerprint, 0)::text)
                        ) as things
                    from audit.shape_entries(class.oid, with_types => relation = root)
                    group by part
                ) as described
            ),
            '{}'
        )
    from pg_catalog.pg_class as class
    cross join lateral (select audit.relatives(class.oid)) as relatives (oids)
    where class.oid = relation
$$;

comment on function audit.present_shape(regclass, regclass) is
    'What a tracked table, or a partition of one, is like: whatever of it can be altered and bears on what rows it has and on what is recorded of them.';

create or replace function audit.shape_difference(was jsonb, becomes jsonb, rewritten boolean)
returns table (before jsonb, after jsonb)
language sql
immutable
as $$
    with part as (
        select name, was -> name as was, becomes -> name as becomes
        from pg_catalog.jsonb_object_keys(was || becomes) as name
        where name <> 'oid'
    ),
    entry as (
        select
            part.name as part,
            named.name,
            was #>> array[named.name, '0'] as was,
            becomes #>> array[named.name, '0'] as becomes,
            rewritten and was #> array[named.name, '2'] <> becomes #> array[named.name, '2'] as is_rewritten
        from part
        cross join lateral pg_catalog.jsonb_object_keys(coalesce(was, '{}') || coalesce(becomes, '{}')) as named (name)
        where pg_catalog.jsonb_typeof(becomes) = 'object'
            and (
                (was #> array[named.name, '0'], was #> array[named.name, '1'])
                    is distinct from (becomes #> array[named.name, '0'], becomes #> array[named.name, '1'])
                or (rewritten and was #> array[named.name, '2'] <> becomes #> array[named.name, '2'])
            )
    ),
    changed as (
        select
            part,
            pg_catalog.jsonb_object_agg(name, was) filter (where was is not null) as was,
            pg_catalog.jsonb_object_agg(
                name,
                becomes || case when was <> becomes then '' when is_rewritten then ', rewritten' when was = becomes then ', altered' else '' end
            ) filter (where becomes is not null) as becomes
        from entry
        group by part
        union all
        select name, was, becomes
        from part
        where pg_catalog.jsonb_typeof(becomes) <> 'object' and was is distinct from becomes
    )
    select
        coalesce(pg_catalog.jsonb_object_agg(part, coalesce(was, '{}')), '{}'),
        coalesce(pg_catalog.jsonb_object_agg(part, coalesce(becomes, '{}')), '{}')
    from changed
$$;

comment on function audit.shape_difference(jsonb, jsonb, boolean) is
    'What of a shape became what: only the parts, and of those only the things, that differ. What differs by its digest alone is `altered`; whose values the statement wrote anew `rewritten`.';

create or replace function audit.note_altered(roots regclass[], command text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
-- By which names would be others.
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
declare
    place record;
    gives_values boolean;
    difference record;
    noted regclass[] := '{}';
begin
    for place in
        select
            tracked.relation as root,
            tree.relid as relation,
            known.relation is not null and (known.shape ->> 'oid')::oid = tree.relid as is_known,
            coalesce(known.rewritten, false) as rewritten,
            tree.relid = tracked.relation and known.relatives <> audit.relatives(tree.relid) as has_other_relatives,
            known.shape as was,
            audit.present_shape(tree.relid, tracked.relation) as becomes
        from audit.tracked_table as tracked
        cross join lateral audit.partition_tree(tracked.relation) as tree
        left join audit.table_shape as known on known.relation = tree.relid
        where tracked.relation = any (roots)
            and exists (select from pg_class where pg_class.oid = tree.relid)
        order by tracked.relation, tree.relid <> tracked.relation, tree.relid
    loop
        continue when place.is_known and place.was = place.becomes and not place.rewritten and not place.has_other_relatives;
        insert into audit.table_shape (relation, root, shape, relatives)
        values (
            place.relation,
            place.root,
            place.becomes,
            case when place.relation = place.root then audit.relatives(place.relation) else '{}' end
        )
        on conflict on constraint table_shape_pkey do update
        set root = excluded.root, shape = excluded.shape, relatives = excluded.relatives, rewritten = false;
        continue when not place.is_known;

        select * into strict difference from audit.shape_difference(place.was, place.becomes, place.rewritten);
        gives_values := place.rewritten or exists (
            select
            from jsonb_each(place.becomes -> 'columns') as present (name, entry)
            where (present.entry -> 3)::boolean and not place.was -> 'columns' ? present.name
                -- (Not one that was renamed.)
                and not exists (
                    select from jsonb_each(place.was -> 'columns') as known (name, entry)
                    where known.entry -> 4 = present.entry -> 4
                )
        );
        -- What a statement does to a table it does to its partitions.
        continue when (difference.after = '{}' and not gives_values) or place.root = any (noted);
        noted := noted || case when place.relation = place.root then place.root end;
        perform audit.record(
            'audit.table_altered',
            'tracked_table',
            audit.qualified_name(place.root),
            audit.qualified_name(place.root),
            difference.before,
            difference.after
                || jsonb_strip_nulls(jsonb_build_object(
                    'command', command,
                    'partition', case when place.relation <> place.root then audit.qualified_name(place.relation) end,
                    'rewritten', case when gives_values then true end
                ))
        );
    end loop;
end
$$;

comment on function audit.note_altered(regclass[], text) is
    'Compares tracked tables, and their partitions, with what audit.table_shape knows of them, and records what was altered since, as an event audit.table_altered.';

create or replace function audit.watch_table(relation regclass)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
set jit = off
as $$
begin
    perform audit.note_altered(array[relation], null);
    perform audit.note_triggers(array[relation]);
end
$$;

comment on function audit.watch_table(regclass) is
    'Records what happened to a tracked table and to pgtrail''s triggers on it since the last look, where no event trigger saw it; of one that was not known, remembers what it is like.';

create or replace function audit.tables_with_own_types()
returns setof regclass
language sql
stable
as $$
    select tracked.relation
    from audit.tracked_table as tracked
    where exists (
        select
        from pg_catalog.pg_attribute
        where attrelid = tracked.relation and attnum > 0 and not attisdropped and atttypid >= 16384
    )
$$;

comment on function audit.tables_with_own_types() is 'The tracked tables with columns of types that people made.';

create or replace function audit.tables_with_other_relatives()
returns setof regclass
language sql
stable
as $$
    select tracked.relation
    from audit.tracked_table as tracked
    join audit.table_shape as known on known.relation = tracked.relation
    join pg_catalog.pg_class on pg_class.oid = tracked.relation
    -- (Most tables have none, and had none.)
    where (
            pg_class.relhassubclass
            or known.relatives <> '{"parents": [], "children": []}'
            or exists (select from pg_catalog.pg_inherits where inhrelid = tracked.relation)
        )
        and known.relatives <> audit.relatives(tracked.relation)
$$;

comment on function audit.tables_with_other_relatives() is
    'The tracked tables that inherit, or that others inherit from, in another way than when they were last seen: a statement about the other table is one about them.';

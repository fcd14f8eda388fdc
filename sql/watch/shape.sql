-- What a tracked table is like: columns, types, constraints, owner, policies, rules, others' triggers.
-- Expressions may hold secrets, so of those only digests are kept, and nothing is recorded.

create or replace function audit_internal.column_entries(relation oid)
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

comment on function audit_internal.column_entries(oid) is
    'A table''s columns: type, whether null is allowed, what fills them; then a digest with the expression that does; then by what a rewritten one is told, whether rows have a value that was never written to them, and its number.';

create or replace function audit_internal.type_entries(relation oid)
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

comment on function audit_internal.type_entries(oid) is
    'What a table''s columns are made of where people made it: the values of enums, the columns of composite types, domains.';

create or replace function audit_internal.shape_entries(relation oid, with_types boolean)
returns table (part text, name text, description text, fingerprint text)
language sql
stable
as $$
    select 'types', type.name, type.description, type.fingerprint
    from audit_internal.type_entries(relation) as type
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
            audit_internal.fires(tgenabled),
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
    where tgrelid = relation and not tgisinternal and tgparentid = 0 and tgname <> all (audit_internal.trigger_names())
    union all
    -- Rewrite rules, by which a write can become another or none.
    select
        'rules',
        rulename,
        pg_catalog.format(
            '%s, on %s do %s',
            audit_internal.fires(ev_enabled),
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

comment on function audit_internal.shape_entries(oid, boolean) is
    'What belongs to a table, by parts of its shape: of each thing its name, what people read, and what a digest is made of.';

create or replace function audit_internal.relatives(relation oid)
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

comment on function audit_internal.relatives(oid) is 'The oids of the tables that a table inherits from or is a partition of, and of those that inherit from it.';

create or replace function audit_internal.relation_names(oids jsonb)
returns jsonb
language sql
stable
as $$
    select coalesce(pg_catalog.jsonb_agg(audit_internal.qualified_name(pg_class.oid) order by position), '[]')
    from pg_catalog.jsonb_array_elements_text(oids) with ordinality as listed (number, position)
    join pg_catalog.pg_class on pg_class.oid = number::oid
$$;

comment on function audit_internal.relation_names(jsonb) is 'The names of tables, of those that there are.';

create or replace function audit_internal.current_shape(relation regclass, root regclass)
returns jsonb
language sql
stable
as $$
    select pg_catalog.jsonb_build_object(
            -- After a restore it is another one, and nothing was altered.
            'oid', class.oid::bigint,
            'name', audit_internal.qualified_name(class.oid),
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
                'columns', audit_internal.column_entries(class.oid),
                'types', '{}'::jsonb,
                'parents', audit_internal.relation_names(relatives.oids -> 'parents'),
                'children', audit_internal.relation_names(relatives.oids -> 'children')
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
                    from audit_internal.shape_entries(class.oid, with_types => relation = root)
                    group by part
                ) as described
            ),
            '{}'
        )
    from pg_catalog.pg_class as class
    cross join lateral (select audit_internal.relatives(class.oid)) as relatives (oids)
    where class.oid = relation
$$;

comment on function audit_internal.current_shape(regclass, regclass) is
    'What a tracked table, or a partition of one, is like: whatever of it can be altered and bears on what rows it has and on what is recorded of them.';

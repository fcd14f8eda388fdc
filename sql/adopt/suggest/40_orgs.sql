-- Which organization the rows of a table belong to.

-- From column to table, by foreign keys of one column and, where none is declared, by name and type: team_id leads to the
-- table team, or to the one whose key is called team_id.
create function pg_temp.suggested_edges()
returns table (relation regclass, number smallint, name text, is_filled boolean, parent regclass)
language sql
stable
as $$
    with considered as materialized (
        select tables.relation, tables.words
        from pg_temp.table_fact as tables
        where left_out is null or starts_with(left_out, 'tracked')
    ),
    field as materialized (
        select considered.relation, attnum, attname::text as name, audit_internal.name_words(attname) as words, atttypid, attnotnull,
            exists (
                select from pg_constraint where conrelid = considered.relation and contype = 'f' and attnum = any (conkey)
            ) as refers
        from considered
        join pg_attribute on attrelid = considered.relation and attnum > 0 and not attisdropped and attgenerated <> 'v'
        -- Not columns that say who did something, or that hold a current selection.
        where audit_internal.name_words(attname) !~ '_by(_|$)|^author(_id)?$' and audit_internal.name_words(attname) !~ pg_temp.transient_prefixes()
    ),
    declared as (
        select field.relation, field.attnum, field.name, field.attnotnull, confrelid::regclass as parent
        from field
        join pg_constraint on conrelid = field.relation and contype = 'f' and conkey = array[field.attnum]
        where confrelid <> conrelid and confrelid in (select considered.relation from considered)
    ),
    undeclared as (
        select field.relation, field.attnum, field.name, field.attnotnull, parent.relation as parent,
            -- If the keys of user and end_user are both named user_id, user is meant.
            rank() over (partition by field.relation, field.attnum order by is_called_so desc) as choice,
            count(*) over (partition by field.relation, field.attnum, is_called_so) as parents
        from field
        join considered as parent on parent.relation <> field.relation
        join pg_constraint on conrelid = parent.relation and contype = 'p' and cardinality(conkey) = 1
        join field as key on key.relation = parent.relation and key.attnum = conkey[1] and key.atttypid = field.atttypid
        cross join lateral (
            select replace(field.words, '_', '') = replace(parent.words, '_', '') || 'id' and field.words ~ '_id$' as is_called_so
        ) as name
        where not field.refers
            and not exists (
                select from pg_constraint as own where own.conrelid = field.relation and own.contype = 'p' and own.conkey = array[field.attnum]
            )
            and (is_called_so or (field.words = key.words and key.words ~ '_id$'))
    )
    select declared.* from declared
    union
    select undeclared.relation, attnum, undeclared.name, attnotnull, undeclared.parent from undeclared where choice = 1 and parents = 1
$$;

-- The tables that hold their organization themselves, in which column, and which one is the table of organizations.
create function pg_temp.suggested_own_orgs()
returns table (relation regclass, name text, is_filled boolean, is_itself boolean)
language sql
stable
as $$
    with considered as materialized (
        select tables.relation, tables.words
        from pg_temp.table_fact as tables
        where left_out is null or starts_with(left_out, 'tracked')
    ),
    field as materialized (
        select considered.relation, attnum, attname::text as name, audit_internal.name_words(attname) as words, attnotnull, conkey is not null as is_key
        from considered
        join pg_attribute on attrelid = considered.relation and attnum > 0 and not attisdropped and attgenerated <> 'v'
        join pg_type on pg_type.oid = atttypid and typcategory in ('S', 'N', 'U')
        left join pg_constraint on conrelid = considered.relation and contype = 'p' and conkey = array[attnum]
        where audit_internal.name_words(attname) !~ pg_temp.transient_prefixes()
    ),
    chosen as materialized (
        select candidate.column_pattern, home.relation
        from pg_temp.org_words() as candidate
        left join lateral (
            select considered.relation
            from considered
            where considered.words || '_id' ~ candidate.column_pattern
                and exists (select from field where field.relation = considered.relation and is_key)
            order by considered.relation::text collate "C"
            limit 1
        ) as home on true
        where (
            select count(distinct field.relation)
            from field
            where field.words ~ candidate.column_pattern and field.relation is distinct from home.relation
        ) >= case when home.relation is null then candidate.wanted when candidate.wanted is null then 3 else 1 end
        order by candidate.rank
        limit 1
    )
    select distinct on (field.relation) field.relation, field.name, field.attnotnull, field.relation is not distinct from chosen.relation
    from chosen
    join field on case
        when field.relation = chosen.relation then is_key
        when exists (select from pg_constraint where conrelid = field.relation and contype = 'f' and conkey = array[field.attnum])
            then exists (
                select from pg_constraint
                where conrelid = field.relation and contype = 'f' and conkey = array[field.attnum] and confrelid = chosen.relation
            )
        else field.words ~ chosen.column_pattern
    end
    order by field.relation, field.attnotnull desc, field.attnum
$$;

-- How each table comes to its organization: by itself, by its own column, or by the shortest paths over other tables (at
-- most three). A table that is not here has none.
create function pg_temp.suggested_orgs()
returns table (relation regclass, org text, why text)
language sql
stable
as $$
    with recursive own as materialized (
        select * from pg_temp.suggested_own_orgs()
    ),
    edge as materialized (
        select * from pg_temp.suggested_edges()
    ),
    path as (
        select edge.relation, edge.number, edge.is_filled::integer as filled, edge.parent as target, quote_ident(edge.name) as steps, 1 as depth,
            array[edge.relation, edge.parent] as visited, parent.category in ('users', 'profile') as is_of_person
        from edge
        join pg_temp.table_fact as parent on parent.relation = edge.parent
        where edge.relation not in (select own.relation from own where own.is_filled or own.is_itself)
            and edge.parent not in (select own.relation from own where own.is_itself)
        union all
        select path.relation, path.number, path.filled + edge.is_filled::integer, edge.parent,
            format('%s -> %s.%I', path.steps, audit_internal.qualified_name(path.target), edge.name), depth + 1, visited || edge.parent, is_of_person
        from path
        join edge on edge.relation = path.target
        where depth < 4
            and edge.parent <> all (visited)
            and edge.parent not in (select own.relation from own where own.is_itself)
            and path.target not in (select own.relation from own)
    ),
    arrived as (
        select path.relation, format('%s -> %s.%I', steps, audit_internal.qualified_name(target), own.name) as expression,
            -- A member of a team may belong to another organization than the team.
            row_number() over (partition by path.relation order by depth, is_of_person, path.filled desc, path.number, steps collate "C") as rank,
            depth, min(depth) over (partition by path.relation) as shortest
        from path
        join own on own.relation = path.target
    ),
    shortest_path as (
        select arrived.relation, string_agg(expression, ', ' order by rank) as expression, count(*) as number
        from arrived
        where depth = shortest and rank <= 3
        group by arrived.relation
    )
    select coalesce(own.relation, shortest_path.relation),
        case
            when own.name is null then shortest_path.expression
            when shortest_path.expression is null then own.name
            else quote_ident(own.name) || ', ' || shortest_path.expression
        end,
        case
            when own.is_itself then 'it is the organization itself'
            when own.name is not null and shortest_path.expression is not null then 'its own column, which may be null; then through other tables'
            when own.name is not null then 'its own column'
            when shortest_path.number > 1 then 'through other tables; the first that is not null wins'
            else 'through another table'
        end
    from own
    full join shortest_path on shortest_path.relation = own.relation
$$;

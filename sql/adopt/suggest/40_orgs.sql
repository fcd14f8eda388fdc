-- Which organization the rows of a table belong to.

-- From column to table, by foreign keys of one column and, where none is declared, by name and type: team_id leads to the
-- table team, or to the one whose key is called team_id.
create function pg_temp.suggested_edges()
returns table (relation regclass, number smallint, name text, is_filled boolean, parent regclass)
language sql
stable
as $$
    with place as materialized (
        select tables.relation, tables.words
        from pg_temp.table_fact as tables
        where left_out is null or starts_with(left_out, 'tracked')
    ),
    field as materialized (
        select place.relation, attnum, attname::text as name, audit_internal.name_words(attname) as words, atttypid, attnotnull,
            exists (
                select from pg_constraint where conrelid = place.relation and contype = 'f' and attnum = any (conkey)
            ) as refers
        from place
        join pg_attribute on attrelid = place.relation and attnum > 0 and not attisdropped and attgenerated <> 'v'
        -- Not columns that say who did something, or that hold a current selection.
        where audit_internal.name_words(attname) !~ '_by(_|$)|^author(_id)?$' and audit_internal.name_words(attname) !~ pg_temp.transient_prefixes()
    ),
    declared as (
        select field.relation, field.attnum, field.name, field.attnotnull, confrelid::regclass as parent
        from field
        join pg_constraint on conrelid = field.relation and contype = 'f' and conkey = array[field.attnum]
        where confrelid <> conrelid and confrelid in (select place.relation from place)
    ),
    undeclared as (
        select field.relation, field.attnum, field.name, field.attnotnull, parent.relation as parent,
            -- If the keys of user and end_user are both named user_id, user is meant.
            rank() over (partition by field.relation, field.attnum order by is_called_so desc) as choice,
            count(*) over (partition by field.relation, field.attnum, is_called_so) as parents
        from field
        join place as parent on parent.relation <> field.relation
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
    with place as materialized (
        select tables.relation, tables.words
        from pg_temp.table_fact as tables
        where left_out is null or starts_with(left_out, 'tracked')
    ),
    field as materialized (
        select place.relation, attnum, attname::text as name, audit_internal.name_words(attname) as words, attnotnull, conkey is not null as is_key
        from place
        join pg_attribute on attrelid = place.relation and attnum > 0 and not attisdropped and attgenerated <> 'v'
        join pg_type on pg_type.oid = atttypid and typcategory in ('S', 'N', 'U')
        left join pg_constraint on conrelid = place.relation and contype = 'p' and conkey = array[attnum]
        where audit_internal.name_words(attname) !~ pg_temp.transient_prefixes()
    ),
    chosen as materialized (
        select candidate.column_pattern, home.relation
        from pg_temp.org_words() as candidate
        left join lateral (
            select place.relation
            from place
            where place.words || '_id' ~ candidate.column_pattern
                and exists (select from field where field.relation = place.relation and is_key)
            order by place.relation::text collate "C"
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

-- How each table comes to its organization: by itself, by its own column, or by the shortest ways over other tables (at
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
    way as (
        select edge.relation, edge.number, edge.is_filled::integer as filled, edge.parent as place, quote_ident(edge.name) as steps, 1 as depth,
            array[edge.relation, edge.parent] as passed, parent.category in ('users', 'profile') as is_of_person
        from edge
        join pg_temp.table_fact as parent on parent.relation = edge.parent
        where edge.relation not in (select own.relation from own where own.is_filled or own.is_itself)
            and edge.parent not in (select own.relation from own where own.is_itself)
        union all
        select way.relation, way.number, way.filled + edge.is_filled::integer, edge.parent,
            format('%s -> %s.%I', way.steps, audit_internal.qualified_name(way.place), edge.name), depth + 1, passed || edge.parent, is_of_person
        from way
        join edge on edge.relation = way.place
        where depth < 4
            and edge.parent <> all (passed)
            and edge.parent not in (select own.relation from own where own.is_itself)
            and way.place not in (select own.relation from own)
    ),
    arrived as (
        select way.relation, format('%s -> %s.%I', steps, audit_internal.qualified_name(place), own.name) as written,
            -- A member of a team may belong to another organization than the team.
            row_number() over (partition by way.relation order by depth, is_of_person, way.filled desc, way.number, steps collate "C") as rank,
            depth, min(depth) over (partition by way.relation) as shortest
        from way
        join own on own.relation = way.place
    ),
    ways as (
        select arrived.relation, string_agg(written, ', ' order by rank) as written, count(*) as number
        from arrived
        where depth = shortest and rank <= 3
        group by arrived.relation
    )
    select coalesce(own.relation, ways.relation),
        case
            when own.name is null then ways.written
            when ways.written is null then own.name
            else quote_ident(own.name) || ', ' || ways.written
        end,
        case
            when own.is_itself then 'it is the organization itself'
            when own.name is not null and ways.written is not null then 'its own column, which may be null; then through other tables'
            when own.name is not null then 'its own column'
            when ways.number > 1 then 'through other tables; the first that is not null wins'
            else 'through another table'
        end
    from own
    full join ways on ways.relation = own.relation
$$;

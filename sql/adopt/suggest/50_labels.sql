-- Labels, and the column that says who changed a row.

-- The column that people know a row by, of each table that has one: by name; nothing secret.
create function pg_temp.column_labels()
returns table (relation regclass, name text)
language sql
stable
as $$
    with field as materialized (
        select columns.*, array_position(pg_temp.label_words(tables.resource, tables.category in ('users', 'profile', 'members')), columns.words) as label_rank
        from pg_temp.column_fact as columns
        join pg_temp.table_fact as tables on tables.relation = columns.relation
    )
    select field.relation, (array_agg(field.name order by rank))[1]
    from (
        select field.relation, name, row_number() over (partition by field.relation order by label_rank, number) as rank
        from field
        where kind = 'text' and secret_why is null and ignore_why is null and not is_foreign
            and (label_rank is not null or words ~ '_(name|alias|title)$')
        union all
        -- The name of a setting.
        select setting.relation, name_column, 1000 from pg_temp.setting_fact as setting where name_column <> 'id'
    ) as field
    group by field.relation
    union all
    -- (Only a column of another table: its own label may be a path.)
    select tracked.relation, tracked.label
    from pg_temp.table_fact as tables
    join audit.tracked_table as tracked on tracked.relation = tables.relation
    where tracked.label = any (audit_internal.column_names(tracked.relation))
$$;

-- Labels through foreign keys for the tables that have no column which people know a row by: of what tells its rows apart
-- (a key, a unique constraint), else of what is never null; three parts at most.
create function pg_temp.suggested_labels()
returns table (relation regclass, label text, why text)
language sql
stable
as $$
    with recursive own as materialized (
        select * from pg_temp.column_labels()
    ),
    org as materialized (
        select own_org.relation from pg_temp.suggested_own_orgs() as own_org where is_itself
    ),
    edge as materialized (
        select edge.*,
            exists (
                select from pg_constraint
                where conrelid = edge.relation and contype in ('p', 'u') and edge.number = any (conkey) and cardinality(conkey) > 1
            ) as is_distinguishing
        from pg_temp.suggested_edges() as edge
    ),
    path as (
        select edge.relation, edge.number, edge.is_filled, edge.is_distinguishing, edge.parent as first_parent, edge.parent as target,
            quote_ident(edge.name) as steps, 1 as depth, array[edge.relation, edge.parent] as visited
        from edge
        where edge.relation not in (select own.relation from own)
        union all
        -- As a device of a credential of a user.
        select path.relation, path.number, path.is_filled, path.is_distinguishing, path.first_parent, edge.parent,
            format('%s -> %s.%I', path.steps, audit_internal.qualified_name(path.target), edge.name), depth + 1, visited || edge.parent
        from path
        join edge on edge.relation = path.target
        where depth < 3
            and path.target not in (select own.relation from own)
            and edge.parent <> all (visited)
            and edge.parent not in (select org.relation from org)
    ),
    part as (
        select distinct on (path.relation, path.number)
            path.relation, path.number, target, depth, format('%s -> %s.%I', steps, audit_internal.qualified_name(target), own.name) as expression,
            case when is_distinguishing then 1 when is_filled then 2 else 3 end as tier,
            tables.category in ('users', 'profile', 'members') as is_person,
            path.first_parent in (select org.relation from org) as is_org
        from path
        join own on own.relation = path.target
        join pg_temp.table_fact as tables on tables.relation = path.target
        order by path.relation, path.number, depth, is_person desc, is_filled desc, steps collate "C"
    ),
    -- The organization is recorded anyway; columns that distinguish rows come first.
    ranked as (
        select part.*,
            min(tier) over (partition by part.relation, is_org) as first_tier,
            bool_and(is_org) over (partition by part.relation) as has_org_alone,
            row_number() over (partition by part.relation, is_org, tier order by is_person desc, number) as rank
        from part
        -- (The project of a project's key would repeat the project.)
        where depth = 1
            or not exists (
                select from part as direct where direct.relation = part.relation and direct.target = part.target and direct.depth = 1
            )
    )
    select ranked.relation, string_agg(expression, ' + ' order by rank),
        case when count(*) > 1 then 'through other tables, as it has none of its own' else 'through another table, as it has none of its own' end
    from ranked
    where tier = first_tier and rank <= 3 and (not is_org or has_org_alone)
    group by ranked.relation
$$;

-- The column of a table that says who changed a row last: a text, a UUID, or a foreign key to a table of people.
create function pg_temp.suggested_actors()
returns table (relation regclass, name text)
language sql
stable
as $$
    select distinct on (field.relation) field.relation, field.name
    from pg_temp.column_fact as field
    join pg_attribute on attrelid = field.relation and attnum = field.number
    join pg_temp.actor_words() as word on field.words ~ word.pattern
    left join pg_constraint on conrelid = field.relation and contype = 'f' and conkey = array[field.number]
    left join pg_temp.table_fact as home on home.relation = confrelid
    where secret_why is null
        and not is_key
        and (
            pg_constraint.oid is null and (kind = 'text' or atttypid = 'uuid'::regtype)
            or home.category in ('users', 'profile', 'members')
        )
    order by field.relation, word.rank, pg_constraint.oid is not null, field.number
$$;

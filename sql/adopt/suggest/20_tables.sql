-- The tables of schemas: their resource types, and which are left out.

-- Raises PT002 unless all are schemas of an application.
create function pg_temp.check_schemas(schema_names text[])
returns void
language plpgsql
stable
as $$
declare
    unknown text := (
        select string_agg(format('"%s"', name), ', ')
        from unnest(schema_names) as name
        where name in ('audit', 'audit_internal', 'pgtrail_meta', 'information_schema')
            or starts_with(name, 'pg_')
            or not exists (select from pg_namespace where nspname = name)
    );
begin
    if unknown is not null or cardinality(schema_names) = 0 then
        raise exception using
            errcode = 'PT002',
            message = case when unknown is null then 'no schema is named' else format('there is no schema %s of an application', unknown) end,
            hint = coalesce(
                'Its schemas are ' || (
                    select string_agg(nspname, ', ' order by nspname)
                    from pg_namespace
                    where nspname not in ('audit', 'audit_internal', 'pgtrail_meta', 'information_schema') and not starts_with(nspname, 'pg_')
                ) || '.',
                'This database has none.'
            );
    end if;
end
$$;

-- The tables and views of the schemas by their words: all, and without a prefix that at least three share and that is no
-- table itself (`auth_`).
create function pg_temp.suggested_words(schema_names text[])
returns table (relation regclass, words text, short text)
language sql
stable
as $$
    with named as (
        select
            class.oid,
            class.relnamespace,
            audit_internal.words_of_table(class.oid) as words,
            string_to_array(audit_internal.words_of_table(class.oid), '_') as parts
        from pg_class as class
        join pg_namespace as namespace on namespace.oid = class.relnamespace
        where namespace.nspname = any (schema_names)
            and class.relkind in ('r', 'p', 'v', 'm', 'f')
    ),
    -- A first word that is not a table itself, with the words after it that all share.
    prefix as materialized (
        select relnamespace, parts[1] as first, depth
        from named
        cross join generate_series(1, 3) as depth
        group by relnamespace, parts[1], depth
        having count(*) >= 3 and count(distinct parts[:depth]) = 1 and min(cardinality(parts)) > depth
    )
    select
        named.oid::regclass,
        named.words,
        array_to_string(
            named.parts[1 + coalesce(
                (
                    select max(depth)
                    from prefix
                    where prefix.relnamespace = named.relnamespace and prefix.first = named.parts[1]
                ),
                0
            ):],
            '_'
        )
    from named
$$;

-- Whether a table that is named like a log is one: a log has a time and says what happened, and others don't refer to
-- it; an event that people go to has a place, a beginning, or tables that refer to it.
create function pg_temp.is_log(relation regclass, words text)
returns boolean
language plpgsql
stable
strict
as $$
declare
    columns constant text[] := array(
        select audit_internal.name_words(attname) from pg_attribute where attrelid = relation and attnum > 0 and not attisdropped
    );
    -- Columns of events that people plan, buy or attend.
    of_an_occasion constant text := '^(date_(from|to|start|end|begin)|(start|end|begin|from|until)(s|ed)?(_(at|on|date|time))?|location|venue(_id)?|slug|capacity|currency|organizer(_id)?|is_public|live)$';
    -- Except tables of the same family (`event_detail`).
    referring integer := (
        select count(*)
        from pg_class
        join pg_namespace on pg_namespace.oid = relnamespace and nspname <> 'audit'
        where pg_class.oid <> relation
            and relkind in ('r', 'p')
            and not relispartition
            and strpos(replace(lower(relname collate "C"), '_', ''), replace(words, '_', '')) = 0
            and (
                exists (select from pg_constraint where conrelid = pg_class.oid and confrelid = relation)
                or relnamespace = (select own.relnamespace from pg_class as own where own.oid = relation)
                    and exists (select from pg_attribute where attrelid = pg_class.oid and attname = words || '_id' and not attisdropped)
                    and not exists (
                        select from pg_constraint
                        join pg_attribute on attrelid = conrelid and attnum = any (conkey)
                        where conrelid = pg_class.oid and contype = 'f' and attname = words || '_id'
                    )
            )
    );
begin
    if words !~ '(^|_)event$' then
        return referring < 2;
    end if;
    return referring = 0
        and not exists (select from unnest(columns) as name where name ~ of_an_occasion)
        and exists (
            select from pg_attribute
            where attrelid = relation and attnum > 0 and not attisdropped and audit_internal.type_kind(atttypid) = 'time'
        )
        and exists (
            select from unnest(columns) as name
            where name ~ E'^(\\w+_)?(type|action|kind|verb|operation|level|severity|message|payload|data|details|properties|event|event_name|body|outcome|result|ip|ip_address|user_agent)$|^event_|^ip_|^name$'
        );
end
$$;

-- Each table and view of the schemas: its resource type, its category, and why it is left out (null: it is proposed).
create function pg_temp.suggested_tables(schema_names text[])
returns setof pg_temp.table_fact
language sql
stable
as $$
    with judged as materialized (
        select named.relation, named.words, named.short, class.relispartition, class.relname,
            audit_internal.table_word(audit_internal.split_words(audit_internal.name_words(class.relname))) as whole,
            out.why as left_out_why, known.resource, known.category, known.ending
        from pg_temp.suggested_words(schema_names) as named
        join pg_class as class on class.oid = named.relation
        left join lateral (
            select why
            from pg_temp.table_vocabulary()
            where kind <> 'known'
                and named.short ~ ('(^|_)(?:' || pattern || ')')
                and (kind <> 'log' or pg_temp.is_log(named.relation, named.short))
                and (kind <> 'short-lived' or audit_internal.is_token_table(named.relation))
            limit 1
        ) as out on true
        left join lateral (
            select entry.resource, entry.category, '(^|_)(?:' || entry.pattern || ')' as ending
            from pg_temp.table_vocabulary() as entry
            cross join (values (1, named.short), (2, named.words)) as name (rank, words)
            where kind = 'known' and name.words ~ ('(^|_)(?:' || entry.pattern || ')')
            -- (Also by all words, for a prefix that belongs to the name: api_key beside api_project and api_scope.)
            order by rank
            limit 1
        ) as known on true
    ),
    named_by_vocabulary as materialized (
        select
            judged.*,
            case
                when short !~ '^[a-z][a-z0-9_]*$' then 'table_' || left(md5(audit_internal.qualified_name(relation)), 6)
                when resource is null then short
                when short ~ ending then regexp_replace(short, ending, E'\\1' || resource)
                else regexp_replace(words, ending, E'\\1' || resource)
            end as wanted_name
        from judged
    ),
    ranked as (
        -- Of two tables with one resource type, the one of that name keeps it, else the shorter name; the other uses its own name.
        select
            named_by_vocabulary.*,
            case
                when row_number() over (
                    partition by wanted_name order by words <> wanted_name, length(short), length(relname), relation::text collate "C"
                ) = 1 then wanted_name
                when short ~ '^[a-z][a-z0-9_]*$' and short not in (select other.wanted_name from named_by_vocabulary as other) then short
                when words ~ '^[a-z][a-z0-9_]*$' and words not in (select other.wanted_name from named_by_vocabulary as other) then words
                when whole ~ '^[a-z][a-z0-9_]*$' and whole not in (select other.wanted_name from named_by_vocabulary as other) then whole
            end as name
        from named_by_vocabulary
    ),
    unique_called as (
        select
            ranked.relation, short, relispartition, left_out_why, category, wanted_name,
            case
                when name is not null and row_number() over (partition by name order by relation::text collate "C") = 1 then name
                else left(wanted_name, 50) || '_' || left(md5(audit_internal.qualified_name(relation)), 6)
            end as name
        from ranked
    )
    select
        relation,
        short,
        left(name, 56),
        coalesce(category, case when wanted_name ~ '^table_[0-9a-f]{6}$' then 'other' else left(pg_temp.plural(wanted_name), 56) end),
        coalesce(
            case when relispartition then format('a partition of %s, and recorded with it',
                (select audit_internal.qualified_name(inhparent) from pg_inherits where inhrelid = relation limit 1)) end,
            'it ' || audit_internal.reason_not_trackable(relation),
            case when exists (
                select from pg_depend
                where classid = 'pg_class'::regclass and objid = relation and deptype = 'e'
            ) then 'it belongs to an extension' end,
            case when exists (select from audit.tracked_table where tracked_table.relation = unique_called.relation)
                then 'tracked already, as audit.tracked_table says' end,
            left_out_why
        ),
        category is not null
    from unique_called
$$;

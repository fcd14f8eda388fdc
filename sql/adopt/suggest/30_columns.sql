-- The columns of the proposed tables: which are not audited, which are secret, which values are known.

-- The values that an enum, or a check constraint on this column alone, allows.
create function pg_temp.known_values(relation regclass, column_number smallint)
returns text[]
language sql
stable
as $$
    select array(
        select enumlabel::text
        from pg_enum
        join pg_attribute on atttypid = enumtypid
        where attrelid = relation and attnum = column_number
        order by enumsortorder
    ) || array(
        select replace(literal[1], '''''', '''')
        from pg_constraint
        cross join lateral regexp_matches(
            pg_get_constraintdef(pg_constraint.oid), '''((?:[^'']|'''')*)''::', 'g'
        ) as literal
        where conrelid = relation and contype = 'c' and conkey = array[column_number]
            and pg_get_constraintdef(pg_constraint.oid) ~ E' (= ANY|= \\(?'')'
    )
$$;

-- Those of the columns, counters perhaps by their names, that are ones by the statistics: the table has twenty times as
-- many updates as rows.
create function pg_temp.moving_counters(relation regclass, names text[])
returns text[]
language plpgsql
stable
as $$
declare
    -- A setting changes occasionally, a counter all the time.
    is_busy constant boolean := coalesce(
        (select n_tup_upd >= 100 and n_tup_upd >= 20 * n_live_tup from pg_stat_user_tables where relid = relation), false
    );
begin
    return array(
        select name
        from unnest(names) as name
        where is_busy
            -- A column with one value in all rows is not a counter (known if the table has been analyzed).
            and not exists (
                select
                from pg_stats
                join pg_class on pg_class.oid = relation and relname = tablename and relnamespace = to_regnamespace(quote_ident(schemaname))
                where attname = name and reltuples > 1 and round((case when n_distinct < 0 then -reltuples * n_distinct else n_distinct end)::numeric) = 1
            )
    );
end
$$;

-- The number that is a column's default; null: there is none.
create function pg_temp.default_number(relation regclass, column_number smallint)
returns numeric
language plpgsql
stable
as $$
begin
    return (
        select substring(pg_get_expr(adbin, adrelid) from E'^[''(]*(-?[0-9]{1,18}(?:[.][0-9]{1,9})?)['')]*(?:::[a-z ]+)?$')::numeric
        from pg_attrdef
        where adrelid = relation and adnum = column_number
    );
end
$$;

-- Each column of the proposed tables: what it is, and why it is not audited or redacted; the
-- values that are known of it.
create function pg_temp.suggested_columns()
returns setof pg_temp.column_fact
language sql
stable
as $$
    with considered as materialized (
        select
            tables.relation,
            audit_internal.is_token_table(tables.relation) as is_token_table,
            array(select audit_internal.token_columns(tables.relation)) as token_columns,
            audit_internal.is_table_of_settings(tables.words)
                or tables.words ~ '(^|_)(policy|limit|quota|plan|tier|threshold|allowance|entitlement|rule)$' as is_of_settings
        from pg_temp.table_fact as tables
        where tables.left_out is null
    ),
    candidate as materialized (
        select
            considered.relation, attnum, attname::text as name, audit_internal.name_words(attname) as words,
            audit_internal.type_kind(atttypid) as kind, audit_internal.looks_secret(attname, atttypid) as sounds_secret, attnotnull,
            attname::text = any (audit_internal.identity_columns(considered.relation)) as is_key,
            exists (
                select from pg_constraint
                where conrelid = considered.relation and contype = 'f' and attnum = any (conkey)
            ) as is_foreign,
            (select columns -> attname::text from pg_temp.sample_fact where sample_fact.relation = considered.relation) as seen,
            is_token_table, attname::text = any (token_columns) as is_token, is_of_settings
        from considered
        join pg_attribute on attrelid = considered.relation
        -- A virtual generated column has no value yet where an event is recorded.
        where attnum > 0 and not attisdropped and attgenerated <> 'v'
    ),
    called as materialized (
        select
            candidate.*,
            entry.kind as ignore_kind,
            entry.why as ignore_why,
            bool_or(entry.kind = 'ignore' and entry.why <> 'moves with every write') over (partition by candidate.relation) as has_moving,
            bool_or(is_token or sounds_secret) over (partition by candidate.relation) as has_token
        from candidate
        left join lateral (
            select entry.kind, entry.why
            from pg_temp.column_vocabulary() as entry
            where entry.kind in ('ignore', 'counter', 'perhaps a counter') and candidate.kind = any (entry.types) and candidate.words ~ entry.pattern
            limit 1
        ) as entry on true
    ),
    moving as materialized (
        select called.relation, pg_temp.moving_counters(called.relation, array_agg(name)) as names
        from called
        -- (Else the updates are of the column that is known to change.)
        where ignore_kind = 'perhaps a counter' and not is_of_settings and has_moving is not true
        group by called.relation
    ),
    judged as (
        select
            called.*,
            case ignore_kind
                when 'ignore' then ignore_why
                -- A limit has a default; a counter starts at 0.
                when 'counter' then case when not is_of_settings and coalesce(pg_temp.default_number(called.relation, attnum), 0) = 0 then ignore_why end
                when 'perhaps a counter' then case when name = any (moving.names) then ignore_why end
            end as ignored,
            case
                when seen ? 'secret' then 'its values look like secrets'
                when is_token then 'a token, in a table of those'
                when seen ? 'random' and (
                    is_token_table and (has_token is not true or words !~ '(^|_)id$')
                    or words ~ '(^|_)(key|code|hash|digest|signature|pass|pwd|auth|access|token|secret)$'
                ) then 'its values look random'
                when sounds_secret then 'its name is one of a secret'
            end as secret_why
        from called
        left join moving on moving.relation = called.relation
    )
    select
        judged.relation, attnum, name, words, kind, attnotnull, is_key, is_foreign,
        case when not is_key and not is_foreign then ignored end,
        case when (is_key or ignored is null) and (not is_foreign or is_token or sounds_secret) then secret_why end,
        array(
            select distinct state
            from unnest(
                pg_temp.known_values(judged.relation, attnum)
                    || array(select jsonb_array_elements_text(coalesce(seen -> 'values', '[]')))
            ) as state
        )
    from judged
$$;

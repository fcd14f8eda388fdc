-- What to track in a schema that we did not design: audit.suggest() reads the catalogue and a sample of rows, as its caller,
-- and writes a file of SQL for a person to review. It changes nothing.
-- Here the facts: tables, a sample of rows, columns. Then (46) organizations and rules, then (47) the text.

-- Tables ------------------------------------------------------------------------------------------------------------

create or replace function audit.refusal(relation regclass)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    perform audit.check_can_be_tracked(relation);
    return null;
exception
    when sqlstate 'PT001' then
        return substr(sqlerrm, strpos(sqlerrm, ': it ') + 5);
end
$$;

comment on function audit.refusal(regclass) is 'Why audit.track() refuses a table; null: it does not.';

create or replace function audit.check_schemas(schema_names text[])
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    unknown text := (
        select string_agg(format('"%s"', name), ', ')
        from unnest(schema_names) as name
        where name in ('audit', 'pgtrail_meta', 'information_schema')
            or starts_with(name, 'pg_')
            or not exists (select from pg_namespace where nspname = name)
    );
begin
    if unknown is not null or cardinality(schema_names) = 0 then
        raise exception using
            errcode = 'PT045',
            message = case when unknown is null then 'no schema is named' else format('there is no schema %s of an application', unknown) end,
            hint = coalesce(
                'Its schemas are ' || (
                    select string_agg(nspname, ', ' order by nspname)
                    from pg_namespace
                    where nspname not in ('audit', 'pgtrail_meta', 'information_schema') and not starts_with(nspname, 'pg_')
                ) || '.',
                'This database has none.'
            );
    end if;
end
$$;

comment on function audit.check_schemas(text[]) is 'Raises PT045 unless each is a schema of an application.';

create or replace function audit.suggested_words(schema_names text[])
returns table (relation regclass, words text, short text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    with named as (
        select
            class.oid,
            class.relnamespace,
            audit.table_word(audit.name_words(class.relname)) as words,
            pg_catalog.string_to_array(audit.table_word(audit.name_words(class.relname)), '_') as parts
        from pg_catalog.pg_class as class
        join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
        where namespace.nspname = any (schema_names)
            and class.relkind in ('r', 'p', 'v', 'm', 'f')
    ),
    -- A first word that is no table itself, and those after it that the whole family has.
    prefix as materialized (
        select relnamespace, parts[1] as first, depth
        from named
        cross join pg_catalog.generate_series(1, 3) as depth
        group by relnamespace, parts[1], depth
        having count(*) >= 3 and count(distinct parts[:depth]) = 1 and pg_catalog.min(pg_catalog.cardinality(parts)) > depth
    )
    select
        named.oid::regclass,
        named.words,
        pg_catalog.array_to_string(
            named.parts[1 + coalesce(
                (
                    select pg_catalog.max(depth)
                    from prefix
                    where prefix.relnamespace = named.relnamespace and prefix.first = named.parts[1]
                ),
                0
            ):],
            '_'
        )
    from named
$$;

comment on function audit.suggested_words(text[]) is
    'The tables and views of the schemas by their words: all, and without a prefix that at least three share and that is no table itself (`auth_`).';

create or replace function audit.suggested_tables(schema_names text[])
returns table (relation regclass, words text, resource text, category text, left_out text, known boolean)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    with judged as materialized (
        select named.relation, named.short, class.relispartition, class.relname,
            out.why as left_out_why, known.resource, known.category, known.pattern
        from audit.suggested_words(schema_names) as named
        join pg_catalog.pg_class as class on class.oid = named.relation
        left join lateral (
            select why from audit.table_vocabulary() where kind = 'left out' and named.short ~ pattern limit 1
        ) as out on true
        left join lateral (
            select * from audit.table_vocabulary() as entry where kind = 'known' and named.short ~ entry.pattern limit 1
        ) as known on true
    ),
    called as (
        select
            judged.*,
            case
                when short !~ '^[a-z][a-z0-9_]*$' then 'table_' || pg_catalog.left(pg_catalog.md5(audit.qualified_name(relation)), 6)
                when resource is null then short
                else pg_catalog.regexp_replace(short, pattern, resource)
            end as call
        from judged
    ),
    unique_called as (
        -- Two tables of one call: the shorter name has it.
        select
            called.*,
            case
                when pg_catalog.row_number() over (partition by call order by pg_catalog.length(short), relation::text collate "C") = 1
                    then call
                when short ~ '^[a-z][a-z0-9_]*$' and short <> call then short
                else pg_catalog.left(call, 50) || '_' || pg_catalog.left(pg_catalog.md5(audit.qualified_name(relation)), 6)
            end as name
        from called
    )
    select
        relation,
        short,
        pg_catalog.left(name, 56),
        coalesce(category, case when call ~ '^table_[0-9a-f]{6}$' then 'other' else pg_catalog.left(audit.plural(call), 56) end),
        coalesce(
            case when relispartition then pg_catalog.format('a partition of %s, and recorded with it',
                (select audit.qualified_name(inhparent) from pg_catalog.pg_inherits where inhrelid = relation limit 1)) end,
            'it ' || audit.refusal(relation),
            case when exists (
                select from pg_catalog.pg_depend
                where classid = 'pg_catalog.pg_class'::regclass and objid = relation and deptype = 'e'
            ) then 'it belongs to an extension' end,
            case when exists (select from audit.tracked_table where tracked_table.relation = unique_called.relation)
                then 'tracked already, as audit.tracked_table says' end,
            left_out_why
        ),
        category is not null
    from unique_called
$$;

comment on function audit.suggested_tables(text[]) is
    'Each table and view of the schemas: what a row is called, its category, and why it is left out (null: it is proposed).';

-- Facts ----------------------------------------------------------------------------------------------------------------

create or replace function audit.suggest_facts(schema_names text[], row_limit integer default 1000)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    facts jsonb;
begin
    perform audit.check_schemas(schema_names);
    facts := jsonb_build_object(
        'tables', (select coalesce(jsonb_agg(fact order by audit.qualified_name(relation) collate "C"), '[]') from audit.suggested_tables(schema_names) as fact)
    );
    facts := facts || jsonb_build_object('sample', audit.suggest_sample(facts, row_limit));
    return facts || jsonb_build_object(
        'columns', (select coalesce(jsonb_agg(fact), '[]') from audit.suggested_columns(facts) as fact)
    );
end
$$;

comment on function audit.suggest_facts(text[], integer) is
    'What audit.suggest() knows of schemas, gathered once: their tables, a sample of at most so many rows of each, their columns. PT045.';

create or replace function audit.facts_tables(facts jsonb)
returns table (relation regclass, words text, resource text, category text, left_out text, known boolean)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select *
    from jsonb_to_recordset(facts -> 'tables') as known (
        relation regclass, words text, resource text, category text, left_out text, known boolean
    )
$$;

comment on function audit.facts_tables(jsonb) is 'The tables of audit.suggest_facts(): rows of audit.suggested_tables().';

drop function if exists audit.facts_columns(jsonb);

create or replace function audit.facts_columns(facts jsonb)
returns table (
    relation regclass, number smallint, name text, words text, kind text, is_filled boolean, is_key boolean, is_foreign boolean,
    ignore_why text, secret_why text, json_paths text[], states text[]
)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select *
    from jsonb_to_recordset(facts -> 'columns') as known (
        relation regclass, number smallint, name text, words text, kind text, is_filled boolean, is_key boolean, is_foreign boolean,
        ignore_why text, secret_why text, json_paths text[], states text[]
    )
$$;

comment on function audit.facts_columns(jsonb) is 'The columns of audit.suggest_facts(): rows of audit.suggested_columns().';

-- A sample of rows -----------------------------------------------------------------------------------------------------

create or replace function audit.sampled_columns(relation regclass)
returns table (name text, kind text)
language sql
stable
as $$
    -- Of types that Postgres is born with: another's cast to text is somebody else's code.
    select
        attname::text,
        case
            when audit.name_words(attname) ~ E'^(\\w+_)?(status|state)$' then 'state'
            when audit.name_words(attname) ~ '^(name|key|param_name|config_type|(setting|option|config)_(name|key))$' then 'name'
            when audit.name_words(attname) ~ '(^|_)(key|code)$' then 'code'
            else 'text'
        end
    from pg_catalog.pg_attribute
    where attrelid = relation
        and attnum > 0
        and not attisdropped
        and attgenerated = ''
        and atttypid in ('pg_catalog.text'::pg_catalog.regtype, 'pg_catalog.varchar'::pg_catalog.regtype, 'pg_catalog.bpchar'::pg_catalog.regtype)
$$;

comment on function audit.sampled_columns(regclass) is
    'The columns whose sampled values tell something: states, names of settings, and texts that may be secrets.';

drop function if exists audit.sample_query(regclass, integer);

create or replace function audit.sample_query(relation regclass, place text, row_limit integer)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select case when count(*) > 0 then pg_catalog.format(
        'with sampled as materialized (select %s from %s as source limit %s) %s',
        pg_catalog.string_agg(pg_catalog.quote_ident(name), ', '),
        place,
        row_limit,
        pg_catalog.string_agg(
            case
                -- (Of a name that is a secret itself no value is shown.)
                when kind in ('state', 'name') then pg_catalog.format(
                    'select %1$L, case when is_secret then ''secret'' else ''values'' end, case when is_secret then ''{yes}'' else array(select sampled.%2$I::text from sampled where sampled.%2$I collate "C" ~ ''^[[:alnum:]_. -]{1,40}$'' '
                    'group by 1 order by count(*) desc, 1 limit 13) end from (select exists (select from sampled where audit.%3$I(sampled.%2$I::text))) as known (is_secret)',
                    name, name, case kind when 'name' then 'value_looks_random' else 'value_looks_secret' end)
                else pg_catalog.format(
                    'select %1$L, ''secret'', array(select ''yes'' from sampled where pg_column_size(sampled.%2$I) < 1000 and audit.%3$I(sampled.%2$I::text) limit 1)',
                    name, name, case kind when 'code' then 'value_looks_random' else 'value_looks_secret' end)
            end,
            ' union all '
        )
    ) end
    from audit.sampled_columns(relation)
$$;

comment on function audit.sample_query(regclass, text, integer) is
    'The one query that a table''s sample takes, read from place; null: it has no column to look at.';

drop function if exists audit.secret_members(jsonb);

create or replace function audit.suggest_sample(facts jsonb, row_limit integer)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '1s'
set datestyle = 'ISO'
as $$
declare
    candidate regclass;
    query text;
    found_here jsonb;
    is_read boolean;
    sample jsonb := '{}';
begin
    for candidate in
        select relation
        from audit.facts_tables(facts)
        where left_out is null and exists (select from audit.sampled_columns(relation))
    loop
        found_here := null;
        is_read := false;
        begin
            query := audit.sample_query(candidate, audit.hold_for_reading(candidate), row_limit);
            if audit.code_run_by_reading(candidate) is not null then
                raise feature_not_supported;
            end if;
            perform set_config('transaction_read_only', 'on', true);
            execute format(
                'select jsonb_object_agg(name, jsonb_build_object(kind, to_jsonb(texts))) from (%s) as found (name, kind, texts) '
                'where cardinality(texts) > 0',
                query
            ) into found_here;
            is_read := true;
            -- What it took to read goes with this block: a lock, a view. What was read stays.
            raise sqlstate 'PT062';
        exception
            when sqlstate 'PT062' then
                if not is_read then
                    raise;
                end if;
            when insufficient_privilege then
                found_here := '{"": {"note": ["its rows can''t be read by this role: judged by names alone"]}}';
            when lock_not_available then
                found_here := '{"": {"note": ["it is locked: judged by names alone"]}}';
            when data_exception or feature_not_supported or duplicate_column or program_limit_exceeded
                or undefined_table or read_only_sql_transaction or sqlstate 'PT074'
            then
                found_here := '{"": {"note": ["a sample could not be read: judged by names alone"]}}';
        end;
        sample := sample || jsonb_build_object(candidate::oid::text, coalesce(found_here, '{}'));
    end loop;
    return sample;
end
$$;

comment on function audit.suggest_sample(jsonb, integer) is
    'What a sample of at most so many rows of each table tells, read as the caller, if that runs nobody''s code: by table and column the values of states and names of settings, and texts that look like secrets.';

-- Columns --------------------------------------------------------------------------------------------------------------

create or replace function audit.type_kind(type_oid oid)
returns text
language sql
stable
as $$
    select case
        when type.oid in ('pg_catalog.json'::pg_catalog.regtype, 'pg_catalog.jsonb'::pg_catalog.regtype) then 'json'
        when type.typcategory = 'A' then 'array'
        when type.oid = 'pg_catalog.bytea'::pg_catalog.regtype then 'bytes'
        when type.typtype = 'd' then audit.type_kind(type.typbasetype)
        when type.typcategory in ('S', 'E') then 'text'
        when type.typcategory = 'N' then 'number'
        when type.typcategory in ('D', 'T') then 'time'
        when type.typcategory = 'B' then 'bool'
        else 'other'
    end
    from pg_catalog.pg_type as type
    where type.oid = type_oid
$$;

comment on function audit.type_kind(oid) is 'A type in one word: json, array, bytes, text, number, time, bool, other.';

create or replace function audit.known_values(relation regclass, column_number smallint)
returns text[]
language sql
stable
as $$
    select array(
        select enumlabel::text
        from pg_catalog.pg_enum
        join pg_catalog.pg_attribute on atttypid = enumtypid
        where attrelid = relation and attnum = column_number
        order by enumsortorder
    ) || array(
        select pg_catalog.replace(literal[1], '''''', '''')
        from pg_catalog.pg_constraint
        cross join lateral pg_catalog.regexp_matches(
            pg_catalog.pg_get_constraintdef(pg_constraint.oid), '''((?:[^'']|'''')*)''::', 'g'
        ) as literal
        where conrelid = relation and contype = 'c' and conkey = array[column_number]
            and pg_catalog.pg_get_constraintdef(pg_constraint.oid) ~ E' (= ANY|= \\(?'')'
    )
$$;

comment on function audit.known_values(regclass, smallint) is
    'The values that an enum, or a check constraint on this column alone, allows.';

drop function if exists audit.suggested_columns(jsonb);

create or replace function audit.suggested_columns(facts jsonb)
returns table (
    relation regclass, number smallint, name text, words text, kind text, is_filled boolean, is_key boolean, is_foreign boolean,
    ignore_why text, secret_why text, json_paths text[], states text[]
)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    with candidate as materialized (
        select
            tables.relation, tables.category, attnum, attname::text as name, audit.name_words(attname) as words, audit.type_kind(atttypid) as kind,
            tables.words as table_words, audit.looks_secret(attname, atttypid) as sounds_secret, attnotnull,
            attname::text = any (audit.identity_columns(tables.relation)) as is_key,
            exists (
                select from pg_catalog.pg_constraint
                where conrelid = tables.relation and contype = 'f' and attnum = any (conkey)
            ) as is_foreign,
            facts -> 'sample' -> tables.relation::oid::text -> attname::text as seen
        from audit.facts_tables(facts) as tables
        join pg_catalog.pg_attribute on attrelid = tables.relation
        where tables.left_out is null and attnum > 0 and not attisdropped
    ),
    judged as (
        select
            candidate.*,
            (
                select entry.why from audit.column_vocabulary() as entry
                where entry.kind = 'ignore' and candidate.kind = any (entry.types) and candidate.words ~ entry.pattern limit 1
            ) as ignore_why,
            case
                when candidate.seen ? 'secret' then 'its values look like secrets'
                when candidate.sounds_secret then 'its name is one of a secret'
                else (
                    select entry.why from audit.column_vocabulary() as entry
                    where entry.kind = 'secret' and candidate.kind = any (entry.types)
                        and candidate.table_words || '.' || candidate.words ~ entry.pattern limit 1
                )
            end as secret_why
        from candidate
    )
    select
        relation, attnum, name, words, kind, attnotnull, is_key, is_foreign,
        case when not is_key and not is_foreign then ignore_why end,
        case when (is_key or ignore_why is null) and (sounds_secret or not is_foreign) then secret_why end,
        -- (Whatever looks secret by its name.)
        case kind when 'json' then '{?}'::text[] else '{}' end,
        array(
            select distinct state
            from pg_catalog.unnest(
                audit.known_values(relation, attnum)
                    || array(select pg_catalog.jsonb_array_elements_text(coalesce(seen -> 'values', '[]')))
            ) as state
        )
    from judged
$$;

comment on function audit.suggested_columns(jsonb) is
    'Each column of the proposed tables: what it is, and why it is not audited or redacted; the secret members of JSON; the values that are known of it.';

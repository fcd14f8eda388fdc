-- What to track in a schema that we did not design: audit.suggest() reads the catalogue and a sample of rows, as its caller,
-- and writes a file of SQL for a person to review. It changes nothing.
-- Here the facts: tables, a sample of rows, columns. Then (46) organizations and rules, then (47) the text.

-- Tables ------------------------------------------------------------------------------------------------------------

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
            audit.words_of_table(class.oid) as words,
            pg_catalog.string_to_array(audit.words_of_table(class.oid), '_') as parts
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

create or replace function audit.is_log(relation regclass, words text)
returns boolean
language plpgsql
stable
strict
set search_path = pg_catalog, pg_temp
as $$
declare
    columns constant text[] := array(
        select audit.name_words(attname) from pg_attribute where attrelid = relation and attnum > 0 and not attisdropped
    );
    -- What a thing is that people plan, buy or go to.
    of_a_thing constant text := '^(date_(from|to|start|end|begin)|(start|end|begin|from|until)(s|ed)?(_(at|on|date|time))?|location|venue(_id)?|slug|capacity|currency|organizer(_id)?|is_public|live)$';
    -- Tables of its own kind (`event_detail`) aside.
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
        and not exists (select from unnest(columns) as name where name ~ of_a_thing)
        and exists (
            select from pg_attribute
            where attrelid = relation and attnum > 0 and not attisdropped and audit.type_kind(atttypid) = 'time'
        )
        and exists (
            select from unnest(columns) as name
            where name ~ E'^(\\w+_)?(type|action|kind|verb|operation|level|severity|message|payload|data|details|properties|event|event_name|body|outcome|result|ip|ip_address|user_agent)$|^event_|^ip_|^name$'
        );
end
$$;

comment on function audit.is_log(regclass, text) is
    'Whether a table that is called as a log may be is one: a log has a time and says what happened, and others don''t refer to it; an event that people go to has a place, a beginning, or tables that refer to it.';

create or replace function audit.suggested_tables(schema_names text[])
returns table (relation regclass, words text, resource text, category text, left_out text, known boolean)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    with judged as materialized (
        select named.relation, named.words, named.short, class.relispartition, class.relname,
            audit.table_word(audit.split_words(audit.name_words(class.relname))) as whole,
            out.why as left_out_why, known.resource, known.category, known.ending
        from audit.suggested_words(schema_names) as named
        join pg_catalog.pg_class as class on class.oid = named.relation
        left join lateral (
            select why
            from audit.table_vocabulary()
            where kind <> 'known'
                and named.short ~ ('(^|_)(?:' || pattern || ')')
                and (kind <> 'log' or audit.is_log(named.relation, named.short))
                and (kind <> 'short-lived' or audit.holds_tokens(named.relation))
            limit 1
        ) as out on true
        left join lateral (
            select entry.resource, entry.category, '(^|_)(?:' || entry.pattern || ')' as ending
            from audit.table_vocabulary() as entry
            cross join (values (1, named.short), (2, named.words)) as name (rank, words)
            where kind = 'known' and name.words ~ ('(^|_)(?:' || entry.pattern || ')')
            -- (What is no prefix after all: of api_project, api_scope and api_key.)
            order by rank
            limit 1
        ) as known on true
    ),
    called as materialized (
        select
            judged.*,
            case
                when short !~ '^[a-z][a-z0-9_]*$' then 'table_' || pg_catalog.left(pg_catalog.md5(audit.qualified_name(relation)), 6)
                when resource is null then short
                when short ~ ending then pg_catalog.regexp_replace(short, ending, E'\\1' || resource)
                else pg_catalog.regexp_replace(words, ending, E'\\1' || resource)
            end as call
        from judged
    ),
    ranked as (
        -- Two tables of one call: the one that is really called so has it, else the shorter name; the other goes by its own name.
        select
            called.*,
            case
                when pg_catalog.row_number() over (
                    partition by call order by words <> call, pg_catalog.length(short), pg_catalog.length(relname), relation::text collate "C"
                ) = 1 then call
                when short ~ '^[a-z][a-z0-9_]*$' and short not in (select other.call from called as other) then short
                when words ~ '^[a-z][a-z0-9_]*$' and words not in (select other.call from called as other) then words
                when whole ~ '^[a-z][a-z0-9_]*$' and whole not in (select other.call from called as other) then whole
            end as name
        from called
    ),
    unique_called as (
        select
            ranked.relation, short, relispartition, left_out_why, category, call,
            case
                when name is not null and pg_catalog.row_number() over (partition by name order by relation::text collate "C") = 1 then name
                else pg_catalog.left(call, 50) || '_' || pg_catalog.left(pg_catalog.md5(audit.qualified_name(relation)), 6)
            end as name
        from ranked
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
        'settings', (
            select coalesce(jsonb_agg(jsonb_build_object('relation', relation, 'value_column', value_column, 'name_column', name_column) order by number), '[]')
            from audit.facts_tables(facts) as tables
            cross join lateral audit.settings_by_name(tables.relation) with ordinality as setting (value_column, name_column, number)
            where left_out is null
        ),
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

create or replace function audit.facts_settings(facts jsonb)
returns table (relation regclass, value_column text, name_column text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select *
    from jsonb_to_recordset(facts -> 'settings') as known (relation regclass, value_column text, name_column text)
$$;

comment on function audit.facts_settings(jsonb) is 'The settings by name of audit.suggest_facts(): rows of audit.settings_by_name().';

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
        (select pg_catalog.string_agg(pg_catalog.quote_ident(name), ', ') from audit.sampled_columns(relation)),
        place,
        row_limit,
        pg_catalog.string_agg(
            pg_catalog.format(
                case question.asked
                    when 'values' then
                        'select %1$L, ''values'', array(select sampled.%2$I::text from sampled where sampled.%2$I collate "C" ~ ''^[[:alnum:]_. -]{1,40}$'' '
                        'and not audit.value_looks_secret(sampled.%2$I::text) and not audit.value_looks_random(sampled.%2$I::text) '
                        'group by 1 order by count(*) desc, 1 limit 13)'
                    when 'secret' then
                        'select %1$L, ''secret'', array(select ''yes'' from sampled where pg_column_size(sampled.%2$I) < 1000 and audit.value_looks_secret(sampled.%2$I::text) limit 1)'
                    -- Each is another, of one length, and they begin differently (an id that is made of the time doesn't).
                    when 'random' then
                        'select %1$L, ''random'', array(select ''yes'' from sampled where sampled.%2$I <> '''' and pg_column_size(sampled.%2$I) < 1000 '
                        'having count(*) >= %3$s and count(distinct sampled.%2$I) = count(*) and count(distinct length(sampled.%2$I)) = 1 '
                        'and count(distinct left(audit.random_part(sampled.%2$I::text), 3)) >= 0.6 * count(*) '
                        'and count(*) filter (where audit.value_looks_random(audit.random_part(sampled.%2$I::text))) >= 0.8 * count(*))'
                end,
                name, name, case when audit.name_words(name) ~ '(^|_)(key|code)$' then 1 else 2 end
            ),
            ' union all '
        )
    ) end
    from audit.sampled_columns(relation)
    join (values ('{state,name}'::text[], 'values'), ('{text,name}', 'secret'), ('{text,name}', 'random')) as question (kinds, asked)
        on kind = any (question.kinds)
$$;

comment on function audit.sample_query(regclass, text, integer) is
    'The one query that a table''s sample takes, read from place; null: it has no column to look at.';

create or replace function audit.random_part(value text)
returns text
language sql
immutable
strict
parallel safe
as $$
    select pg_catalog.regexp_replace(value collate "C", '^[A-Za-z]{1,8}[_-]', '')
$$;

comment on function audit.random_part(text) is 'A text without a word in front that says what it is: `tok_…`.';

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

create or replace function audit.moving_counters(relation regclass, names text[])
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    -- A setting changes now and then, a counter all the time.
    is_busy constant boolean := coalesce(
        (select n_tup_upd >= 100 and n_tup_upd >= 20 * n_live_tup from pg_stat_user_tables where relid = relation), false
    );
begin
    return array(
        select name
        from unnest(names) as name
        where is_busy
            -- What has one value in all rows is not what moves (if the table has been analyzed, and we may see it).
            and not exists (
                select
                from pg_stats
                join pg_class on pg_class.oid = relation and relname = tablename and relnamespace = to_regnamespace(quote_ident(schemaname))
                where attname = name and reltuples > 1 and round((case when n_distinct < 0 then -reltuples * n_distinct else n_distinct end)::numeric) = 1
            )
    );
end
$$;

comment on function audit.moving_counters(regclass, text[]) is
    'Those of the columns, counters perhaps by their names, that are ones by the statistics: the table has twenty times as many updates as rows.';

create or replace function audit.default_number(relation regclass, column_number smallint)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select substring(pg_get_expr(adbin, adrelid) from E'^[''(]*(-?[0-9]{1,18}(?:[.][0-9]{1,9})?)['')]*(?:::[a-z ]+)?$')::numeric
        from pg_attrdef
        where adrelid = relation and adnum = column_number
    );
end
$$;

comment on function audit.default_number(regclass, smallint) is 'The number that is a column''s default; null: there is none.';

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
    with place as materialized (
        select
            tables.relation,
            audit.holds_tokens(tables.relation) as holds_tokens,
            array(select audit.token_columns(tables.relation)) as token_columns,
            audit.is_table_of_settings(tables.words)
                or tables.words ~ '(^|_)(policy|limit|quota|plan|tier|threshold|allowance|entitlement|rule)$' as is_of_settings
        from audit.facts_tables(facts) as tables
        where tables.left_out is null
    ),
    candidate as materialized (
        select
            place.relation, attnum, attname::text as name, audit.name_words(attname) as words,
            audit.type_kind(atttypid) as kind, audit.looks_secret(attname, atttypid) as sounds_secret, attnotnull,
            attname::text = any (audit.identity_columns(place.relation)) as is_key,
            exists (
                select from pg_catalog.pg_constraint
                where conrelid = place.relation and contype = 'f' and attnum = any (conkey)
            ) as is_foreign,
            facts -> 'sample' -> place.relation::oid::text -> attname::text as seen,
            holds_tokens, attname::text = any (token_columns) as is_token, is_of_settings
        from place
        join pg_catalog.pg_attribute on attrelid = place.relation
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
            from audit.column_vocabulary() as entry
            where entry.kind in ('ignore', 'counter', 'perhaps a counter') and candidate.kind = any (entry.types) and candidate.words ~ entry.pattern
            limit 1
        ) as entry on true
    ),
    moving as materialized (
        select called.relation, audit.moving_counters(called.relation, array_agg(name)) as names
        from called
        -- (Else the updates are of the column that is known to move.)
        where ignore_kind = 'perhaps a counter' and not is_of_settings and has_moving is not true
        group by called.relation
    ),
    judged as (
        select
            called.*,
            case ignore_kind
                when 'ignore' then ignore_why
                -- A limit has a default; a counter begins at nothing.
                when 'counter' then case when not is_of_settings and coalesce(audit.default_number(called.relation, attnum), 0) = 0 then ignore_why end
                when 'perhaps a counter' then case when name = any (moving.names) then ignore_why end
            end as ignored,
            case
                when seen ? 'secret' then 'its values look like secrets'
                when is_token then 'a token, in a table of those'
                when seen ? 'random' and (
                    holds_tokens and (has_token is not true or words !~ '(^|_)id$')
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
        -- (Whatever looks secret by its name.)
        case kind when 'json' then '{?}'::text[] else '{}' end,
        array(
            select distinct state
            from pg_catalog.unnest(
                audit.known_values(judged.relation, attnum)
                    || array(select pg_catalog.jsonb_array_elements_text(coalesce(seen -> 'values', '[]')))
            ) as state
        )
    from judged
$$;

comment on function audit.suggested_columns(jsonb) is
    'Each column of the proposed tables: what it is, and why it is not audited or redacted; the secret members of JSON; the values that are known of it.';

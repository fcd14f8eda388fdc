-- The facts and the proposal are gathered in the tables of 15_facts.sql; the sample of rows is read as the caller.

-- Fills the tables of 15_facts.sql, each from those before. PT002.
create function pg_temp.make_suggestions(schema_names text[])
returns void
language plpgsql
as $$
begin
    perform pg_temp.check_schemas(schema_names);
    insert into pg_temp.table_fact
    select * from pg_temp.suggested_tables(schema_names) order by audit_internal.qualified_name(relation) collate "C";
    perform pg_temp.read_samples();
    insert into pg_temp.setting_fact
    select tables.relation, setting.value_column, setting.name_column
    from pg_temp.table_fact as tables
    cross join lateral audit_internal.settings_by_name(tables.relation) with ordinality as setting (value_column, name_column, number)
    where left_out is null
    order by number;
    insert into pg_temp.column_fact
    select * from pg_temp.suggested_columns();
    insert into pg_temp.suggestion
    select * from pg_temp.suggestions();
    insert into pg_temp.proposed_rule
    select * from pg_temp.suggested_rules();
end
$$;

-- The columns whose values are sampled: states, names of settings, and texts that may be secrets.
create function pg_temp.sampled_columns(relation regclass)
returns table (name text, kind text)
language sql
stable
as $$
    -- Of built-in types: the cast of another type to text may be somebody's code.
    select
        attname::text,
        case
            when audit_internal.name_words(attname) ~ E'^(\\w+_)?(status|state)$' then 'state'
            when audit_internal.name_words(attname) ~ '^(name|key|param_name|config_type|(setting|option|config)_(name|key))$' then 'name'
            else 'text'
        end
    from pg_attribute
    where attrelid = relation
        and attnum > 0
        and not attisdropped
        and attgenerated = ''
        and atttypid in ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype)
$$;

-- The query that samples a table, read from source_name (see hold_for_reading()); null if it has no column to sample.
create function pg_temp.sample_query(relation regclass, source_name text)
returns text
language sql
stable
as $$
    select case when count(*) > 0 then format(
        'with sampled as materialized (select %s from %s as source limit 1000) %s',
        (select string_agg(quote_ident(name), ', ') from pg_temp.sampled_columns(relation)),
        source_name,
        string_agg(
            format(
                case question.asked
                    when 'values' then
                        'select %1$L, ''values'', array(select sampled.%2$I::text from sampled where sampled.%2$I collate "C" ~ ''^[[:alnum:]_. -]{1,40}$'' '
                        'and not audit_internal.value_looks_secret(sampled.%2$I::text) and not audit_internal.value_looks_random(sampled.%2$I::text) '
                        'group by 1 order by count(*) desc, 1 limit 13)'
                    when 'secret' then
                        'select %1$L, ''secret'', array(select ''yes'' from sampled where pg_column_size(sampled.%2$I) < 1000 and audit_internal.value_looks_secret(sampled.%2$I::text) limit 1)'
                    -- All differ, have one length, and begin differently (ids made from the time don't).
                    when 'random' then
                        'select %1$L, ''random'', array(select ''yes'' from sampled where sampled.%2$I <> '''' and pg_column_size(sampled.%2$I) < 1000 '
                        'having count(*) >= %3$s and count(distinct sampled.%2$I) = count(*) and count(distinct length(sampled.%2$I)) = 1 '
                        'and count(distinct left(pg_temp.random_part(sampled.%2$I::text), 3)) >= 0.6 * count(*) '
                        'and count(*) filter (where audit_internal.value_looks_random(pg_temp.random_part(sampled.%2$I::text))) >= 0.8 * count(*))'
                end,
                name, name, case when audit_internal.name_words(name) ~ '(^|_)(key|code)$' then 1 else 2 end
            ),
            ' union all '
        )
    ) end
    from pg_temp.sampled_columns(relation)
    join (values ('{state,name}'::text[], 'values'), ('{text,name}', 'secret'), ('{text,name}', 'random')) as question (kinds, asked)
        on kind = any (question.kinds)
$$;

-- A text without a prefix that says what it is: `tok_…`.
create function pg_temp.random_part(value text)
returns text
language sql
immutable
strict
as $$
    select regexp_replace(value collate "C", '^[A-Za-z]{1,8}[_-]', '')
$$;

-- Reads a sample of at most 1000 rows of each table as the caller, if that runs nobody's code: by column the values of
-- states and names of settings, and whether texts look like secrets.
create function pg_temp.read_samples()
returns void
language plpgsql
set lock_timeout = '1s'
as $$
declare
    candidate regclass;
    query text;
    found_here jsonb;
    is_read boolean;
begin
    for candidate in
        select relation
        from pg_temp.table_fact
        where left_out is null and exists (select from pg_temp.sampled_columns(relation))
    loop
        found_here := null;
        is_read := false;
        begin
            query := pg_temp.sample_query(candidate, pg_temp.hold_for_reading(candidate));
            if pg_temp.code_run_by_reading(candidate) is not null then
                raise feature_not_supported;
            end if;
            perform set_config('transaction_read_only', 'on', true);
            execute format(
                'select jsonb_object_agg(name, jsonb_build_object(kind, to_jsonb(texts))) from (%s) as found (name, kind, texts) '
                'where cardinality(texts) > 0',
                query
            ) into found_here;
            is_read := true;
            -- The error rolls back what reading took: a lock, a view. What was read stays.
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
                or undefined_table or read_only_sql_transaction or sqlstate 'PT034'
            then
                found_here := '{"": {"note": ["a sample could not be read: judged by names alone"]}}';
        end;
        insert into pg_temp.sample_fact values (candidate, found_here);
    end loop;
end
$$;

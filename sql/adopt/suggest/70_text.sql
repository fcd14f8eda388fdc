-- The proposal, and the file of SQL that it is written down as.

-- Why a table whose name says nothing is left out by its columns or its statistics; null: it is proposed.
create function pg_temp.suggest_left_out(relation regclass, known boolean, columns jsonb)
returns text
language sql
stable
as $$
    select case
        when not exists (
                select from jsonb_array_elements(columns) as field
                where not ((field ->> 'key')::boolean or (field ->> 'foreign')::boolean or (field ->> 'ignored')::boolean)
            )
            and exists (
                select from jsonb_array_elements(columns) as field where (field ->> 'ignored')::boolean and field ->> 'kind' = 'number'
            )
            and not known
            then 'nothing but counters beside its key'
        when not known and n_tup_ins >= 1000 and n_live_tup >= 1000 and n_tup_upd + n_tup_del = 0
            then format('only ever added to: %s inserts, no update, no delete by pg_stat_user_tables', n_tup_ins)
    end
    from (select suggest_left_out.relation as oid) as it
    left join pg_stat_user_tables on relid = it.oid
$$;

-- What a person should know of a table before its proposal is applied.
create function pg_temp.suggest_notes(relation regclass, columns jsonb, seen jsonb)
returns text[]
language sql
stable
as $$
    select array_remove(
        array(select jsonb_array_elements_text(seen -> '' -> 'note')) || array[
            case when n_live_tup > 0 and n_tup_upd >= 20 * n_live_tup then format(
                'pg_stat_user_tables: %s updates (%s of them moved no index) on %s rows%s', n_tup_upd, n_tup_hot_upd, n_live_tup,
                case when ignored then ', most likely of the ignored columns'
                    else ': each would be an event. Find the column that moves and add it to ignore' end) end,
            case when cardinality(audit_internal.identity_columns(it.oid)) = 0
                then 'it has no key: its events are identified by a digest of the whole row. Add a primary key first' end,
            case when not pg_has_role(pg_class.relowner, 'usage')
                then format('only its owner, %s, or who has TRIGGER on it can apply this', pg_temp.one_line(pg_get_userbyid(pg_class.relowner))) end
        ],
        null
    )
    from (select suggest_notes.relation as oid) as it
    join pg_class on pg_class.oid = it.oid
    left join pg_stat_user_tables on relid = it.oid
    cross join lateral (
        select coalesce(bool_or((field ->> 'ignored')::boolean), false) as ignored from jsonb_array_elements(columns) as field
    ) as part
$$;

-- What audit.suggest() proposes, a row for each table and view; left_out: why it is not to be tracked, null: it is.
create function pg_temp.suggestions(facts jsonb)
returns table (
    relation regclass, left_out text, resource text, category text, org text, org_why text, label text, label_why text, ignore text[], ignore_why text,
    secret text[], secret_why text, personal boolean, actor text, notes text[]
)
language sql
stable
as $$
    with field as materialized (
        select * from pg_temp.facts_columns(facts)
    ),
    shown as materialized (
        select
            field.relation,
            array_agg(name order by number) filter (where ignore_why is not null and path is null) as ignore,
            string_agg(format('%s (%s)', pg_temp.one_line(name), ignore_why), ', ' order by number) filter (where ignore_why is not null and path is null) as ignore_why,
            array_agg(name order by number) filter (where secret_why is not null and path is null) as secret_columns,
            array_agg(format('%s.**.%s', name, path) order by number, path_number) filter (where path is not null and secret_why is null and ignore_why is null) as paths,
            string_agg(format('%s (%s)', pg_temp.one_line(name), secret_why), ', ' order by number) filter (where secret_why is not null and path is null) as secret_why,
            jsonb_agg(jsonb_build_object('kind', kind, 'key', is_key, 'foreign', is_foreign, 'ignored', ignore_why is not null)) filter (where path is null) as columns
        from (
            select field.*, null as path, 0 as path_number from field
            union all
            select field.*, path, path_number from field cross join unnest(json_paths) with ordinality as member (path, path_number)
        ) as field
        group by field.relation
    )
    select
        tables.relation,
        coalesce(tables.left_out, pg_temp.suggest_left_out(tables.relation, tables.known, shown.columns)),
        tables.resource, tables.category, orgs.org, orgs.why, coalesce(own.name, labels.label), labels.why,
        coalesce(shown.ignore, '{}'), shown.ignore_why,
        coalesce(shown.secret_columns, '{}') || coalesce(shown.paths, '{}') || settings.pairs, shown.secret_why,
        case when tables.category in ('users', 'profile') and not audit_internal.tells_of_a_person(tables.relation) then true end,
        actors.name,
        pg_temp.suggest_notes(tables.relation, shown.columns, facts -> 'sample' -> tables.relation::oid::text)
    from pg_temp.facts_tables(facts) as tables
    left join shown on shown.relation = tables.relation
    left join pg_temp.suggested_orgs(facts) as orgs on orgs.relation = tables.relation
    left join pg_temp.own_labels(facts) as own on own.relation = tables.relation
    left join pg_temp.suggested_labels(facts) as labels on labels.relation = tables.relation
    left join pg_temp.suggested_actors(facts) as actors on actors.relation = tables.relation
    cross join lateral (
        select array(
            select format('%s when %s', value_column, name_column)
            from pg_temp.facts_settings(facts) as setting
            where setting.relation = tables.relation
                and value_column <> all (coalesce(shown.secret_columns, '{}') || coalesce(shown.ignore, '{}'))
        ) as pairs
    ) as settings
    -- What inherits from a table has to be tracked before it.
    order by
        (
            with recursive heir as (
                select inhrelid
                from pg_inherits
                join pg_class on pg_class.oid = inhparent and relkind = 'r'
                where inhparent = tables.relation
                union
                select pg_inherits.inhrelid from heir join pg_inherits on pg_inherits.inhparent = heir.inhrelid
            )
            select count(*) from heir
        ),
        audit_internal.qualified_name(tables.relation) collate "C"
$$;

-- The comment above a proposed table: the why of each choice.
create function pg_temp.suggest_comment(suggestion jsonb)
returns setof text
language sql
stable
as $$
    select format('-- %s: %s', subject, said)
    from (values
        (1, 'organization', coalesce(
            pg_temp.one_line(suggestion ->> 'org') || ' (' || (suggestion ->> 'org_why') || ')',
            case when (suggestion ->> 'org_anywhere')::boolean then 'none was found: its events belong to no organization' end
        )),
        (2, 'label', coalesce(
            pg_temp.one_line(suggestion ->> 'label') || coalesce(' (' || (suggestion ->> 'label_why') || ')', ''),
            'none: no column that people know a row by'
        )),
        (3, 'not audited', suggestion ->> 'ignore_why'),
        (4, 'secret', suggestion ->> 'secret_why'),
        (5, 'secret in JSON', case when suggestion ->> 'secret' ~ E'\\.\\*\\*\\.' then 'members by these names, however deep; add what yours are called' end),
        (6, 'secret by name', (
            select string_agg(format('%s, in the rows whose %s looks secret',
                pg_temp.one_line(split_part(pair, ' when ', 1)), pg_temp.one_line(split_part(pair, ' when ', 2))), '; ')
            from jsonb_array_elements_text(suggestion -> 'secret') as pair
            where pair ~ ' when '
        )),
        (7, 'actor', pg_temp.one_line(suggestion ->> 'actor') || ' (says who changed the row; what audit.set_actor() claims comes first)'),
        (8, 'personal', case when (suggestion ->> 'personal')::boolean then 'a row is a person, though no column says so by its name' end)
    ) as line (number, subject, said)
    where said is not null
    union all
    select '-- note: ' || note from jsonb_array_elements_text(suggestion -> 'notes') as note
$$;

-- The SQL that adds those of the categories that are not there yet.
create function pg_temp.suggest_categories(categories text[])
returns setof text
language sql
stable
as $$
    select format(
        'insert into audit.category (name, label, position) values (%L, %L, 500) on conflict do nothing;',
        name, initcap(replace(name, '_', ' ') collate "C")
    )
    from (select distinct unnest(categories)) as wanted (name)
    where name not in (select category.name from audit.category)
    order by name collate "C"
$$;

-- The lines that propose a table: a row of audit.suggestions(), the rules, and the categories that were added further up.
create function pg_temp.suggest_table(suggestion jsonb, rules jsonb, known_categories text[])
returns setof text
language sql
stable
as $$
    with proposed as (
        select *
        from jsonb_to_record(suggestion) as proposed (
            relation regclass, resource text, category text, org text, label text, ignore text[], secret text[], personal boolean, actor text
        )
    ),
    rule as (
        select *
        from jsonb_to_recordset(rules) as rule (
            relation regclass, rank bigint, operation text, action text, category text, condition text, optional boolean, why text
        )
        where rule.relation = (select proposed.relation from proposed)
    ),
    wanted as (
        select array(
            select category from proposed union select category from rule where not optional
            except select unnest(known_categories)
        ) as categories
    ),
    line (part, rank, text) as (
        select 1, 0, '-- ' || pg_temp.one_line(audit_internal.qualified_name(relation)) from proposed
        union all
        select 2, 0, said from pg_temp.suggest_comment(suggestion) as said
        union all
        select 3, 0, said from wanted cross join lateral pg_temp.suggest_categories(categories) as said
        union all
        select 4, 0, pg_temp.track_call(relation, resource, category, org, label, ignore, secret, '{}', personal, actor) from proposed
        union all
        select 5, rank,
            case when why is distinct from lag(why) over (order by rank) then format(E'-- %s: %s\n', pg_temp.one_line(action), why) else '' end
                || pg_temp.rule_call(relation, action, category, operation, condition)
        from rule where not optional
        union all
        select 6, rank, format(E'-- %s: %s; without this line it is an update like others\n-- %s',
            pg_temp.one_line(action), why, replace(pg_temp.rule_call(relation, action, category, operation, condition), E'\n    ', ' '))
        from rule where optional
    )
    select part_line
    from line
    cross join lateral string_to_table(text, E'\n') with ordinality as split (part_line, number)
    order by part, rank, number
$$;

-- The lines, all comments, for a table that is left out: why, and how it would be tracked nevertheless.
create function pg_temp.suggest_rest(suggestion jsonb)
returns setof text
language sql
stable
as $$
    select format('-- %s: %s', pg_temp.one_line(audit_internal.qualified_name(relation)), pg_temp.one_line(left_out))
    from jsonb_to_record(suggestion) as rest (relation regclass, left_out text)
    union all
    select '--     ' || replace(pg_temp.track_call(relation, resource, null, org, label, ignore, secret, '{}', personal, actor), E'\n    ', ' ')
    from jsonb_to_record(suggestion) as rest (
        relation regclass, left_out text, resource text, org text, label text, ignore text[], secret text[], personal boolean, actor text
    )
    where left_out !~ '^(it |a partition of |tracked already)'
$$;

-- The body of audit.suggest(): the proposed tables, then those that are left out.
create function pg_temp.suggest_lines(schema_names text[])
returns setof text
language plpgsql
volatile
as $$
declare
    facts jsonb := pg_temp.suggest_facts(schema_names);
    found jsonb := (select coalesce(jsonb_agg(suggested), '[]') from pg_temp.suggestions(facts) as suggested);
    rules jsonb := (select coalesce(jsonb_agg(proposed), '[]') from pg_temp.suggested_rules(facts) as proposed);
    anywhere jsonb := jsonb_build_object('org_anywhere', jsonb_path_exists(found, '$[*] ? (@.org != null)'));
    suggestion jsonb;
    added text[] := '{}';
begin
    return query select format('-- Proposed: %s. Left out: %s.', count(*) filter (where value ->> 'left_out' is null), count(value ->> 'left_out'))
    from jsonb_array_elements(found);
    for suggestion in select value from jsonb_array_elements(found) where value ->> 'left_out' is null
    loop
        return query select '';
        return query select pg_temp.suggest_table(suggestion || anywhere, rules, added);
        added := added || (suggestion ->> 'category') || array(
            select value ->> 'category' from jsonb_array_elements(rules)
            where value -> 'relation' = suggestion -> 'relation' and not (value ->> 'optional')::boolean
        );
    end loop;
    if jsonb_path_exists(found, '$[*] ? (@.left_out != null)') then
        return query values (''), ('-- Not proposed, and why. To track one nevertheless, take the comment off its line.');
    end if;
    for suggestion in select value from jsonb_array_elements(found) where value ->> 'left_out' is not null
    loop
        return query select pg_temp.suggest_rest(suggestion);
    end loop;
end
$$;

-- Proposes what to track in schemas (default: public) as the lines of an SQL file for a person to review: reads the
-- catalogue, the statistics and a sample of rows as its caller, and changes nothing. PT002.
create function pg_temp.suggest(variadic schema_names text[] default '{public}')
returns setof text
language plpgsql
volatile
as $$
declare
    body text;
begin
    body := (select string_agg(line, E'\n' order by number) from pg_temp.suggest_lines(schema_names) with ordinality as body (line, number));
    return query values
        (format('-- What to track in %s: a proposal, made out of names, types, keys, statistics and a sample of rows.',
            (select string_agg(pg_temp.one_line(name), ', ') from unnest(schema_names) as name))),
        ('-- Read it, change it, then run it: psql -v ON_ERROR_STOP=1 -f FILE'),
        ('-- It may be run again. audit.track() also redacts what looks secret by its name, and says so.');
    if body ~ E'[^\\u0001-\\u007f]' then
        return query values ('set client_encoding = ''UTF8'';');
    end if;
    if body !~ E'\\n    org => ' then
        return query values ('-- No organization was found: no column such as org_id, no table of organizations. Events belong to none.');
    end if;
    return query select string_to_table(body, E'\n');
end
$$;

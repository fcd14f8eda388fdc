-- The proposal, and its file of SQL.

-- Why a table whose name says nothing is left out by its columns or its statistics; null: it is proposed.
create function pg_temp.suggest_left_out(relation regclass, known boolean)
returns text
language sql
stable
as $$
    select case
        when known then null
        when bool_and(is_key or is_foreign or ignore_why is not null) and bool_or(ignore_why is not null and kind = 'number')
            then 'nothing but counters beside its key'
        when max(n_tup_ins) >= 1000 and max(n_live_tup) >= 1000 and max(n_tup_upd + n_tup_del) = 0
            then format('only ever added to: %s inserts, no update, no delete by pg_stat_user_tables', max(n_tup_ins))
    end
    from pg_temp.column_fact
    left join pg_stat_user_tables on relid = column_fact.relation
    where column_fact.relation = suggest_left_out.relation
$$;

-- What a person should know of a table before its proposal is applied.
create function pg_temp.suggest_notes(relation regclass)
returns text[]
language sql
stable
as $$
    select array_remove(
        array(
            select jsonb_array_elements_text(columns -> '' -> 'note') from pg_temp.sample_fact where sample_fact.relation = pg_class.oid
        ) || array[
            case when n_live_tup > 0 and n_tup_upd >= 20 * n_live_tup then format(
                'pg_stat_user_tables: %s updates (%s of them moved no index) on %s rows%s', n_tup_upd, n_tup_hot_upd, n_live_tup,
                case when exists (select from pg_temp.column_fact where column_fact.relation = pg_class.oid and ignore_why is not null)
                    then ', most likely of the ignored columns'
                    else ': each would be an event. Find the column that moves and add it to ignore' end) end,
            case when cardinality(audit_internal.identity_columns(pg_class.oid)) = 0
                then 'it has no key: its events are identified by a digest of the whole row. Add a primary key first' end,
            case when not pg_has_role(pg_class.relowner, 'usage')
                then format('only its owner, %s, or who has TRIGGER on it can apply this', pg_temp.one_line(pg_get_userbyid(pg_class.relowner))) end
        ],
        null
    )
    from pg_class
    left join pg_stat_user_tables on relid = pg_class.oid
    where pg_class.oid = suggest_notes.relation
$$;

-- The rows of pg_temp.suggestion.
create function pg_temp.suggestions()
returns setof pg_temp.suggestion
language sql
stable
as $$
    with shown as materialized (
        select
            field.relation,
            array_agg(name order by number) filter (where ignore_why is not null) as ignore,
            string_agg(format('%s (%s)', pg_temp.one_line(name), ignore_why), ', ' order by number) filter (where ignore_why is not null) as ignore_why,
            array_agg(name order by number) filter (where secret_why is not null) as secret_columns,
            -- (Whatever looks secret by its name.)
            array_agg(format('%s.**.?', name) order by number) filter (where kind = 'json' and secret_why is null and ignore_why is null) as paths,
            string_agg(format('%s (%s)', pg_temp.one_line(name), secret_why), ', ' order by number) filter (where secret_why is not null) as secret_why
        from pg_temp.column_fact as field
        group by field.relation
    )
    select
        tables.relation,
        coalesce(tables.left_out, pg_temp.suggest_left_out(tables.relation, tables.known)),
        tables.resource, tables.category, orgs.org, orgs.why, coalesce(own.name, labels.label), labels.why,
        coalesce(shown.ignore, '{}'), shown.ignore_why,
        coalesce(shown.secret_columns, '{}') || coalesce(shown.paths, '{}') || settings.pairs, shown.secret_why,
        case when tables.category in ('users', 'profile') and not audit_internal.is_about_person(tables.relation) then true end,
        actors.name,
        pg_temp.suggest_notes(tables.relation)
    from pg_temp.table_fact as tables
    left join shown on shown.relation = tables.relation
    left join pg_temp.suggested_orgs() as orgs on orgs.relation = tables.relation
    left join pg_temp.column_labels() as own on own.relation = tables.relation
    left join pg_temp.suggested_labels() as labels on labels.relation = tables.relation
    left join pg_temp.suggested_actors() as actors on actors.relation = tables.relation
    cross join lateral (
        select array(
            select format('%s when %s', value_column, name_column)
            from pg_temp.setting_fact as setting
            where setting.relation = tables.relation
                and value_column <> all (coalesce(shown.secret_columns, '{}') || coalesce(shown.ignore, '{}'))
        ) as pairs
    ) as settings
    -- A child table has to be tracked before its parent.
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
create function pg_temp.suggest_comment(suggested pg_temp.suggestion)
returns setof text
language sql
stable
as $$
    select format('-- %s: %s', subject, said)
    from (values
        (1, 'organization', coalesce(
            pg_temp.one_line(suggested.org) || ' (' || suggested.org_why || ')',
            case when exists (select from pg_temp.suggestion where org is not null) then 'none was found: its events belong to no organization' end
        )),
        (2, 'label', coalesce(
            pg_temp.one_line(suggested.label) || coalesce(' (' || suggested.label_why || ')', ''),
            'none: no column that people know a row by'
        )),
        (3, 'not audited', suggested.ignore_why),
        (4, 'secret', suggested.secret_why),
        (5, 'secret in JSON', case when suggested.secret::text ~ E'\\.\\*\\*\\.' then 'members by these names, however deep; add what yours are called' end),
        (6, 'secret by name', (
            select string_agg(format('%s, in the rows whose %s looks secret',
                pg_temp.one_line(split_part(pair, ' when ', 1)), pg_temp.one_line(split_part(pair, ' when ', 2))), '; ')
            from unnest(suggested.secret) as pair
            where pair ~ ' when '
        )),
        (7, 'actor', pg_temp.one_line(suggested.actor) || ' (says who changed the row; what audit.set_actor() claims comes first)'),
        (8, 'personal', case when suggested.personal then 'a row is a person, though no column says so by its name' end)
    ) as line (number, subject, said)
    where said is not null
    union all
    select '-- note: ' || note from unnest(suggested.notes) as note
$$;

-- The lines that propose a table; known_categories: those that were added further up.
create function pg_temp.suggest_table(suggested pg_temp.suggestion, known_categories text[])
returns setof text
language sql
stable
as $$
    with rule as (
        select * from pg_temp.proposed_rule where proposed_rule.relation = suggested.relation
    ),
    line (part, rank, text) as (
        select 1, 0, '-- ' || pg_temp.one_line(audit_internal.qualified_name(suggested.relation))
        union all
        select 2, 0, comment from pg_temp.suggest_comment(suggested) as comment
        union all
        select 3, row_number() over (order by name collate "C"), format(
            'insert into audit.category (name, label, position) values (%L, %L, 500) on conflict do nothing;',
            name, initcap(replace(name, '_', ' ') collate "C")
        )
        from (select suggested.category union select category from rule where not optional) as wanted (name)
        where name <> all (known_categories) and name not in (select category.name from audit.category)
        union all
        select 4, 0, pg_temp.track_call(
            suggested.relation, suggested.resource, suggested.category, suggested.org, suggested.label, suggested.ignore,
            suggested.secret, '{}', suggested.personal, suggested.actor
        )
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
create function pg_temp.suggest_rest(suggested pg_temp.suggestion)
returns setof text
language sql
stable
as $$
    select format('-- %s: %s', pg_temp.one_line(audit_internal.qualified_name(suggested.relation)), pg_temp.one_line(suggested.left_out))
    union all
    select '--     ' || replace(
        pg_temp.track_call(
            suggested.relation, suggested.resource, null, suggested.org, suggested.label, suggested.ignore, suggested.secret, '{}',
            suggested.personal, suggested.actor
        ),
        E'\n    ', ' '
    )
    where suggested.left_out !~ '^(it |a partition of |tracked already)'
$$;

-- The body of pg_temp.suggest(): the proposed tables, then those that are left out.
create function pg_temp.suggest_lines()
returns setof text
language plpgsql
stable
as $$
declare
    suggested pg_temp.suggestion;
    added text[] := '{}';
begin
    return query
    select format('-- Proposed: %s. Left out: %s.', count(*) filter (where left_out is null), count(left_out))
    from pg_temp.suggestion;
    for suggested in select * from pg_temp.suggestion where left_out is null
    loop
        return query select '';
        return query select pg_temp.suggest_table(suggested, added);
        added := added || suggested.category || array(
            select category from pg_temp.proposed_rule where relation = suggested.relation and not optional
        );
    end loop;
    if exists (select from pg_temp.suggestion where left_out is not null) then
        return query values (''), ('-- Not proposed, and why. To track one nevertheless, take the comment off its line.');
    end if;
    for suggested in select * from pg_temp.suggestion where left_out is not null
    loop
        return query select pg_temp.suggest_rest(suggested);
    end loop;
end
$$;

-- Proposes what to track in schemas (default: public), as the lines of an SQL file for review: reads the
-- catalogue, the statistics and a sample of rows as its caller, and changes nothing. PT002.
create function pg_temp.suggest(variadic schema_names text[] default '{public}')
returns setof text
language plpgsql
as $$
declare
    body text;
begin
    perform pg_temp.make_suggestions(schema_names);
    body := (select string_agg(line, E'\n' order by number) from pg_temp.suggest_lines() with ordinality as body (line, number));
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

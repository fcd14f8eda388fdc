-- The text of the trigger functions that record, from a tracked table's settings, its rules and its columns.
--
-- A trigger for each row has what it records in variables, and inserts these; one for each statement inserts what it selects
-- from the rows of the statement. A function here for each clause of that: each returns SQL, and touches nothing.

-- What an update moved -------------------------------------------------------------------------------------------------

create or replace function audit.compiled_image(tracked audit.tracked_table, row_name text)
returns text
language sql
stable
as $$
    -- Compared by image: also what `=` calls equal (1.0 and 1.00) is a change, and a type needs no `=` (json).
    select pg_catalog.format(
        'row(%s)::record', pg_catalog.string_agg(pg_catalog.format('%s.%I', row_name, name), ', ' order by number)
    )
    from audit.audited_columns(tracked)
$$;

comment on function audit.compiled_image(audit.tracked_table, text) is
    'SQL for the record of a row''s audited columns, to be compared byte by byte.';

create or replace function audit.equal_means_same(relation regclass, column_name text)
returns boolean
language sql
stable
as $$
    -- Where values that `=` calls equal have one image. Elsewhere 1.0 and 1.00, or 0 and -0, would be the same.
    -- (Not of an enum: where somebody gave it an implicit cast, `=` is one of several.)
    select coalesce(element.oid, attribute.atttypid) in (
            'boolean'::regtype, 'smallint'::regtype, 'integer'::regtype, 'bigint'::regtype, 'oid'::regtype,
            'uuid'::regtype, 'date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype, 'bytea'::regtype,
            'text'::regtype, 'varchar'::regtype, 'inet'::regtype, 'cidr'::regtype
        )
        and coalesce(
            (select collisdeterministic from pg_catalog.pg_collation where oid = attribute.attcollation), true
        )
    from pg_catalog.pg_attribute as attribute
    -- (Arrays are equal where their elements and their bounds are.)
    left join pg_catalog.pg_type as element on element.typarray = attribute.atttypid
    where attribute.attrelid = relation and attribute.attname = column_name
$$;

comment on function audit.equal_means_same(regclass, text) is
    'Whether two values of a column are the same byte by byte if `is not distinct from` says that they are equal: it costs a third of comparing their images.';

create or replace function audit.compiled_moved(relation regclass, column_name text)
returns text
language sql
stable
as $$
    select pg_catalog.format(
        case
            when audit.equal_means_same(relation, column_name) then 'old.%1$I is distinct from new.%1$I'
            else 'row(old.%1$I)::record *<> row(new.%1$I)::record'
        end,
        column_name
    )
$$;

comment on function audit.compiled_moved(regclass, text) is 'SQL for whether an update moved a column.';

create or replace function audit.compiled_changed(tracked audit.tracked_table)
returns text
language sql
stable
as $$
    select pg_catalog.concat(
        'array_remove(array[',
        pg_catalog.string_agg(
            pg_catalog.concat(E'\n            case when ', audit.compiled_moved(tracked.relation, name), ' then ', pg_catalog.quote_literal(name), ' end'),
            ',' order by number
        ),
        E'\n        ]::text[], null)'
    )
    from audit.audited_columns(tracked)
$$;

comment on function audit.compiled_changed(audit.tracked_table) is
    'SQL for the names of the columns that an update moved.';

create or replace function audit.compiled_before(tracked audit.tracked_table)
returns text
language sql
stable
as $$
    select audit.compiled_object(
        pg_catalog.array_agg(name order by number),
        pg_catalog.array_agg(
            pg_catalog.concat('case when ', audit.compiled_moved(tracked.relation, name), ' then ', field, ' end') order by number
        ),
        sparse => true
    )
    from audit.compiled_fields(tracked, 'old', '{old,new}', as_given => false)
$$;

comment on function audit.compiled_before(audit.tracked_table) is
    'SQL for the jsonb of the fields that an update moved, as they were, without those that were null.';

create or replace function audit.compiled_changes(tracked audit.tracked_table)
returns text
language sql
stable
as $$
    select pg_catalog.string_agg(
        pg_catalog.concat(
            E'\n        if ', audit.compiled_moved(tracked.relation, name), E' then\n            changed := array_append(changed, ', pg_catalog.quote_literal(name),
            E');\n            before := coalesce(before, ''{}'') || ', audit.compiled_object(array[name], array[field], sparse => true),
            E';\n        end if;'
        ),
        '' order by number
    )
    from audit.compiled_fields(tracked, 'old', '{old,new}', as_given => true)
$$;

comment on function audit.compiled_changes(audit.tracked_table) is
    'PL/pgSQL that fills `changed` and `before` of one updated row, column by column: a function begins the cheaper, the fewer expressions it comes to.';

-- Which event ----------------------------------------------------------------------------------------------------------

create or replace function audit.compiled_names(tracked audit.tracked_table, row_operation text, with_rules boolean)
returns table (category text, action text, "position" bigint)
language sql
stable
as $$
    with rule as (
        select rule.id, rule.category, coalesce(rule.expression, 'true') as condition, rule.action
        from audit.rule
        where with_rules
            and rule.relation = tracked.relation
            and rule.operation = row_operation
            and rule.problem is null
    ),
    branch as (
        select id, category, condition, action
        from rule
        union all
        -- The table's default action, where no rule matches: within its category that is where the others end.
        select
            null,
            tracked.category,
            'not coalesce(' || pg_catalog.string_agg(condition, ' or ' order by id) filter (where category <> tracked.category) || ', false)',
            tracked.resource || case row_operation when 'INSERT' then '.created' when 'UPDATE' then '.updated' else '.deleted' end
        from rule
    )
    select
        category,
        case
            when count(condition) = 0 then pg_catalog.quote_literal(pg_catalog.min(action))
            else pg_catalog.concat(
                'case ',
                pg_catalog.string_agg(pg_catalog.concat('when ', condition, ' then ', pg_catalog.quote_literal(action)), E'\n            ' order by id)
                    filter (where condition is not null),
                E'\n            else ' || pg_catalog.quote_literal(pg_catalog.min(action) filter (where condition is null)),
                ' end'
            )
        end,
        pg_catalog.row_number() over (order by pg_catalog.min(id))
    from branch
    group by category
$$;

comment on function audit.compiled_names(audit.tracked_table, text, boolean) is
    'The events that a change gives, one for each category that has a rule, with SQL for its action; the table''s default where no rule matches (or without rules). Of one category alone every change has an action; of several one may be null.';

create or replace function audit.compiled_naming(tracked audit.tracked_table, row_operation text, with_rules boolean)
returns text
language sql
stable
as $$
    select pg_catalog.concat(
        '(values ', pg_catalog.string_agg(pg_catalog.concat('(', pg_catalog.quote_literal(category), ', ', action, ')'), E',\n        ' order by position),
        ') as named (category, action)'
    )
    from audit.compiled_names(tracked, row_operation, with_rules)
$$;

comment on function audit.compiled_naming(audit.tracked_table, text, boolean) is
    'SQL for a FROM item of what audit.compiled_names() gives; action is null where a category has no event.';

create or replace function audit.times_beside(relation regclass, actor_column text)
returns text[]
language plpgsql
stable
as $$
declare
    -- `updated` of updated_by, lastModified of lastModifiedById.
    verb constant text := pg_catalog.substring(audit.words_of(actor_column), '^(.+)_by(_|$)');
begin
    return array(
        select attname::text
        from pg_catalog.pg_attribute
        join pg_catalog.pg_type on pg_type.oid = atttypid
        where attrelid = relation
            and attnum > 0
            and not attisdropped
            and typcategory = 'D'
            and audit.words_of(attname) = any (array[verb, verb || '_at', verb || '_on', verb || '_date', verb || '_time', 'date_' || verb])
        order by attnum
    );
end
$$;

comment on function audit.times_beside(regclass, text) is
    'The columns that say when, beside the one that says who: updated_at for updated_by.';

create or replace function audit.compiled_claim(tracked audit.tracked_table, row_operation text)
returns text
language plpgsql
stable
as $$
begin
    -- Who deletes a row leaves no name in it. And one that was there before an update is that of somebody else, unless the
    -- update wrote the time beside it, too.
    return case
        when tracked.actor is null or row_operation not in ('INSERT', 'UPDATE') then null
        when row_operation = 'INSERT' then pg_catalog.format('nullif(new.%I::text, '''')', tracked.actor)
        else pg_catalog.format(
            'case when %s then nullif(new.%I::text, '''') end',
            (
                select pg_catalog.string_agg(
                    pg_catalog.format('row(old.%1$I)::record *<> row(new.%1$I)::record', column_name), ' or ' order by number
                )
                from pg_catalog.unnest(tracked.actor || audit.times_beside(tracked.relation, tracked.actor)) with ordinality as written (column_name, number)
            ),
            tracked.actor
        )
    end;
end
$$;

comment on function audit.compiled_claim(audit.tracked_table, text) is
    'SQL for who the row says wrote it. Null: no column says.';

create or replace function audit.compiled_actor(tracked audit.tracked_table, row_operation text)
returns text
language sql
stable
as $$
    select pg_catalog.concat(
        'coalesce(actor.type, ', 'case when ' || claim || ' is not null then ''user'' end, ', '''database''), ',
        'coalesce(actor.id, ', claim || ', ', 'audit.database_actor_id()), ',
        'actor.label, actor.ip, actor.user_agent, actor.request_id, actor.reason'
    )
    from (select audit.compiled_claim(tracked, row_operation) offset 0) as said (claim)
$$;

comment on function audit.compiled_actor(audit.tracked_table, text) is
    'SQL for the columns of an event that say who did it: what the application claimed (the variable actor), else what the row says, else the database role.';

create or replace function audit.compiled_texts(tracked audit.tracked_table, row_name text, beside text default null)
returns text
language sql
stable
as $$
    -- (JSON without the quotation marks that it has in any case.)
    select pg_catalog.concat(
        'concat_ws('' '', ',
        pg_catalog.concat_ws(
            ', ',
            pg_catalog.string_agg(text_column, ', ' order by attnum) filter (where not is_json),
            'replace(concat('
                || nullif(pg_catalog.concat_ws(', ', beside, pg_catalog.string_agg(text_column, ', ' order by attnum) filter (where is_json)), '')
                || '), ''"'', '''')'
        ),
        ')'
    )
    from (
        select
            attnum,
            pg_catalog.format('%s.%I', row_name, attname) as text_column,
            atttypid in ('pg_catalog.json'::pg_catalog.regtype, 'pg_catalog.jsonb'::pg_catalog.regtype) as is_json
        from pg_catalog.pg_attribute
        -- (In a subquery: found once, not for each column.)
        where attrelid = tracked.relation and attname in (select pg_catalog.unnest(audit.texts_to_look_through(tracked)))
    ) as looked_at
    having count(*) > 0
$$;

comment on function audit.compiled_texts(audit.tracked_table, text, text) is
    'SQL for the texts of a row, one behind the other, as audit.may_hold_secret_value() takes them; beside: SQL for JSON that is looked at too. Null: the row has no texts.';

-- One statement that records -------------------------------------------------------------------------------------------

create or replace function audit.compiled_insert(
    tracked audit.tracked_table,
    event_operation text,
    before text,
    after text,
    changed text,
    label text,
    source text,
    with_rules boolean,
    condition text default null
)
returns text
language plpgsql
stable
as $$
declare
    row_operation constant text := case event_operation when 'TRUNCATE' then 'DELETE' else event_operation end;
    row_name constant text := case row_operation when 'DELETE' then 'old' else 'new' end;
    resource_id constant text := audit.compiled_resource_id(tracked, row_name);
    -- Of one category alone every change has an action.
    only_name record;
    named_by text;
begin
    if (select count(*) from audit.compiled_names(tracked, row_operation, with_rules)) = 1 then
        select quote_literal(category) as category, action into only_name from audit.compiled_names(tracked, row_operation, with_rules);
    else
        select 'named.category' as category, 'named.action' as action into only_name;
        named_by := audit.compiled_naming(tracked, row_operation, with_rules);
    end if;
    return concat(
        E'insert into audit.recording (\n            category, action, operation, table_name, org_id, resource_type, resource_id, resource_hash, resource_label,\n'
        '            actor_type, actor_id, actor_label, actor_ip, user_agent, request_id, reason, before, after, changed\n        )\n        select ',
        concat_ws(
            E',\n            ',
            only_name.category,
            only_name.action,
            quote_literal(event_operation),
            quote_literal(audit.qualified_name(tracked.relation)),
            audit.compiled_org(tracked, row_name, row_operation),
            quote_literal(tracked.resource),
            resource_id,
            concat('hashtextextended(', resource_id, ', 0)'),
            label,
            audit.compiled_actor(tracked, row_operation),
            before,
            after,
            changed
        ),
        E'\n        from ' || nullif(concat_ws(E'\n        cross join lateral ', source, named_by), ''),
        E'\n        where ' || nullif(concat_ws(' and ', condition, case when named_by is not null then 'named.action is not null' end), ''),
        ';'
    );
end
$$;

comment on function audit.compiled_insert(audit.tracked_table, text, text, text, text, text, text, boolean, text) is
    'SQL that records a change, out of SQL for its before, after, changed and label; source is the FROM item that gives `old` or `new`, null where they are the trigger''s own variables; condition says which of its rows.';

-- Of one row -----------------------------------------------------------------------------------------------------------

create or replace function audit.compiled_row_recording(tracked audit.tracked_table, event_operation text)
returns text
language plpgsql
stable
as $$
declare
    row_name constant text := case event_operation when 'DELETE' then 'old' else 'new' end;
    recorded constant text := case event_operation when 'DELETE' then 'before' else 'after' end;
    texts constant text := audit.compiled_texts(tracked, row_name, case event_operation when 'UPDATE' then 'before' end);
    has_text_label constant boolean := exists (
        select
        from pg_attribute
        join pg_type on pg_type.oid = atttypid
        where attrelid = tracked.relation
            and attname = tracked.label
            and typcategory = 'S'
            and attname = any (audit.texts_to_look_through(tracked))
            and not audit.has_path(tracked.relation, 'label')
    );
begin
    return concat(
        recorded, ' := ', audit.compiled_whole(tracked, row_name, event_operation, as_given => true), ';',
        case event_operation when 'UPDATE' then audit.compiled_changes(tracked) end,
        -- Nearly all rows hold nothing to look for, and are recorded as they are.
        E'\n        texts := ' || texts || E';\n        if audit.may_hold_secret_value(texts) then\n            '
            || concat_ws(
                E'\n            ',
                case when event_operation <> 'INSERT' then concat('before := ', audit.compiled_cleaning(tracked, 'before'), ';') end,
                case when event_operation <> 'DELETE' then concat('after := ', audit.compiled_cleaning(tracked, 'after'), ';') end
            )
            || E'\n        end if;',
        E'\n        ',
        audit.compiled_insert(
            tracked,
            event_operation,
            -- (With the label of their block: a column may have such a name.)
            before => case event_operation when 'INSERT' then 'null' when 'UPDATE' then 'coalesce(recorded.before, ''{}'')' else 'recorded.before' end,
            after => case event_operation when 'DELETE' then 'null' else 'recorded.after' end,
            changed => case event_operation when 'UPDATE' then 'recorded.changed' else 'null' end,
            -- What was looked through already is not looked through again.
            label => case
                when has_text_label then concat('left(recorded.', recorded, ' ->> ', quote_literal(tracked.label), ', 200)')
                else audit.compiled_label(tracked, row_name, event_operation)
            end,
            source => audit.compiled_source(tracked, event_operation),
            with_rules => true
        )
    );
end
$$;

comment on function audit.compiled_row_recording(audit.tracked_table, text) is
    'PL/pgSQL of a trigger for each row that records it: what it was and is in variables, and one INSERT of these.';

-- Of a statement's rows ------------------------------------------------------------------------------------------------

create or replace function audit.compiled_selection(
    tracked audit.tracked_table, event_operation text, source text, with_rules boolean, cleans boolean, condition text default null
)
returns text
language plpgsql
stable
as $$
declare
    row_operation constant text := case event_operation when 'TRUNCATE' then 'DELETE' else event_operation end;
    row_name constant text := case row_operation when 'DELETE' then 'old' else 'new' end;
    whole constant text := audit.compiled_whole(tracked, row_name, row_operation, as_given => false);
    before text := case row_operation when 'INSERT' then 'null' when 'UPDATE' then audit.compiled_before(tracked) else whole end;
    after text := case row_operation when 'DELETE' then 'null' else whole end;
begin
    if cleans then
        before := audit.compiled_cleaning(tracked, before);
        after := audit.compiled_cleaning(tracked, after);
    end if;
    return audit.compiled_insert(
        tracked, event_operation, before, after,
        changed => case row_operation when 'UPDATE' then audit.compiled_changed(tracked) else 'null' end,
        label => audit.compiled_label(tracked, row_name, row_operation, cleans),
        source => source,
        with_rules => with_rules,
        condition => condition
    );
end
$$;

comment on function audit.compiled_selection(audit.tracked_table, text, text, boolean, boolean, text) is
    'SQL that records all rows of a source, which gives `old` and `new`; cleans: their texts are looked through for secrets.';

create or replace function audit.records_by_row(tracked audit.tracked_table, event_operation text)
returns boolean
language plpgsql
stable
as $$
begin
    if event_operation = 'TRUNCATE' then
        return false;
    elsif event_operation = 'UPDATE' and not tracked.bulk then
        return true;
    end if;
    return (
        select relkind = 'p'
            -- A write through a parent fires the row triggers of what inherits from it, and none of its statement triggers.
            or exists (select from pg_catalog.pg_inherits where inhrelid = tracked.relation)
            -- A parent's transition tables have its children's rows too, which a tracked child records by itself.
            or (
                event_operation <> 'INSERT'
                and relhassubclass
                and exists (
                    with recursive descendant (relation) as (
                        select inhrelid from pg_catalog.pg_inherits where inhparent = tracked.relation
                        union
                        select pg_inherits.inhrelid
                        from descendant
                        join pg_catalog.pg_inherits on pg_inherits.inhparent = descendant.relation
                    )
                    select
                    from descendant
                    join audit.tracked_table as child on child.relation = descendant.relation
                )
            )
        from pg_catalog.pg_class
        where pg_class.oid = tracked.relation
    );
end
$$;

comment on function audit.records_by_row(audit.tracked_table, text) is
    'Whether the trigger of an operation fires for each row, rather than for each statement with the rows that it changed.';

create or replace function audit.compiled_pairing(tracked audit.tracked_table)
returns text
language sql
stable
as $$
    -- A key that was dropped since pairs nothing, and where a foreign key acts one statement may update a row twice, so that
    -- its key is there twice: then the order of the update pairs.
    -- Only what Postgres is born with has its `=` in pg_catalog, where nobody else's is found; others are compared as text.
    select case
        when exists (
            select
            from pg_catalog.pg_constraint
            where conrelid = tracked.relation and (confupdtype in ('c', 'n', 'd') or confdeltype in ('n', 'd'))
        )
        -- Until it is checked, at the end of the transaction, several rows may have one key.
        or (audit.identity_index(tracked.relation)).indimmediate is false
        then 'false'
        else coalesce(
            pg_catalog.string_agg(
                case
                    when attribute.atttypid < 16384 then pg_catalog.format('new.%1$I = old.%1$I', name)
                    else pg_catalog.format('format(''%%s'', new.%1$I) = format(''%%s'', old.%1$I)', name)
                end,
                ' and ' order by position
            ),
            'false'
        )
    end
    from pg_catalog.unnest(audit.identity_columns(tracked.relation)) with ordinality as part (name, position)
    join pg_catalog.pg_attribute as attribute on attribute.attrelid = tracked.relation and attribute.attname = part.name
$$;

comment on function audit.compiled_pairing(audit.tracked_table) is 'SQL for what says that `old` and `new` are one resource.';

create or replace function audit.compiled_source(tracked audit.tracked_table, event_operation text, all_as_text boolean default false)
returns text
language sql
stable
as $$
    select case
        when audit.records_by_row(tracked, event_operation) then nullif(pg_catalog.concat_ws(
            E'\n        cross join ',
            case when event_operation <> 'INSERT' then audit.compiled_item(tracked.relation, 'old', null, all_as_text) end,
            case when event_operation <> 'DELETE' then audit.compiled_item(tracked.relation, 'new', null, all_as_text) end
        ), '')
        when event_operation = 'INSERT' then audit.compiled_item(tracked.relation, 'new', 'new_rows', all_as_text)
        when event_operation = 'UPDATE' then pg_catalog.concat(
            audit.compiled_item(tracked.relation, 'old', 'old_rows', all_as_text),
            E'\n        join ',
            audit.compiled_item(tracked.relation, 'new', 'new_rows', all_as_text),
            ' on ',
            audit.compiled_pairing(tracked)
        )
        when event_operation = 'DELETE' then audit.compiled_item(tracked.relation, 'old', 'old_rows', all_as_text)
        else pg_catalog.concat(
            pg_catalog.format('audit.%I(tg_relid, ''(0,0)'', ''(4294967295,0)'') as old (', audit.reader_name(tracked.relation)),
            audit.plain_columns(tracked.relation),
            ')'
        )
    end
$$;

comment on function audit.compiled_source(audit.tracked_table, text, boolean) is
    'The FROM item of the rows that a statement changed; null where the trigger has them as `old` and `new`, and may record them as they are.';

create or replace function audit.compiled_updates(tracked audit.tracked_table, with_rules boolean, all_as_text boolean, cleans boolean)
returns text
language sql
stable
as $$
    -- A row belongs to the resource that its key says, so old and new are paired by it. Of a key that is only on one side,
    -- since the update moved it, the other half is at the same place among those: in the order of the update. (Numbered before
    -- anything is joined, which has an order of its own.)
    select pg_catalog.concat(
        audit.compiled_selection(
            tracked, 'UPDATE', audit.compiled_source(tracked, 'UPDATE', all_as_text), with_rules, cleans, differs
        ),
        E'\n        recorded_rows := recorded_rows or found;\n        if exists (select from ', old_item,
        ' where not exists (select from ', new_item, ' where ', pairing, E')) then\n        ',
        audit.compiled_selection(
            tracked,
            'UPDATE',
            pg_catalog.concat(
                E'(\n            select old.*, row_number() over (order by old."pgtrail number") as "pgtrail place"\n',
                '            from (select old.*, row_number() over () as "pgtrail number" from ', old_item, E') as old\n',
                '            where not exists (select from ', new_item, ' where ', pairing, E')\n        ) as old\n',
                E'        join (\n            select new.*, row_number() over (order by new."pgtrail number") as "pgtrail place"\n',
                '            from (select new.*, row_number() over () as "pgtrail number" from ', new_item, E') as new\n',
                '            where not exists (select from ', old_item, ' where ', pairing, E')\n        ) as new',
                ' on new."pgtrail place" = old."pgtrail place"'
            ),
            with_rules,
            cleans,
            differs
        ),
        E'\n        recorded_rows := true;\n        end if;'
    )
    from audit.compiled_pairing(tracked) as pairing
    cross join lateral (
        select
            audit.compiled_item(tracked.relation, 'old', 'old_rows', all_as_text),
            audit.compiled_item(tracked.relation, 'new', 'new_rows', all_as_text),
            (
                select pg_catalog.concat('(', pg_catalog.string_agg(audit.compiled_moved(tracked.relation, name), ' or ' order by number), ')')
                from audit.audited_columns(tracked)
            )
    ) as item (old_item, new_item, differs)
$$;

comment on function audit.compiled_updates(audit.tracked_table, boolean, boolean, boolean) is
    'SQL that records what a statement updated, all at once.';

create or replace function audit.compiled_recording(
    tracked audit.tracked_table, event_operation text, with_rules boolean, all_as_text boolean, cleans boolean
)
returns text
language sql
stable
as $$
    select case
        when event_operation = 'UPDATE' and not audit.records_by_row(tracked, event_operation)
            then audit.compiled_updates(tracked, with_rules, all_as_text, cleans)
        else audit.compiled_selection(
            tracked, event_operation, audit.compiled_source(tracked, event_operation, all_as_text), with_rules, cleans
        )
    end
$$;

comment on function audit.compiled_recording(audit.tracked_table, text, boolean, boolean, boolean) is
    'SQL that records what a statement changed, with the names that the rules give or the table''s default ones.';

create or replace function audit.compiled_statement_recording(tracked audit.tracked_table, event_operation text)
returns text
language plpgsql
stable
as $$
declare
    suspicion constant text := (
        select string_agg(
            'exists (select from (select ' || audit.compiled_texts(tracked, row_name)
                || format(' as texts from %1$s_rows as %1$s offset 0) as held where audit.may_hold_secret_value(texts))', row_name),
            E'\n            or '
        )
        from unnest(audit.rows_of(event_operation)) as row_name
    );
begin
    return case
        -- (What reads a TRUNCATE's rows reads them once.)
        when event_operation = 'TRUNCATE' then audit.compiled_recording(tracked, event_operation, with_rules => true, all_as_text => false, cleans => true)
        else concat(
            'if ' || suspicion || E' then\n        '
                || audit.compiled_recording(tracked, event_operation, with_rules => true, all_as_text => false, cleans => true)
                || E'\n        else\n        ',
            audit.compiled_recording(tracked, event_operation, with_rules => true, all_as_text => false, cleans => false),
            case when suspicion is not null then E'\n        end if;' end
        )
    end;
end
$$;

comment on function audit.compiled_statement_recording(audit.tracked_table, text) is
    'PL/pgSQL of a trigger for each statement that records its rows, looked through for secrets where one of them may hold one.';

create or replace function audit.compiled_fallback(tracked audit.tracked_table, event_operation text)
returns text
language sql
stable
as $$
    select audit.compiled_recording(tracked, event_operation, with_rules => false, all_as_text => true, cleans => true)
$$;

comment on function audit.compiled_fallback(audit.tracked_table, text) is
    'SQL that records what a statement changed where what was compiled for it can''t be used: all values as text, without the rules.';

-- A trigger function, from its first line to its last --------------------------------------------------------------------

create or replace function audit.compiled_ending(tracked audit.tracked_table, event_operation text)
returns text
language plpgsql
stable
as $$
begin
    return (
        select E'\n    return null;\n' || case on_failure
            when 'continue' then
                pg_catalog.concat(
                    E'exception\n    when serialization_failure or deadlock_detected then\n        raise;\n    when others then\n    begin\n    ',
                    audit.compiled_fallback(tracked, event_operation),
                    E'\n    exception\n        when others then\n            null;\n    end;\n    ',
                    pg_catalog.format(
                        E'perform audit.note_failure(%L, %L, sqlstate);\n    return null;\nend\n',
                        audit.qualified_name(tracked.relation),
                        event_operation
                    )
                )
            else E'end\n'
        end
        from audit.policy
    );
end
$$;

comment on function audit.compiled_ending(audit.tracked_table, text) is
    'How a trigger function ends: by itself; or, where the policy prefers that the application goes on, by recording what can be recorded.';

create or replace function audit.compiled_unchanged(tracked audit.tracked_table)
returns text
language sql
stable
as $$
    -- Where `old` is made as `new` in what is ignored, the two differ in what is audited or not at all: half of what it
    -- costs to compare the images of two lists of columns. Not where a rule looks at an ignored column.
    select case
        when pg_catalog.bool_or(audit.is_recorded_as_text(attribute.atttypid)) is not true
            and not exists (
                select
                from audit.rule
                where rule.relation = tracked.relation
                    and rule.operation = 'UPDATE'
                    and (
                        exists (
                            select
                            from pg_catalog.unnest(tracked.ignore) as name
                            where pg_catalog.strpos(
                                pg_catalog.lower(pg_catalog.replace(rule.condition, '""', '"') collate "C"), pg_catalog.lower(name collate "C")
                            ) > 0
                        )
                        -- Or at the whole row.
                        or rule.condition collate "C" ~* '\mold\M(?!\s*[.]\s*["[:alpha:]_])'
                    )
            )
        then
            coalesce(pg_catalog.string_agg(
                pg_catalog.format(E'old.%1$I := new.%1$I;\n    ', attribute.attname), '' order by attribute.attnum
            ), '')
            || E'if old *= new then\n        return null;\n    end if;\n    '
        else pg_catalog.concat(
            'if ', audit.compiled_image(tracked, 'old'),
            E'\n        *= ', audit.compiled_image(tracked, 'new'),
            E'\n    then\n        return null;\n    end if;\n    '
        )
    end
    from pg_catalog.pg_attribute as attribute
    where attribute.attrelid = tracked.relation
        and attribute.attname = any (tracked.ignore)
        and attribute.attnum > 0
        and not attribute.attisdropped
        and attribute.attgenerated <> 'v'
$$;

comment on function audit.compiled_unchanged(audit.tracked_table) is
    'What a trigger function for each updated row begins with: it ends where no audited column has changed.';

create or replace function audit.compiled_check(tracked audit.tracked_table, event_operation text)
returns text
language sql
stable
as $$
    -- On TRUNCATE a warning: a partition that was detached may still have the trigger, and it is its owner's to empty.
    select pg_catalog.concat(
        -- (The oid that it had when it was compiled: after a restore audit.captures() knows it.)
        'if tg_relid <> ', coalesce(tracked.numbered_oid, tracked.relation),
        case when relkind = 'p' then
            pg_catalog.concat(' and pg_partition_root(tg_relid) is distinct from ', coalesce(tracked.numbered_oid, tracked.relation))
        end,
        -- (Apart, since it costs something to prepare a call that is not made.)
        pg_catalog.format(E' then\n        if not audit.captures(tg_relid, %L) then', audit.qualified_name(tracked.relation)),
        E'\n            raise ', case event_operation when 'TRUNCATE' then 'warning' else 'exception' end, ' using errcode = ''PT063'', ',
        pg_catalog.format(
            E'message = format(''trigger %%s of %%s is of no use there: it records %%s'', tg_name, tg_relid::regclass, %L), ',
            audit.qualified_name(tracked.relation)
        ),
        E'hint = ''Drop it; audit.track() makes the triggers of a table.'';',
        case event_operation when 'TRUNCATE' then E'\n            return null;' end,
        E'\n        end if;\n    end if;\n    ',
        -- It empties the table of all rows, and an older snapshot does not see all of them.
        case event_operation when 'TRUNCATE' then
            E'if current_setting(''transaction_isolation'') not in (''read committed'', ''read uncommitted'') then\n'
            '        raise exception using errcode = ''PT064'', '
            'message = format(''a TRUNCATE of %s can''''t be recorded in a transaction that is %s'', tg_relid::regclass, current_setting(''transaction_isolation'')), '
            'hint = ''Truncate it in a transaction that is read committed, or delete its rows.'';\n    end if;\n    '
        end
    )
    from pg_catalog.pg_class
    where pg_class.oid = tracked.relation
$$;

comment on function audit.compiled_check(audit.tracked_table, text) is
    'What ends a capture function that is called for another table than its own.';

create or replace function audit.has_rows_of_statement(fired_on regclass, trigger_name name, rows_name name)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select exists (
        select from pg_trigger where tgrelid = fired_on and tgname = trigger_name and rows_name in (tgoldtable, tgnewtable)
    )
$$;

comment on function audit.has_rows_of_statement(regclass, name, name) is
    'Whether a trigger hands its function the rows of the statement under a name.';

create or replace function audit.compiled_rows_check(event_operation text)
returns text
language sql
immutable
as $$
    -- What a trigger does not hand over is looked up by name, and found as a temporary table or view of somebody's. (Each
    -- condition by itself, since it costs something to prepare a call that is not made.)
    select E'if pg_my_temp_schema() <> 0 then\n        ' || pg_catalog.string_agg(
        pg_catalog.format(
            E'if to_regclass(''pg_temp.%1$s'') is not null then\n'
            '            if not audit.has_rows_of_statement(tg_relid, tg_name, ''%1$s'') then\n'
            '                raise exception using errcode = ''PT063'', '
            'message = format(''trigger %%s of %%s does not hand over the rows of a statement'', tg_name, tg_relid::regclass), '
            'hint = ''Drop it; audit.track() makes the triggers of a table.'';\n'
            '            end if;\n        end if;\n    ',
            rows_name
        ),
        '    '
    ) || E'end if;\n    '
    from (values ('DELETE', 'old_rows'), ('INSERT', 'new_rows'), ('UPDATE', 'old_rows'), ('UPDATE', 'new_rows')) as handed (operation, rows_name)
    where handed.operation = event_operation
$$;

comment on function audit.compiled_rows_check(text) is
    'What ends a capture function for a statement whose trigger has no such rows, and that would find others by their name.';

create or replace function audit.compiled_types(tracked audit.tracked_table, event_operation text)
returns text
language plpgsql
stable
as $$
begin
    return (
        -- Postgres compares records of nulls while it plans, once a session, and raises an error where a type is another: then
        -- what was compiled for a number might call a cast of its owner's.
        -- (The name of the table's row is looked up again by every session: it must be this table's still.)
        select pg_catalog.concat(
            E'begin\n        ',
            case
                when not by_row then pg_catalog.format(
                    E'if tg_relid <> %L::regclass then\n            raise sqlstate ''PT062'';\n        end if;\n        ', audit.qualified_name(tracked.relation)
                )
            end,
            'if row(',
            pg_catalog.string_agg(
                pg_catalog.format(
                    case when by_row then 'case when false then %s.%I end' else '(null::%3$s).%2$I' end,
                    case event_operation when 'DELETE' then 'old' else 'new' end,
                    name,
                    audit.qualified_name(tracked.relation)
                ),
                ', ' order by number
            ),
            E')::record\n            *<> row(',
            pg_catalog.string_agg(
                'null::' || pg_catalog.format_type(type_oid, -1), ', ' order by number
            ),
            E')::record then\n            null;\n        end if;\n    exception\n        when others then\n',
            E'            is_as_compiled := audit.has_safe_types(tg_relid, ',
            pg_catalog.quote_literal(audit.columns_as_text(tracked.relation)),
            E') is true;\n    end;\n    '
        )
        from audit.live_columns(tracked.relation)
        -- (`offset 0`: once, not for each column.)
        cross join (select audit.records_by_row(tracked, event_operation) offset 0) as kind (by_row)
        where has_value and not audit.is_recorded_as_text(type_oid) and event_operation <> 'TRUNCATE'
        group by by_row
    );
end
$$;

comment on function audit.compiled_types(audit.tracked_table, text) is
    'What finds out whether a table''s columns are of the types that a capture function was compiled for: no event trigger may have followed. Null: nothing depends on it.';

create or replace function audit.compiled_body(tracked audit.tracked_table, event_operation text)
returns text
language plpgsql
stable
as $$
declare
    by_row constant boolean := audit.records_by_row(tracked, event_operation);
    in_bulk constant boolean := event_operation = 'UPDATE' and not by_row;
    types constant text := audit.compiled_types(tracked, event_operation);
begin
    return concat(
        -- A line break in a name must not end the comment.
        '-- ', event_operation, ' on ', translate(audit.qualified_name(tracked.relation), E'\n\r', '  '),
        E', compiled from audit.tracked_table and audit.rule. Do not edit: audit.recompile() writes it anew.\n',
        E'#variable_conflict use_column\n<<recorded>>\ndeclare\n    actor audit.actor;\n    is_as_compiled boolean;\n',
        case when in_bulk then E'    recorded_rows boolean := false;\n' end,
        case when by_row then E'    before jsonb;\n    after jsonb;\n    changed text[];\n    texts text;\n' end,
        E'begin\n    ',
        case when event_operation = 'UPDATE' and by_row then audit.compiled_unchanged(tracked) end,
        audit.compiled_check(tracked, event_operation),
        case when not by_row then audit.compiled_rows_check(event_operation) end,
        types,
        E'if audit.actor_is_claimed() then\n        actor := audit.claimed_actor();\n    end if;\n',
        E'    if is_as_compiled is not false then\n        ',
        case when by_row then audit.compiled_row_recording(tracked, event_operation) else audit.compiled_statement_recording(tracked, event_operation) end,
        audit.compiled_org_naming(tracked, event_operation),
        E'\n    else\n        ' || case when types is not null then audit.compiled_fallback(tracked, event_operation) end,
        E'\n    end if;\n    if ',
        case when in_bulk then 'recorded_rows and ' when not by_row then 'found and ' end,
        E'audit.takes_the_wake() then\n        notify pgtrail;\n    end if;',
        audit.compiled_ending(tracked, event_operation)
    );
end
$$;

comment on function audit.compiled_body(audit.tracked_table, text) is
    'The body of a tracked table''s trigger function for INSERT, UPDATE, DELETE or TRUNCATE.';

-- The text of the trigger functions that record, from a tracked table's settings, its rules and its columns.
--
-- A trigger for each row has what it records in variables, and inserts these; one for each statement inserts what it selects
-- from the rows of the statement. A function for each clause of that: each returns SQL, and touches nothing.
-- Here what an update changed, which events it gives, and who did it.

create or replace function audit_internal.row_image_sql(tracked audit.tracked_table, row_name text)
returns text
language sql
stable
as $$
    -- Compared by image: also what `=` calls equal (1.0 and 1.00) is a change, and a type needs no `=` (json).
    select pg_catalog.format(
        'row(%s)::record', pg_catalog.string_agg(pg_catalog.format('%s.%I', row_name, name), ', ' order by number)
    )
    from audit_internal.audited_columns(tracked)
$$;

comment on function audit_internal.row_image_sql(audit.tracked_table, text) is
    'SQL for the record of a row''s audited columns, to be compared byte by byte.';

create or replace function audit_internal.equality_is_exact(relation regclass, column_name text)
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

comment on function audit_internal.equality_is_exact(regclass, text) is
    'Whether two values of a column are the same byte by byte if `is not distinct from` says that they are equal: it costs a third of comparing their images.';

create or replace function audit_internal.column_changed_sql(relation regclass, column_name text)
returns text
language sql
stable
as $$
    select pg_catalog.format(
        case
            when audit_internal.equality_is_exact(relation, column_name) then 'old.%1$I is distinct from new.%1$I'
            else 'row(old.%1$I)::record *<> row(new.%1$I)::record'
        end,
        column_name
    )
$$;

comment on function audit_internal.column_changed_sql(regclass, text) is 'SQL for whether an update changed a column.';

create or replace function audit_internal.changed_names_sql(tracked audit.tracked_table)
returns text
language sql
stable
as $$
    select pg_catalog.concat(
        'array_remove(array[',
        pg_catalog.string_agg(
            pg_catalog.concat(E'\n            case when ', audit_internal.column_changed_sql(tracked.relation, name), ' then ', pg_catalog.quote_literal(name), ' end'),
            ',' order by number
        ),
        E'\n        ]::text[], null)'
    )
    from audit_internal.audited_columns(tracked)
$$;

comment on function audit_internal.changed_names_sql(audit.tracked_table) is
    'SQL for the names of the columns that an update changed.';

create or replace function audit_internal.changed_fields_sql(tracked audit.tracked_table)
returns text
language sql
stable
as $$
    select audit_internal.object_sql(
        pg_catalog.array_agg(name order by number),
        pg_catalog.array_agg(
            pg_catalog.concat('case when ', audit_internal.column_changed_sql(tracked.relation, name), ' then ', field, ' end') order by number
        ),
        sparse => true
    )
    from audit_internal.fields_sql(tracked, 'old', '{old,new}', as_given => false)
$$;

comment on function audit_internal.changed_fields_sql(audit.tracked_table) is
    'SQL for the jsonb of the fields that an update changed, as they were, without those that were null.';

create or replace function audit_internal.update_changes_sql(tracked audit.tracked_table)
returns text
language sql
stable
as $$
    select pg_catalog.string_agg(
        pg_catalog.concat(
            E'\n        if ', audit_internal.column_changed_sql(tracked.relation, name), E' then\n            changed := array_append(changed, ', pg_catalog.quote_literal(name),
            E');\n            before := coalesce(before, ''{}'') || ', audit_internal.object_sql(array[name], array[field], sparse => true),
            E';\n        end if;'
        ),
        '' order by number
    )
    from audit_internal.fields_sql(tracked, 'old', '{old,new}', as_given => true)
$$;

comment on function audit_internal.update_changes_sql(audit.tracked_table) is
    'PL/pgSQL that fills `changed` and `before` of one updated row, column by column: a function begins the cheaper, the fewer expressions it comes to.';

-- Which event ----------------------------------------------------------------------------------------------------------

create or replace function audit_internal.event_names_sql(tracked audit.tracked_table, row_operation text, with_rules boolean)
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

comment on function audit_internal.event_names_sql(audit.tracked_table, text, boolean) is
    'The events that a change gives, one for each category that has a rule, with SQL for its action; the table''s default where no rule matches (or without rules). Of one category alone every change has an action; of several one may be null.';

create or replace function audit_internal.naming_sql(tracked audit.tracked_table, row_operation text, with_rules boolean)
returns text
language sql
stable
as $$
    select pg_catalog.concat(
        '(values ', pg_catalog.string_agg(pg_catalog.concat('(', pg_catalog.quote_literal(category), ', ', action, ')'), E',\n        ' order by position),
        ') as named (category, action)'
    )
    from audit_internal.event_names_sql(tracked, row_operation, with_rules)
$$;

comment on function audit_internal.naming_sql(audit.tracked_table, text, boolean) is
    'SQL for a FROM item of what audit_internal.event_names_sql() gives; action is null where a category has no event.';

create or replace function audit_internal.timestamps_of_actor(relation regclass, actor_column text)
returns text[]
language plpgsql
stable
as $$
declare
    -- `updated` of updated_by, lastModified of lastModifiedById.
    verb constant text := pg_catalog.substring(audit_internal.words_of(actor_column), '^(.+)_by(_|$)');
begin
    return array(
        select attname::text
        from pg_catalog.pg_attribute
        join pg_catalog.pg_type on pg_type.oid = atttypid
        where attrelid = relation
            and attnum > 0
            and not attisdropped
            and typcategory = 'D'
            and audit_internal.words_of(attname) = any (array[verb, verb || '_at', verb || '_on', verb || '_date', verb || '_time', 'date_' || verb])
        order by attnum
    );
end
$$;

comment on function audit_internal.timestamps_of_actor(regclass, text) is
    'The columns that say when, beside the one that says who: updated_at for updated_by.';

create or replace function audit_internal.actor_from_row_sql(tracked audit.tracked_table, row_operation text)
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
                from pg_catalog.unnest(tracked.actor || audit_internal.timestamps_of_actor(tracked.relation, tracked.actor)) with ordinality as written (column_name, number)
            ),
            tracked.actor
        )
    end;
end
$$;

comment on function audit_internal.actor_from_row_sql(audit.tracked_table, text) is
    'SQL for who the row says wrote it. Null: no column says.';

create or replace function audit_internal.actor_sql(tracked audit.tracked_table, row_operation text)
returns text
language sql
stable
as $$
    select pg_catalog.concat(
        'coalesce(actor.type, ', 'case when ' || claim || ' is not null then ''user'' end, ', '''database''), ',
        'coalesce(actor.id, ', claim || ', ', 'audit_internal.database_actor_id()), ',
        'actor.label, actor.ip, actor.user_agent, actor.request_id, actor.reason'
    )
    from (select audit_internal.actor_from_row_sql(tracked, row_operation) offset 0) as said (claim)
$$;

comment on function audit_internal.actor_sql(audit.tracked_table, text) is
    'SQL for the columns of an event that say who did it: what the application claimed (the variable actor), else what the row says, else the database role.';

create or replace function audit_internal.texts_sql(tracked audit.tracked_table, row_name text, beside text default null)
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
        where attrelid = tracked.relation and attname in (select pg_catalog.unnest(audit_internal.text_columns_to_scan(tracked)))
    ) as looked_at
    having count(*) > 0
$$;

comment on function audit_internal.texts_sql(audit.tracked_table, text, text) is
    'SQL for the texts of a row, one behind the other, as audit_internal.may_hold_secret_value() takes them; beside: SQL for JSON that is looked at too. Null: the row has no texts.';

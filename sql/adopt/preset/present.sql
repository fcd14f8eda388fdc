-- The functions that a preset (sql/presets/) calls: the SQL that tracks a table, with what the installed version of the
-- application has.
-- Tables are looked up in the schema of the setting pgtrail.preset_schema.

create function pg_temp.present_table(table_name text)
returns regclass
language sql
stable
as $$
    select pg_class.oid
    from pg_class
    join pg_namespace on pg_namespace.oid = relnamespace
    where nspname = current_setting('pgtrail.preset_schema') and relname = table_name and relkind in ('r', 'p')
$$;

-- Those of the names that are columns of the table, paths into one, or `value when key` of two.
create function pg_temp.present_columns(relation regclass, names text[])
returns text[]
language sql
stable
as $$
    select array(
        select name
        from unnest(names) with ordinality as wanted (name, position)
        where audit_internal.columns_of_secret(relation, name) <@ audit_internal.column_names(relation)
        order by position
    )
$$;

-- Whether a step of a path (column, table.column or schema.table.column) is there.
create function pg_temp.is_present_step(relation regclass, step text)
returns boolean
language sql
stable
as $$
    select coalesce(audit_internal.column_number(place, names[cardinality(names)]) is not null, false)
    from (select parse_ident(step)) as written (names)
    cross join lateral (
        select case cardinality(names) when 1 then relation else audit_internal.named_table(names, relation) end
    ) as home (place)
$$;

-- Those of the paths, separated by commas, whose tables and columns are there; null: none.
create function pg_temp.present_paths(relation regclass, paths text)
returns text
language sql
stable
as $$
    select string_agg(path.part, ', ' order by path.number)
    from audit_internal.split_unquoted(paths, ',') as path (part, number)
    where (
        select bool_and(pg_temp.is_present_step(relation, step.part))
        from audit_internal.split_unquoted(path.part, '->') as step (part, number)
    )
$$;

create function pg_temp.present_label(relation regclass, label text)
returns text
language sql
stable
as $$
    select case
        when audit_internal.is_path(relation, label) then (
            select string_agg(pg_temp.present_paths(relation, part), ' + ' order by number)
            from audit_internal.split_unquoted(label, E'\\+')
        )
        else (pg_temp.present_columns(relation, array[label]))[1]
    end
$$;

-- The call of audit.track() with the columns and paths that are there; null: the table is not.
create function pg_temp.track(
    table_name text,
    resource text,
    category text,
    org text default null,
    label text default null,
    ignore text[] default '{}',
    secret text[] default '{}',
    reveal text[] default '{}',
    personal boolean default null,
    actor text default null
)
returns text
language sql
stable
as $$
    select pg_temp.track_call(
        relation,
        resource,
        category,
        pg_temp.present_paths(relation, org),
        pg_temp.present_label(relation, label),
        pg_temp.present_columns(relation, ignore),
        pg_temp.present_columns(relation, secret),
        pg_temp.present_columns(relation, reveal),
        personal,
        (pg_temp.present_columns(relation, array[actor]))[1]
    )
    from pg_temp.present_table(table_name) as relation
    where relation is not null
$$;

-- The call of audit.rule(); null: the table is not there, or lacks a column that the condition needs.
create function pg_temp.rule(
    table_name text,
    action text,
    category text,
    operation text,
    condition text default null,
    needs text[] default '{}'
)
returns text
language sql
stable
as $$
    select pg_temp.rule_call(relation, action, category, operation, condition)
    from pg_temp.present_table(table_name) as relation
    where relation is not null and pg_temp.present_columns(relation, needs) = needs
$$;

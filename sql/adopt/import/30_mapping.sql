-- How a tracked table's settings and rules map rows to events: SQL that runs as the role which records the table.

-- The FROM item that gives `old` or `new` with the columns of a table out of what was recorded.
create function pg_temp.import_record(relation regclass, row_name text)
returns text
language sql
stable
as $$
    select concat(
        'cross join lateral jsonb_to_record(source.', case row_name when 'old' then 'before' else 'after' end, ') as ', row_name, ' (',
        string_agg(format('%I %s', attname, audit_internal.plain_type(atttypid)), ', ' order by attnum),
        ')'
    )
    from pg_attribute
    where attrelid = relation and attnum > 0 and not attisdropped
$$;

-- SQL for what the triggers of a tracked table would have recorded of the rows in `source` that tell of an operation.
create function pg_temp.compiled_import(tracked audit.tracked_table, row_operation text, with_rules boolean)
returns text
language sql
stable
as $$
    select concat(
        E'\n    select source.number, named.category, named.action, ', audit_internal.org_sql(tracked, row_name, row_operation), '::text, ',
        audit_internal.resource_id_sql(tracked, row_name), '::text, ',
        audit_internal.label_sql(tracked, row_name, row_operation), '::text, ',
        case when row_operation = 'INSERT' then 'null::jsonb' else audit_internal.row_sql(tracked, 'old') end, ', ',
        case when row_operation = 'DELETE' then 'null::jsonb' else audit_internal.row_sql(tracked, 'new') end, ', ',
        case when row_operation = 'UPDATE' then audit_internal.changed_names_sql(tracked) else 'null::text[]' end,
        E'\n    from source\n    ',
        case when row_operation <> 'INSERT' then pg_temp.import_record(tracked.relation, 'old') || E'\n    ' end,
        case when row_operation <> 'DELETE' then pg_temp.import_record(tracked.relation, 'new') || E'\n    ' end,
        'cross join lateral ', audit_internal.naming_sql(tracked, row_operation, with_rules),
        E'\n    where source.operation = ', quote_literal(row_operation), ' and named.action is not null'
    )
    from (select case row_operation when 'DELETE' then 'old' else 'new' end) as row (row_name)
$$;

-- The statement that maps the rows of a tracked table: numbers, operations, rows before and after.
create function pg_temp.compiled_imports(tracked audit.tracked_table, with_rules boolean)
returns text
language sql
stable
as $$
    select 'with source as materialized (select * from unnest($1, $2, $3, $4) as source (number, operation, before, after))'
        || string_agg(pg_temp.compiled_import(tracked, operation, with_rules), E'\n    union all' order by operation)
    from unnest('{INSERT,UPDATE,DELETE}'::text[]) as operation
$$;

-- Makes the function that runs pg_temp.compiled_imports() as the role which records a table, and can do nothing else with the
-- log: types and rules of the application run in it. Returns its name; pg_temp.drop_importers() ends it.
create function pg_temp.make_importer(relation regclass)
returns text
language plpgsql
as $$
declare
    role_name name := audit_internal.assign_recorder(relation);
    function_name text := 'import as ' || left(role_name, 50);
begin
    if exists (select from pg_proc where proname = function_name and pronamespace = 'audit_internal'::regnamespace and proowner = role_name::regrole) then
        return function_name;
    end if;
    perform audit_internal.create_compiled_function(
        function_name,
        'statement text, numbers bigint[], operations text[], before jsonb[], after jsonb[]',
        'table (number bigint, category text, action text, org_id text, resource_id text, resource_label text, '
        'old_row jsonb, new_row jsonb, changed text[])',
        '{}',
        -- Inside nothing can be written, created or altered, and what was set there is taken back, since the subtransaction
        -- ends by an error of ours. What was returned stays.
        $body$
declare
    is_mapped boolean;
begin
    perform set_config('transaction_read_only', 'on', true);
    return query execute statement using numbers, operations, before, after;
    is_mapped := true;
    raise sqlstate 'PT062';
exception
    when sqlstate 'PT062' then
        if is_mapped is not true then
            raise;
        end if;
end
$body$,
        role_name,
        'Maps rows of another tool to events, for pgtrail import. Only audit_owner may call it.'
    );
    execute format('grant execute on function audit_internal.%I(text, bigint[], text[], jsonb[], jsonb[]) to audit_owner', function_name);
    return function_name;
end
$$;

create function pg_temp.drop_importers()
returns void
language plpgsql
as $$
declare
    importer regprocedure;
begin
    for importer in select oid from pg_proc where pronamespace = 'audit_internal'::regnamespace and starts_with(proname, 'import as ')
    loop
        execute format('drop function %s', importer);
    end loop;
end
$$;

-- What pg_temp.compiled_imports() makes of rows, run by a function of pg_temp.make_importer().
create function pg_temp.mapped_rows(
    importer text, statement text, numbers bigint[], operations text[], before jsonb[], after jsonb[]
)
returns table (
    number bigint, category text, action text, org_id text, resource_id text, resource_label text, old_row jsonb, new_row jsonb,
    changed text[]
)
language plpgsql
as $$
begin
    return query execute format('select * from audit_internal.%I($1, $2, $3, $4, $5)', importer)
    using statement, numbers, operations, before, after;
end
$$;

-- The statement that maps rows to the events of a tracked table, tried over no rows; null: there is none that can be run.
create function pg_temp.import_statement(settings audit.tracked_table, importer text)
returns text
language plpgsql
as $$
declare
    statement text;
    with_rules boolean;
begin
    -- A rule may need a type that a recorded value can't be read as.
    foreach with_rules in array array[true, false]
    loop
        begin
            statement := pg_temp.compiled_imports(settings, with_rules);
            perform from pg_temp.mapped_rows(importer, statement, '{}', '{}', '{}', '{}');
            return statement;
        exception
            -- Not because of a row.
            when insufficient_privilege then
                raise;
            when syntax_error_or_access_rule_violation or data_exception or feature_not_supported then
                null;
        end;
    end loop;
    return null;
end
$$;

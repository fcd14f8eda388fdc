-- 

-- The FROM item that gives `old` or `new` with the columns of a table out of what was recorded.
create function pg_temp.import_record(relation regclass, row_name text)
returns text
language sql
stable
as $$
    select concat(
        'cross join lateral jsonb_to_record(source.', case row_name when 'old' then 'before' else 'after' end, ') as ', row_name, ' (',
        string_agg(format('%I %s', attname, audit.plain_type(atttypid)), ', ' order by attnum),
        ')'
    )
    from pg_attribute
    where attrelid = relation and attnum > 0 and not attisdropped
$$;

-- The object with those of the named members that are JSON in a text taken apart.
create function pg_temp.with_parsed(document jsonb, members text[])
returns jsonb
language sql
immutable
as $$
    select document || coalesce(
        jsonb_object_agg(member, pg_temp.parsed(document ->> member)) filter (
            where jsonb_typeof(document -> member) = 'string' and pg_temp.parsed(document ->> member) is not null
        ),
        '{}'
    )
    from unnest(members) as member
$$;

-- A row's audited columns without those that the tool did not record, and with what it recorded of columns that are gone.
create function pg_temp.imported_image(image jsonb, document jsonb, audited text[], known text[])
returns jsonb
language sql
immutable
as $$
    select case
        when document ?& audited and document - known = '{}' then image
        else (
            select coalesce(jsonb_object_agg(member.key, member.value), '{}')
            from jsonb_each(image) as member
            where document ? member.key
        ) || audit.without_secrets(document - known)
    end
$$;

-- The members in which two objects differ.
create function pg_temp.differing(before jsonb, after jsonb)
returns text[]
language sql
immutable
as $$
    select case
        when before = after then '{}'
        else array(
            select member.key
            from jsonb_each(before || after) as member
            where before -> member.key is distinct from after -> member.key
            order by member.key
        )
    end
$$;

-- SQL for what the triggers of a tracked table would have recorded of the rows in `source` that tell of an operation.
create function pg_temp.compiled_import(tracked audit.tracked_table, row_operation text, with_rules boolean)
returns text
language sql
stable
as $$
    select concat(
        E'\n    select source.number, named.category, named.action, ', audit.compiled_org(tracked, row_name, row_operation), '::text, ',
        audit.compiled_resource_id(tracked, row_name), '::text, ',
        audit.compiled_label(tracked, row_name, row_operation), '::text, ',
        case when row_operation = 'INSERT' then 'null::jsonb' else audit.compiled_row(tracked, 'old') end, ', ',
        case when row_operation = 'DELETE' then 'null::jsonb' else audit.compiled_row(tracked, 'new') end, ', ',
        case when row_operation = 'UPDATE' then audit.compiled_changed(tracked) else 'null::text[]' end,
        E'\n    from source\n    ',
        case when row_operation <> 'INSERT' then pg_temp.import_record(tracked.relation, 'old') || E'\n    ' end,
        case when row_operation <> 'DELETE' then pg_temp.import_record(tracked.relation, 'new') || E'\n    ' end,
        'cross join lateral ', audit.compiled_naming(tracked, row_operation, with_rules),
        E'\n    where source.operation = ', quote_literal(row_operation), ' and named.action is not null'
    )
    from (select case row_operation when 'DELETE' then 'old' else 'new' end) as row (row_name)
$$;

-- The statement that a role of audit.importer_of() runs over the rows of a tracked table: numbers, operations, rows before and after.
create function pg_temp.compiled_imports(tracked audit.tracked_table, with_rules boolean)
returns text
language sql
stable
as $$
    select 'with source as materialized (select * from unnest($1, $2, $3, $4) as source (number, operation, before, after))'
        || string_agg(pg_temp.compiled_import(tracked, operation, with_rules), E'\n    union all' order by operation)
    from unnest('{INSERT,UPDATE,DELETE}'::text[]) as operation
$$;

-- The function that maps rows to events as a role that records.
create function pg_temp.importer_name(role_name name)
returns text
language sql
immutable
as $$
    select 'import as ' || left(role_name, 50)
$$;

-- Makes audit.importer_name() of a role that records. Returns its name.
create function pg_temp.make_importer(role_name name)
returns text
language plpgsql
volatile
as $$
declare
    function_name text := pg_temp.importer_name(role_name);
begin
    perform audit.create_compiled(
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
        'Runs the statement of pg_temp.compiled_imports() as a role that can''t harm the log. Only audit_owner may call it.'
    );
    execute format('grant execute on function audit.%I(text, bigint[], text[], jsonb[], jsonb[]) to audit_owner', function_name);
    return function_name;
end
$$;

-- The function that maps rows to the events of a tracked table.
create function pg_temp.importer_of(relation regclass)
returns text
language plpgsql
volatile
as $$
declare
    role_name name := audit.assign_recorder(relation);
    function_name text := pg_temp.importer_name(role_name);
begin
    if exists (select from pg_proc where proname = function_name and pronamespace = 'audit'::regnamespace and proowner = role_name::regrole) then
        return function_name;
    end if;
    return pg_temp.make_importer(role_name);
end
$$;

-- What audit.compiled_imports() makes of rows, run by a function of audit.importer_of().
create function pg_temp.mapped_rows(
    importer text, statement text, numbers bigint[], operations text[], before jsonb[], after jsonb[]
)
returns table (
    number bigint, category text, action text, org_id text, resource_id text, resource_label text, old_row jsonb, new_row jsonb,
    changed text[]
)
language plpgsql
volatile
as $$
begin
    return query execute format('select * from audit.%I($1, $2, $3, $4, $5)', importer)
    using statement, numbers, operations, before, after;
end
$$;

-- The rows of a batch that tell of a table; whole: it has the rows before and after that its operation needs.
create function pg_temp.told_rows(p_tool text, p_rows audit.imported_row[], p_names jsonb, settings audit.tracked_table)
returns table (
    number bigint, occurred_at timestamptz, xid xid8, operation text, verb text, object_id text, record_id text, whole boolean,
    before jsonb, after jsonb
)
language sql
stable
as $$
    select
        seen.number, seen.occurred_at, seen.xid, seen.operation, seen.verb, seen.object_id, seen.record_id,
        case seen.operation
            when 'INSERT' then seen.after is not null
            when 'UPDATE' then seen.before is not null and seen.after is not null
            when 'DELETE' then seen.before is not null
        end is true,
        seen.before, seen.after
    from unnest(p_rows) with ordinality as seen (
        key, row_id, occurred_at, xid, operation, verb, table_name, table_oid, object_id, record_id,
        actor_type, actor_id, actor_ip, user_agent, before, after, number
    )
    where coalesce(p_names ->> seen.table_name, seen.table_name) = settings.name
$$;

-- Whether pgtrail recorded a change itself, in the same transaction; of LiteLLM: whether the table was tracked by then.
create function pg_temp.recorded_itself(
    p_tool text, settings audit.tracked_table, p_xid xid8, p_time timestamptz, p_operation text, p_resource_id text
)
returns boolean
language sql
stable
as $$
    select case
        -- LiteLLM writes its log in a transaction of its own. A minute: rather twice than not at all.
        when p_tool = 'litellm' then p_time >= settings.created_at + interval '1 minute'
        when p_xid is null or p_time < settings.created_at - interval '1 day' then false
        else exists (
            select
            from audit.event as own
            where own.xid = p_xid
                and own.imported_from is null
                and own.table_name = settings.name
                and own.operation = p_operation
                and own.resource_id is not distinct from p_resource_id
                and own.occurred_at between p_time - interval '1 second' and p_time + interval '1 day'
        )
    end
$$;

-- The events of the rows that tell of a tracked table: what its triggers would have recorded. moved: something audited differs.
create function pg_temp.events_by_settings(
    p_tool text, p_rows audit.imported_row[], p_names jsonb, settings audit.tracked_table, importer text, statement text
)
returns table (
    number bigint, place bigint, category text, action text, moved boolean, org_id text, resource_id text, resource_label text, before jsonb,
    after jsonb, changed text[]
)
language sql
volatile
as $$
    with known as materialized (
        select
            audit.column_names(settings.relation) as columns,
            array(select name from audit.audited_columns(settings)) as audited,
            case when p_tool = 'litellm' and cardinality(identity.columns) = 1 then identity.columns[1] end as key_column,
            array(
                select attname::text
                from pg_attribute
                where attrelid = settings.relation
                    and attnum > 0
                    and not attisdropped
                    and atttypid in ('json'::regtype, 'jsonb'::regtype)
                    and p_tool <> 'supa_audit'
            ) as json_columns
        from (select audit.identity_columns(settings.relation)) as identity (columns)
    ),
    -- With the key that LiteLLM keeps beside a row, and JSON that is kept as text taken for what it is.
    told as materialized (
        select
            row.number, row.occurred_at, row.xid, row.operation, row.verb,
            case when known.json_columns = '{}' then keyed.before else pg_temp.with_parsed(keyed.before, known.json_columns) end as before,
            case when known.json_columns = '{}' then keyed.after else pg_temp.with_parsed(keyed.after, known.json_columns) end as after
        from pg_temp.told_rows(p_tool, p_rows, p_names, settings) as row
        cross join known
        cross join lateral (
            select case when known.key_column is null then '{}' else jsonb_build_object(known.key_column, row.object_id) end
        ) as beside (key)
        cross join lateral (select beside.key || row.before, beside.key || row.after offset 0) as keyed (before, after)
        where row.whole and importer is not null
    ),
    given as (
        select
            array_agg(number) as numbers, array_agg(operation) as operations,
            array_agg(before) as before, array_agg(after) as after
        from told
        having count(*) > 0
    )
    select
        told.number,
        mapped.place,
        mapped.category,
        case when told.verb is not null and mapped.action = settings.resource || '.updated' then settings.resource || '.' || told.verb else mapped.action end,
        result.moved,
        mapped.org_id,
        mapped.resource_id,
        mapped.resource_label,
        case when result.moved then pg_temp.imported_image(mapped.old_row, told.before, known.audited, known.columns) end,
        case when result.moved then pg_temp.imported_image(mapped.new_row, told.after, known.audited, known.columns) end,
        difference.changed
    from given
    cross join known
    cross join lateral pg_temp.mapped_rows(importer, statement, given.numbers, given.operations, given.before, given.after)
        with ordinality as mapped (
            number, category, action, org_id, resource_id, resource_label, old_row, new_row, changed, place
        )
    join told on told.number = mapped.number
    cross join lateral (
        select case
            when told.operation = 'UPDATE' then mapped.changed || pg_temp.differing(told.before - known.columns, told.after - known.columns)
        end
        offset 0
    ) as difference (changed)
    cross join lateral (select coalesce(cardinality(difference.changed) > 0, true)) as result (moved)
    where (result.moved or told.verb is not null)
        and not pg_temp.recorded_itself(p_tool, settings, told.xid, told.occurred_at, told.operation, mapped.resource_id)
$$;

-- The statement that maps rows to the events of a tracked table, tried over no rows; null: there is none that can be run.
create function pg_temp.import_statement(settings audit.tracked_table, importer text)
returns text
language plpgsql
volatile
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
            -- That is no row's fault.
            when insufficient_privilege then
                raise;
            when syntax_error_or_access_rule_violation or data_exception or feature_not_supported then
                null;
        end;
    end loop;
    return null;
end
$$;

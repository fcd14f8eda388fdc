-- History that other tools recorded, stored in the log.
-- audit.import_batch() runs as its caller, who reads the tool's table; what is stored, and how, the definers decide.

-- From a row to events: as the tracked table's settings say --------------------------------------------------------

drop function if exists audit.import_type(oid);
drop function if exists audit.import_documents(audit.tracked_table, text);
drop function if exists audit.compiled_import(audit.tracked_table, text, text, boolean);
drop function if exists audit.compiled_import_bound(audit.tracked_table, text, text, text);
drop function if exists audit.plain_import(audit.tracked_table, text[]);
drop function if exists audit.plain_select(audit.tracked_table);
drop function if exists audit.import_statement(text, boolean);
drop function if exists audit.import_selects(audit.tracked_table, text, text[]);
drop function if exists audit.store_imported(audit.import, audit.imported_row[], text, text, jsonb, boolean, boolean);
drop function if exists audit.plan_import(text, audit.imported_row[], boolean);

create or replace function audit.import_record(relation regclass, row_name text)
returns text
language sql
stable
as $$
    select pg_catalog.concat(
        'cross join lateral jsonb_to_record(source.', case row_name when 'old' then 'before' else 'after' end, ') as ', row_name, ' (',
        pg_catalog.string_agg(pg_catalog.format('%I %s', attname, audit.plain_type(atttypid)), ', ' order by attnum),
        ')'
    )
    from pg_catalog.pg_attribute
    where attrelid = relation and attnum > 0 and not attisdropped
$$;

comment on function audit.import_record(regclass, text) is 'The FROM item that gives `old` or `new` with the columns of a table out of what was recorded.';

create or replace function audit.with_parsed(document jsonb, members text[])
returns jsonb
language sql
immutable
parallel safe
as $$
    select document || coalesce(
        pg_catalog.jsonb_object_agg(member, audit.parsed(document ->> member)) filter (
            where pg_catalog.jsonb_typeof(document -> member) = 'string' and audit.parsed(document ->> member) is not null
        ),
        '{}'
    )
    from pg_catalog.unnest(members) as member
$$;

comment on function audit.with_parsed(jsonb, text[]) is 'The object with those of the named members that are JSON in a text taken apart.';

create or replace function audit.imported_image(image jsonb, document jsonb, audited text[], known text[])
returns jsonb
language sql
immutable
parallel safe
as $$
    select case
        when document ?& audited and document - known = '{}' then image
        else (
            select coalesce(pg_catalog.jsonb_object_agg(member.key, member.value), '{}')
            from pg_catalog.jsonb_each(image) as member
            where document ? member.key
        ) || audit.without_secrets(document - known)
    end
$$;

comment on function audit.imported_image(jsonb, jsonb, text[], text[]) is
    'A row''s audited columns without those that the tool did not record, and with what it recorded of columns that are gone.';

create or replace function audit.differing(before jsonb, after jsonb)
returns text[]
language sql
immutable
parallel safe
as $$
    select case
        when before = after then '{}'
        else array(
            select member.key
            from pg_catalog.jsonb_each(before || after) as member
            where before -> member.key is distinct from after -> member.key
            order by member.key
        )
    end
$$;

comment on function audit.differing(jsonb, jsonb) is 'The members in which two objects differ.';

create or replace function audit.compiled_import(tracked audit.tracked_table, row_operation text, with_rules boolean)
returns text
language sql
stable
as $$
    select pg_catalog.concat(
        E'\n    select source.number, named.category, named.action, ', audit.compiled_org(tracked, row_name, row_operation), '::text, ',
        audit.compiled_resource_id(tracked, row_name), '::text, ',
        audit.compiled_label(tracked, row_name, row_operation), '::text, ',
        case when row_operation = 'INSERT' then 'null::jsonb' else audit.compiled_row(tracked, 'old') end, ', ',
        case when row_operation = 'DELETE' then 'null::jsonb' else audit.compiled_row(tracked, 'new') end, ', ',
        case when row_operation = 'UPDATE' then audit.compiled_changed(tracked) else 'null::text[]' end,
        E'\n    from source\n    ',
        case when row_operation <> 'INSERT' then audit.import_record(tracked.relation, 'old') || E'\n    ' end,
        case when row_operation <> 'DELETE' then audit.import_record(tracked.relation, 'new') || E'\n    ' end,
        'cross join lateral ', audit.compiled_naming(tracked, row_operation, with_rules),
        E'\n    where source.operation = ', pg_catalog.quote_literal(row_operation), ' and named.action is not null'
    )
    from (select case row_operation when 'DELETE' then 'old' else 'new' end) as row (row_name)
$$;

comment on function audit.compiled_import(audit.tracked_table, text, boolean) is
    'SQL for what the triggers of a tracked table would have recorded of the rows in `source` that tell of an operation.';

create or replace function audit.compiled_imports(tracked audit.tracked_table, with_rules boolean)
returns text
language sql
stable
as $$
    select 'with source as materialized (select * from unnest($1, $2, $3, $4) as source (number, operation, before, after))'
        || pg_catalog.string_agg(audit.compiled_import(tracked, operation, with_rules), E'\n    union all' order by operation)
    from pg_catalog.unnest('{INSERT,UPDATE,DELETE}'::text[]) as operation
$$;

comment on function audit.compiled_imports(audit.tracked_table, boolean) is
    'The statement that a role of audit.importer_of() runs over the rows of a tracked table: numbers, operations, rows before and after.';

-- Whoever maps rows to events runs what a table's types and rules say, and reads what leads to an organization: never
-- audit_owner, but the role that records the table, which can do no more. It gets rows of its own table and gives back
-- values; when they are dated and what marks them as imported is not its business.

create or replace function audit.importer_name(role_name name)
returns text
language sql
immutable
as $$
    select 'import as ' || pg_catalog.left(role_name, 50)
$$;

comment on function audit.importer_name(name) is 'The function that maps rows to events as a role that records.';

create or replace function audit.make_importer(role_name name)
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    function_name text := audit.importer_name(role_name);
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
        'Runs the statement of audit.compiled_imports() as a role that can''t harm the log. Only audit_owner may call it.'
    );
    execute format('grant execute on function audit.%I(text, bigint[], text[], jsonb[], jsonb[]) to audit_owner', function_name);
    return function_name;
end
$$;

comment on function audit.make_importer(name) is 'Makes audit.importer_name() of a role that records. Returns its name.';

create or replace function audit.importer_of(relation regclass)
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    role_name name := audit.assign_recorder(relation);
    function_name text := audit.importer_name(role_name);
begin
    if exists (select from pg_proc where proname = function_name and pronamespace = 'audit'::regnamespace and proowner = role_name::regrole) then
        return function_name;
    end if;
    return audit.make_importer(role_name);
end
$$;

comment on function audit.importer_of(regclass) is 'The function that maps rows to the events of a tracked table.';

-- A later version may write them differently.
do $$
declare
    role_name name;
begin
    for role_name in
        select distinct pg_get_userbyid(proowner)
        from pg_proc
        where pronamespace = 'audit'::regnamespace and starts_with(proname, 'import as ')
    loop
        perform audit.make_importer(role_name);
    end loop;
end
$$;

create or replace function audit.mapped_rows(
    importer text, statement text, numbers bigint[], operations text[], before jsonb[], after jsonb[]
)
returns table (
    number bigint, category text, action text, org_id text, resource_id text, resource_label text, old_row jsonb, new_row jsonb,
    changed text[]
)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    return query execute format('select * from audit.%I($1, $2, $3, $4, $5)', importer)
    using statement, numbers, operations, before, after;
end
$$;

comment on function audit.mapped_rows(text, text, bigint[], text[], jsonb[], jsonb[]) is
    'What audit.compiled_imports() makes of rows, run by a function of audit.importer_of().';

create or replace function audit.told_rows(p_tool text, p_rows audit.imported_row[], p_names jsonb, settings audit.tracked_table)
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
    from pg_catalog.unnest(p_rows) with ordinality as seen (
        key, row_id, occurred_at, xid, operation, verb, table_name, table_oid, object_id, record_id,
        actor_type, actor_id, actor_ip, user_agent, before, after, number
    )
    where coalesce(p_names ->> seen.table_name, seen.table_name) = settings.name
$$;

comment on function audit.told_rows(text, audit.imported_row[], jsonb, audit.tracked_table) is
    'The rows of a batch that tell of a table; whole: it has the rows before and after that its operation needs.';

create or replace function audit.recorded_itself(
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

comment on function audit.recorded_itself(text, audit.tracked_table, xid8, timestamptz, text, text) is
    'Whether pgtrail recorded a change itself, in the same transaction; of LiteLLM: whether the table was tracked by then.';

create or replace function audit.events_by_settings(
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
            case when p_tool = 'litellm' and pg_catalog.cardinality(identity.columns) = 1 then identity.columns[1] end as key_column,
            array(
                select attname::text
                from pg_catalog.pg_attribute
                where attrelid = settings.relation
                    and attnum > 0
                    and not attisdropped
                    and atttypid in ('json'::pg_catalog.regtype, 'jsonb'::pg_catalog.regtype)
                    and p_tool <> 'supa_audit'
            ) as json_columns
        from (select audit.identity_columns(settings.relation)) as identity (columns)
    ),
    -- With the key that LiteLLM keeps beside a row, and JSON that is kept as text taken for what it is.
    told as materialized (
        select
            row.number, row.occurred_at, row.xid, row.operation, row.verb,
            case when known.json_columns = '{}' then keyed.before else audit.with_parsed(keyed.before, known.json_columns) end as before,
            case when known.json_columns = '{}' then keyed.after else audit.with_parsed(keyed.after, known.json_columns) end as after
        from audit.told_rows(p_tool, p_rows, p_names, settings) as row
        cross join known
        cross join lateral (
            select case when known.key_column is null then '{}' else pg_catalog.jsonb_build_object(known.key_column, row.object_id) end
        ) as beside (key)
        cross join lateral (select beside.key || row.before, beside.key || row.after offset 0) as keyed (before, after)
        where row.whole and importer is not null
    ),
    given as (
        select
            pg_catalog.array_agg(number) as numbers, pg_catalog.array_agg(operation) as operations,
            pg_catalog.array_agg(before) as before, pg_catalog.array_agg(after) as after
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
        case when result.moved then audit.imported_image(mapped.old_row, told.before, known.audited, known.columns) end,
        case when result.moved then audit.imported_image(mapped.new_row, told.after, known.audited, known.columns) end,
        difference.changed
    from given
    cross join known
    cross join lateral audit.mapped_rows(importer, statement, given.numbers, given.operations, given.before, given.after)
        with ordinality as mapped (
            number, category, action, org_id, resource_id, resource_label, old_row, new_row, changed, place
        )
    join told on told.number = mapped.number
    cross join lateral (
        select case
            when told.operation = 'UPDATE' then mapped.changed || audit.differing(told.before - known.columns, told.after - known.columns)
        end
        offset 0
    ) as difference (changed)
    cross join lateral (select coalesce(pg_catalog.cardinality(difference.changed) > 0, true)) as result (moved)
    where (result.moved or told.verb is not null)
        and not audit.recorded_itself(p_tool, settings, told.xid, told.occurred_at, told.operation, mapped.resource_id)
$$;

comment on function audit.events_by_settings(text, audit.imported_row[], jsonb, audit.tracked_table, text, text) is
    'The events of the rows that tell of a tracked table: what its triggers would have recorded. moved: something audited differs.';

-- From a row to events: by the names in it alone -------------------------------------------------------------------

create or replace function audit.plain_image(document jsonb, ignore text[], secret text[])
returns jsonb
language plpgsql
immutable
parallel safe
as $$
declare
    image jsonb := document - ignore;
    path text;
    member text;
begin
    foreach path in array secret
    loop
        member := audit.column_of_path(path, array(select pg_catalog.jsonb_object_keys(image)));
        continue when member is null;
        if pg_catalog.starts_with(path, member || ' when ') then
            continue when not audit.names_secret(document ->> pg_catalog.substr(path, pg_catalog.length(member || ' when ') + 1));
            path := member;
        end if;
        image := image || pg_catalog.jsonb_build_object(
            member,
            audit.redact(
                image -> member,
                coalesce(pg_catalog.string_to_array(nullif(pg_catalog.substr(path, pg_catalog.length(member) + 2), ''), '.'), '{}')
            )
        );
    end loop;
    return audit.without_secrets(image);
end
$$;

comment on function audit.plain_image(jsonb, text[], text[]) is
    'A recorded row without what is ignored, and with what is secret, or looks so, redacted.';

create or replace function audit.plain_key(document jsonb, keys text[], secret text[])
returns text
language sql
immutable
parallel safe
as $$
    -- Without one of them it would be another row''s.
    select pg_catalog.string_agg(
        case
            when name = any (secret) or audit.looks_secret_within(name) or audit.value_looks_secret(document ->> name) then audit.digest_of(document ->> name)
            else document ->> name
        end,
        ',' order by position
    )
    from pg_catalog.unnest(keys) with ordinality as part (name, position)
    where document ?& keys
$$;

comment on function audit.plain_key(jsonb, text[], text[]) is 'The key of a recorded row as text, secret parts as digests; null: it has none.';

create or replace function audit.events_by_names(
    p_tool text, p_rows audit.imported_row[], p_names jsonb, settings audit.tracked_table, only_rest boolean
)
returns table (
    number bigint, place bigint, category text, action text, moved boolean, org_id text, resource_id text, resource_label text, before jsonb,
    after jsonb, changed text[]
)
language sql
stable
as $$
    select
        row.number,
        1,
        settings.category,
        settings.resource || '.' || coalesce(
            row.verb,
            case row.operation when 'INSERT' then 'created' when 'UPDATE' then 'updated' when 'DELETE' then 'deleted'
                when 'TRUNCATE' then 'truncated' else 'changed' end
        ),
        told.moved,
        audit.short_org(told.row ->> settings.org),
        coalesce(
            audit.plain_key(told.row, known.keys, settings.secret),
            case when known.is_secret then audit.digest_of(row.object_id) else row.object_id end,
            row.record_id,
            pg_catalog.md5(coalesce(image.after, image.before)::text)
        ),
        coalesce(image.after, image.before) ->> settings.label,
        image.before,
        image.after,
        difference.changed
    from audit.told_rows(p_tool, p_rows, p_names, settings) as row
    cross join (
        select
            coalesce(nullif(audit.identity_columns(settings.relation), '{}'), '{id}'),
            audit.names_secret(settings.resource) or audit.names_secret(settings.name)
        offset 0
    ) as known (keys, is_secret)
    cross join lateral (
        select
            audit.plain_image(row.before, settings.ignore, settings.secret),
            audit.plain_image(row.after, settings.ignore, settings.secret)
        offset 0
    ) as image (before, after)
    cross join lateral (
        select case
            when row.operation = 'UPDATE' then audit.differing(row.before - settings.ignore, row.after - settings.ignore)
        end
        offset 0
    ) as difference (changed)
    cross join lateral (
        select
            row.whole and coalesce(pg_catalog.cardinality(difference.changed) > 0, true),
            coalesce(row.after, row.before)
    ) as told (moved, row)
    where (told.moved or not row.whole or row.verb is not null)
        and not (only_rest and row.whole)
$$;

comment on function audit.events_by_names(text, audit.imported_row[], jsonb, audit.tracked_table, boolean) is
    'The events of the rows that tell of a table, one a row: for tables that are gone or not tracked, rows that do not fit the table as it is now, and (only_rest) what has no rows to tell of, such as a TRUNCATE.';

-- Which table, and what is known of it -----------------------------------------------------------------------------

create or replace function audit.import_settings(p_table text, p_oid oid)
returns audit.tracked_table
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    settings audit.tracked_table;
    parts text[];
    named regclass;
    category_name text;
begin
    -- (Not by to_regclass(), which wants a right to look into the schema, nor by parse_ident(), which raises errors of its own.)
    parts := array(
        select case when starts_with(part, '"') then replace(substr(part, 2, length(part) - 2), '""', '"') else lower(part collate "C") end
        from unnest(regexp_match(p_table, '^("(?:[^"]|"")+"|[^".]+)[.]("(?:[^"]|"")+"|[^".]+)$')) with ordinality as written (part, number)
        order by number
    );
    named := (
        select pg_class.oid::regclass
        from pg_class
        join pg_namespace on pg_namespace.oid = pg_class.relnamespace
        where pg_namespace.nspname = parts[1] and pg_class.relname = parts[2]
    );
    -- By its name; a table that was renamed since, by what it is.
    select * into settings from audit.tracked_table where relation = coalesce(named, p_oid::regclass);
    if settings.relation is not null then
        settings.name := audit.qualified_name(settings.relation);
        return settings;
    end if;
    settings.relation := named;
    settings.name := p_table;
    settings.resource := coalesce(parts[2], p_table);
    category_name := trim(both '_' from regexp_replace(lower(settings.resource collate "C"), '[^a-z0-9]+', '_', 'g'));
    settings.category := case when category_name ~ '^[a-z][a-z0-9_]{0,62}$' then category_name else 'imported' end;
    settings.ignore := '{}';
    settings.secret := '{}';
    return settings;
end
$$;

comment on function audit.import_settings(text, oid) is
    'The settings of a tracked table by its recorded name, else by its oid; of one that is not tracked, what audit.track() would call it (created_at null).';

create or replace function audit.import_statement(settings audit.tracked_table, importer text)
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    statement text;
    with_rules boolean;
begin
    -- A rule may need a type that a recorded value can't be read as.
    foreach with_rules in array array[true, false]
    loop
        begin
            statement := audit.compiled_imports(settings, with_rules);
            perform from audit.mapped_rows(importer, statement, '{}', '{}', '{}', '{}');
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

comment on function audit.import_statement(audit.tracked_table, text) is
    'The statement that maps rows to the events of a tracked table, tried over no rows; null: there is none that can be run.';

create or replace function audit.imported_events(
    p_import audit.import, p_rows audit.imported_row[], p_names jsonb, p_tables audit.tracked_table[], p_importers text[], p_statements text[]
)
returns table (
    number bigint, place bigint, occurred_at timestamptz, imported_from text, category text, action text, operation text, table_name text, org_id text,
    resource_type text, resource_id text, resource_label text, actor_type text, actor_id text, actor_ip inet, user_agent text,
    before jsonb, after jsonb, changed text[]
)
language sql
volatile
as $$
    select
        seen.number,
        event.place,
        seen.occurred_at,
        pg_catalog.concat_ws(' ', p_import.tool, p_import.source, seen.row_id),
        event.category,
        event.action,
        case when event.moved then seen.operation end,
        (chosen.settings).name,
        event.org_id,
        (chosen.settings).resource,
        event.resource_id,
        event.resource_label,
        seen.actor_type,
        seen.actor_id,
        seen.actor_ip,
        seen.user_agent,
        case when event.moved and seen.operation <> 'INSERT' then event.before end,
        case when event.moved and seen.operation <> 'DELETE' then event.after end,
        case when event.moved and seen.operation = 'UPDATE' then event.changed end
    from pg_catalog.generate_subscripts(p_tables, 1) as position (number)
    cross join lateral (select p_tables[position.number] as settings) as chosen
    cross join lateral (
        select by_settings.*
        from audit.events_by_settings(p_import.tool, p_rows, p_names, chosen.settings, p_importers[position.number], p_statements[position.number]) as by_settings
        union all
        select by_names.*
        from audit.events_by_names(p_import.tool, p_rows, p_names, chosen.settings, p_statements[position.number] is not null) as by_names
    ) as event
    join pg_catalog.unnest(p_rows) with ordinality as seen (
        key, row_id, occurred_at, xid, operation, verb, table_name, table_oid, object_id, record_id,
        actor_type, actor_id, actor_ip, user_agent, before, after, number
    ) on seen.number = event.number
$$;

comment on function audit.imported_events(audit.import, audit.imported_row[], jsonb, audit.tracked_table[], text[], text[]) is
    'The events of a batch: of tables with a statement by their settings, of all others by the names in them.';

-- Storing ----------------------------------------------------------------------------------------------------------

create or replace function audit.note_import_problem(p_import_id integer, p_row audit.imported_row, p_skipped boolean, p_problem text)
returns void
language sql
volatile
as $$
    insert into audit.import_problem (import_id, row_id, table_name, skipped, problem)
    values (p_import_id, p_row.row_id, p_row.table_name, p_skipped, p_problem)
    on conflict (import_id, row_id) do update
    set skipped = excluded.skipped, problem = excluded.problem, noted_at = excluded.noted_at
$$;

comment on function audit.note_import_problem(integer, audit.imported_row, boolean, text) is 'Keeps which row was not imported as it should be, and why.';

create or replace function audit.insert_imported(
    p_import audit.import, p_rows audit.imported_row[], p_names jsonb, p_tables audit.tracked_table[], p_importers text[],
    p_statements text[], p_dry_run boolean
)
returns table (table_name text, events bigint, imported bigint)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if p_dry_run then
        return query
        select found.table_name, count(*), count(distinct found.imported_from)
        from audit.imported_events(p_import, p_rows, p_names, p_tables, p_importers, p_statements) as found
        group by found.table_name;
        return;
    end if;
    return query
    with stored as (
        insert into audit.event (
            occurred_at, imported_from, category, action, operation, table_name, org_id, resource_type, resource_id,
            resource_hash, resource_label, actor_type, actor_id, actor_ip, user_agent, before, after, changed
        )
        select
            found.occurred_at, found.imported_from, found.category, found.action, found.operation, found.table_name, found.org_id,
            found.resource_type, found.resource_id, hashtextextended(found.resource_id, 0), found.resource_label,
            found.actor_type, found.actor_id, found.actor_ip, found.user_agent,
            found.before, found.after, found.changed
        from audit.imported_events(p_import, p_rows, p_names, p_tables, p_importers, p_statements) as found
        -- What happened in one transaction may have one time: ids tell the order.
        order by found.number, found.place
        returning table_name, imported_from
    )
    select stored.table_name, count(*), count(distinct stored.imported_from)
    from stored
    group by stored.table_name;
end
$$;

comment on function audit.insert_imported(audit.import, audit.imported_row[], jsonb, audit.tracked_table[], text[], text[], boolean) is
    'Records (or only counts) audit.imported_events(). How many, by table; imported: of how many rows.';

create or replace function audit.store_imported(
    p_import audit.import, p_rows audit.imported_row[], p_names jsonb, p_tables audit.tracked_table[], p_importers text[],
    p_statements text[], p_dry_run boolean
)
returns table (table_name text, events bigint, imported bigint, unfit bigint, skipped bigint)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    half integer := cardinality(p_rows) / 2;
    name text := coalesce(p_names ->> p_rows[1].table_name, p_rows[1].table_name);
    state text;
begin
    begin
        return query
        select found.table_name, found.events, found.imported, 0::bigint, 0::bigint
        from audit.insert_imported(p_import, p_rows, p_names, p_tables, p_importers, p_statements, p_dry_run) as found;
        return;
    exception
        when insufficient_privilege then
            raise;
        when data_exception or program_limit_exceeded or integrity_constraint_violation or syntax_error_or_access_rule_violation then
            state := sqlstate;
    end;
    if half > 0 then
        -- One of them does not fit: all others do.
        return query
        select found.*
        from (values (p_rows[:half]), (p_rows[half + 1:])) as part (rows)
        cross join lateral audit.store_imported(p_import, part.rows, p_names, p_tables, p_importers, p_statements, p_dry_run) as found;
        return;
    end if;
    begin
        return query
        select found.table_name, found.events, found.imported, 1::bigint, 0::bigint
        from audit.insert_imported(p_import, p_rows, p_names, p_tables, '{}', '{}', p_dry_run) as found;
        perform audit.note_import_problem(
            p_import.id, p_rows[1], false, format('it does not fit %s as it is now (SQLSTATE %s): imported by the names in it', name, state)
        );
    exception
        when data_exception or program_limit_exceeded or integrity_constraint_violation or syntax_error_or_access_rule_violation then
            perform audit.note_import_problem(p_import.id, p_rows[1], true, format('it is no event (SQLSTATE %s)', sqlstate));
            return query values (name, 0::bigint, 0::bigint, 0::bigint, 1::bigint);
    end;
end
$$;

comment on function audit.store_imported(audit.import, audit.imported_row[], jsonb, audit.tracked_table[], text[], text[], boolean) is
    'Records the events of rows; of those that do not fit, found by halving, by the names in them. How many, by table.';

create or replace function audit.make_past_partitions(p_times timestamptz[])
returns integer
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
    month_begins timestamptz;
    made integer := 0;
begin
    for month_begins in
        select distinct date_trunc('month', moment) as month
        from unnest(p_times) as moment
        order by month
    loop
        continue when audit.overlaps_partition(month_begins, month_begins + interval '1 month');
        if made = 0 then
            -- Two at once: the second finds everything made.
            lock table audit.event_default in share update exclusive mode;
            perform audit.adopt_default_partition();
        end if;
        -- Where rows of that month are in the default partition, there they stay, and the others with them.
        continue when audit.overlaps_partition(month_begins, month_begins + interval '1 month')
            or exists (
                select from audit.event_default
                where occurred_at >= month_begins and occurred_at < month_begins + interval '1 month'
            );
        perform audit.make_partition(month_begins);
        made := made + 1;
    end loop;
    return made;
end
$$;

comment on function audit.make_past_partitions(timestamptz[]) is 'Makes the partitions of the months of some times that are missing. How many it made.';

create or replace function audit.tells_of_pgtrail(table_name text, table_oid oid)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    -- (Another tool's schema may have been called so, too: then its own tables are meant, which are none of ours.)
    select exists (
        select
        from pg_class
        where pg_class.relnamespace = 'audit'::regnamespace
            and (
                pg_class.oid = table_oid
                -- (However it is written.)
                or regexp_replace(lower(table_name collate "C"), '[[:space:]"]', '', 'g') = 'audit.' || pg_class.relname
            )
    )
$$;

comment on function audit.tells_of_pgtrail(text, oid) is
    'Whether a row of another tool''s log is about one of pgtrail''s own tables: nobody else has recorded those.';

create or replace function audit.begin_import(p_tool text, p_source regclass, p_bound bigint)
returns audit.import
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
declare
    state audit.import;
begin
    -- The mark names the source, so that is not the caller's to choose.
    if not coalesce(audit.import_columns(p_tool) <@ audit.column_names(p_source), false) then
        raise exception using
            errcode = 'PT060',
            message = format('%s is no table of %s', p_source, p_tool),
            hint = 'Name the table that holds its log.';
    end if;
    insert into audit.import (tool, relation, source)
    values (p_tool, p_source, audit.qualified_name(p_source))
    on conflict (relation) do nothing;
    -- Two at once: the second waits until the first has stored what it read.
    select * into strict state from audit.import where relation = p_source for update;
    if state.tool <> p_tool then
        raise exception using
            errcode = 'PT060',
            message = format('%s was imported as a table of %s', p_source, state.tool),
            hint = format('Import it as that: pgtrail import %s.', state.tool);
    end if;
    if state.begun_at is null then
        update audit.import
        set
            last_key = settled_key,
            last_row = settled_row,
            bound_key = coalesce(p_bound, 9223372036854775807),
            -- Ids have been given in their order, but not to the end of their transactions.
            bound_xid = case when p_tool <> 'litellm' then pg_snapshot_xmax(pg_current_snapshot()) end,
            begun_at = clock_timestamp(),
            rows = 0, imported = 0, events = 0, unfit = 0, skipped = 0, first_at = null, last_at = null
        where id = state.id
        returning * into state;
    end if;
    return state;
end
$$;

comment on function audit.begin_import(text, regclass, bigint) is
    'How far a tool''s table has been read; of no run is in progress, of a new one up to the key p_bound. Nobody else stores of it until the end of the transaction. PT060.';

create or replace function audit.can_be_dated(moment timestamptz)
returns boolean
language sql
stable
as $$
    select coalesce(moment between '1970-01-01' and pg_catalog.now() + interval '1 minute', false)
$$;

comment on function audit.can_be_dated(timestamptz) is 'Whether something can have been recorded at that time.';

create or replace function audit.plan_import(
    p_rows audit.imported_row[], p_dry_run boolean,
    out names jsonb, out tables audit.tracked_table[], out importers text[], out statements text[], out tracked text[]
)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    target record;
    importer text;
begin
    names := '{}';
    tables := '{}';
    tracked := '{}';
    for target in
        select known.settings, jsonb_object_agg(told.table_name, (known.settings).name) as names
        from (
            -- One table, whatever it was called.
            select seen.table_name, max(seen.table_oid) as table_oid
            from unnest(p_rows) as seen
            group by seen.table_name
        ) as told
        cross join lateral (select audit.import_settings(told.table_name, told.table_oid)) as known (settings)
        group by known.settings
    loop
        names := names || target.names;
        tables := tables || target.settings;
        importer := null;
        if (target.settings).created_at is not null then
            tracked := tracked || (target.settings).name;
            importer := audit.importer_of((target.settings).relation);
        elsif not p_dry_run then
            insert into audit.category (name, label, position)
            values ((target.settings).category, initcap(replace((target.settings).category, '_', ' ') collate "C"), 500)
            on conflict (name) do nothing;
        end if;
        statements := statements || case when importer is not null then audit.import_statement(target.settings, importer) end;
        -- What no statement fits is told by the names in it.
        importers := importers || case when statements[cardinality(statements)] is not null then importer end;
    end loop;
end
$$;

comment on function audit.plan_import(audit.imported_row[], boolean) is
    'The tables that a batch''s rows tell of: what each is called now, its settings, and of tracked ones what maps rows to events.';

create or replace function audit.advance_import(
    state audit.import, p_rows audit.imported_row[], p_horizon xid8, p_dry_run boolean, p_told jsonb, p_stored jsonb
)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    was audit.import := state;
    done jsonb;
begin
    select key, case state.tool when 'litellm' then row_id else '' end
    into state.last_key, state.last_row
    from unnest(p_rows)
    order by key desc, row_id desc
    limit 1;
    if (was.last_key, was.last_row) = (was.settled_key, was.settled_row)
        and (
            p_horizon >= state.bound_xid
            -- Its rows are written after what they tell of, by whatever clock.
            or (state.tool = 'litellm' and state.last_key < extract(epoch from now() - interval '1 day') * 1000000)
        )
    then
        state.settled_key := state.last_key;
        state.settled_row := state.last_row;
    end if;
    if (state.last_key, state.last_row) > (state.high_key, state.high_row) then
        state.high_key := state.last_key;
        state.high_row := state.last_row;
    end if;

    select jsonb_build_object(
        'rows', cardinality(p_rows),
        'imported', coalesce(sum(imported), 0),
        'events', coalesce(sum(events), 0),
        'unfit', coalesce(sum(unfit), 0),
        'skipped', cardinality(p_rows) - coalesce(sum(dated), 0) + coalesce(sum(skipped), 0),
        'first_at', min(first_at),
        'last_at', max(last_at),
        'tables', coalesce(jsonb_agg(by_table order by "table") filter (where "table" is not null), '[]')
    )
    into done
    from (
        select
            told."table", told.tracked, told.rows, told.rows as dated, told.first_at, told.last_at,
            coalesce(sum(stored.imported), 0) as imported, coalesce(sum(stored.events), 0) as events,
            coalesce(sum(stored.unfit), 0) as unfit, coalesce(sum(stored.skipped), 0) as skipped
        from jsonb_to_recordset(p_told) as told (
            "table" text, tracked boolean, rows bigint, first_at timestamptz, last_at timestamptz
        )
        left join jsonb_to_recordset(p_stored) as stored (
            table_name text, events bigint, imported bigint, unfit bigint, skipped bigint
        ) on stored.table_name = told."table"
        group by told."table", told.tracked, told.rows, told.first_at, told.last_at
    ) as by_table;

    if was.imported = 0 and (done ->> 'imported')::bigint > 0 and not p_dry_run then
        -- Before it ends, or is killed.
        perform audit.record(
            'audit.import_begun', 'import', state.id::text, state.source, null, jsonb_build_object('tool', state.tool, 'source', state.source)
        );
    end if;
    update audit.import
    set
        settled_key = state.settled_key,
        settled_row = state.settled_row,
        last_key = state.last_key,
        last_row = state.last_row,
        high_key = state.high_key,
        high_row = state.high_row,
        rows = was.rows + (done ->> 'rows')::bigint,
        imported = was.imported + (done ->> 'imported')::bigint,
        events = was.events + (done ->> 'events')::bigint,
        unfit = was.unfit + (done ->> 'unfit')::bigint,
        skipped = was.skipped + (done ->> 'skipped')::bigint,
        first_at = least(was.first_at, (done ->> 'first_at')::timestamptz),
        last_at = greatest(was.last_at, (done ->> 'last_at')::timestamptz)
    where id = state.id;
    return done;
end
$$;

comment on function audit.advance_import(audit.import, audit.imported_row[], xid8, boolean, jsonb, jsonb) is
    'Stores how far a table has been read, and what came of it: of the run, and (returned) of this batch by table.';

create or replace function audit.store_import(
    p_import_id integer, p_rows audit.imported_row[], p_horizon xid8, p_dry_run boolean
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
declare
    state audit.import := (select import from audit.import where id = p_import_id for update);
    -- (Looked up once for each table, not for each row.)
    own_tables text[] := array(
        select concat_ws(' ', told.table_oid, told.table_name)
        from (select distinct seen.table_name, seen.table_oid from unnest(p_rows) as seen offset 0) as told
        where audit.tells_of_pgtrail(told.table_name, told.table_oid)
    );
    dated audit.imported_row[] := array(
        select seen
        from unnest(p_rows) as seen
        where audit.can_be_dated(seen.occurred_at) and concat_ws(' ', seen.table_oid, seen.table_name) <> all (own_tables)
    );
    plan record;
    made integer;
    told jsonb;
    stored jsonb := '[]';
begin
    if exists (select from unnest(p_rows) as seen where seen.key is null or seen.row_id is null) then
        raise not_null_violation using message = 'a row without a key can''t be marked as imported';
    end if;
    if not p_dry_run then
        made := audit.make_past_partitions(array(select occurred_at from unnest(dated)));
        if made > 0 then
            -- Committed first: who reads the log waits for them no longer than they take to make.
            return jsonb_build_object('partitions', made);
        end if;
    end if;
    perform audit.note_import_problem(state.id, seen, true, 'it has no time, or one in the future or before 1970')
    from unnest(p_rows) as seen
    where not audit.can_be_dated(seen.occurred_at);
    perform audit.note_import_problem(state.id, seen, true, 'it tells of pgtrail''s own tables, which only pgtrail does')
    from unnest(p_rows) as seen
    where audit.can_be_dated(seen.occurred_at) and concat_ws(' ', seen.table_oid, seen.table_name) = any (own_tables);

    select * into plan from audit.plan_import(dated, p_dry_run);
    select coalesce(jsonb_agg(by_table), '[]')
    into told
    from (
        select
            plan.names ->> seen.table_name as "table",
            plan.names ->> seen.table_name = any (plan.tracked) as tracked,
            count(*) as rows,
            min(seen.occurred_at) as first_at,
            max(seen.occurred_at) as last_at
        from unnest(dated) as seen
        group by 1, 2
    ) as by_table;
    -- Behind what was ever read nothing can be in the log.
    if p_rows[1].key <= state.high_key then
        dated := array(
            select seen
            from unnest(dated) as seen
            where not exists (
                select
                from audit.event
                where event.occurred_at = seen.occurred_at
                    and event.imported_from = concat_ws(' ', state.tool, state.source, seen.row_id)
            )
        );
    end if;
    if dated <> '{}' then
        select coalesce(jsonb_agg(each_stored), '[]')
        into stored
        from audit.store_imported(state, dated, plan.names, plan.tables, plan.importers, plan.statements, p_dry_run) as each_stored;
    end if;
    return audit.advance_import(state, p_rows, p_horizon, p_dry_run, told, stored);
end
$$;

comment on function audit.store_import(integer, audit.imported_row[], xid8, boolean) is
    'Records what rows of a tool''s table tell of, once, and how far it has been read; or makes the months that they need, and nothing else. p_horizon: all transactions before it had ended when the rows were read.';

create or replace function audit.end_import(p_import_id integer, p_dry_run boolean)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    state audit.import;
    total jsonb;
begin
    update audit.import
    set begun_at = null, last_key = settled_key, last_row = settled_row
    where id = p_import_id and begun_at is not null
    returning * into state;
    total := jsonb_build_object(
        'tool', state.tool, 'source', state.source, 'rows', state.rows, 'imported', state.imported, 'events', state.events,
        'unfit', state.unfit, 'skipped', state.skipped, 'first_at', state.first_at, 'last_at', state.last_at
    );
    -- A run that found nothing new is no event.
    if state.imported > 0 and not p_dry_run then
        perform audit.record('audit.imported', 'import', state.id::text, state.source, null, total);
    end if;
    return total;
end
$$;

comment on function audit.end_import(integer, boolean) is 'Ends the run in progress, and records it if anything was imported: which table, how many, from when to when.';

-- What pgtrail import calls ----------------------------------------------------------------------------------------

create or replace function audit.import_batch(
    p_tool text, p_source regclass, p_max_rows integer default 5000, p_dry_run boolean default false
)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
-- A row that a policy hides would be lost: rather an error.
set row_security = off
as $$
declare
    state audit.import;
    bound bigint;
    horizon xid8;
    read audit.imported_row[];
    place text := audit.hold_for_reading(p_source);
begin
    perform audit.check_source(p_tool, p_source);
    if p_tool <> 'litellm' then
        execute format(
            'select coalesce(max(%I), 0) from %s as log',
            case p_tool when 'supa_audit' then 'id' else 'event_id' end,
            place
        )
        into bound;
    end if;
    state := audit.begin_import(p_tool, p_source, bound);
    horizon := pg_snapshot_xmin(pg_current_snapshot());
    execute concat(
        'select coalesce(array_agg(seen order by (seen).key, (seen).row_id), ''{}'') from (', audit.import_reading(p_tool, p_source, place),
        ') as found (seen)'
    )
    into read
    using state.last_key, state.last_row, p_max_rows, state.bound_key;
    perform audit.let_go(place);
    if read = '{}' then
        return jsonb_build_object('total', audit.end_import(state.id, p_dry_run));
    end if;
    return audit.store_import(state.id, read, horizon, p_dry_run);
end
$$;

comment on function audit.import_batch(text, regclass, integer, boolean) is
    'Reads the next rows of another tool''s table (supa_audit, audit_trigger, litellm) and records what they tell of, as audit.import says how far it is: call it until it returns `total`, each time in its own transaction; or, for a rehearsal (p_dry_run), all in one that is rolled back. `partitions`: it made months and read nothing. PT060.';

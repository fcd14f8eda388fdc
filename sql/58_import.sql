-- History that other tools recorded, stored in the log.
-- audit.import_batch() runs as its caller, who reads the tool's table; what is stored, and how, the definers decide.

-- From a row to events: as the tracked table's settings say --------------------------------------------------------

create or replace function audit.import_type(type_oid oid)
returns text
language sql
stable
as $$
    with recursive base as (
        select type_oid as oid
        union
        select pg_type.typbasetype
        from base
        join pg_catalog.pg_type on pg_type.oid = base.oid
        where pg_type.typtype = 'd'
    )
    -- What a domain checks is somebody's code, and what was recorded need not pass it any more.
    select case
        when audit.is_trusted_type(base.oid) then pg_catalog.format_type(base.oid, -1)
        else 'text'
    end
    from base
    join pg_catalog.pg_type on pg_type.oid = base.oid
    where pg_type.typtype <> 'd'
$$;

comment on function audit.import_type(oid) is
    'The type that a recorded value is read as: the column''s own (of a domain: what it is over), where it is a superuser''s; else text, so that nobody''s code runs.';

create or replace function audit.import_record(relation regclass, row_name text)
returns text
language sql
stable
as $$
    select pg_catalog.format(
        E'cross join lateral jsonb_to_record(docs.%s) as %s (%s)',
        case row_name when 'old' then 'before' else 'after' end,
        row_name,
        pg_catalog.string_agg(pg_catalog.format('%I %s', attname, audit.import_type(atttypid)), ', ' order by attnum)
    )
    from pg_catalog.pg_attribute
    where attrelid = relation and attnum > 0 and not attisdropped
$$;

comment on function audit.import_record(regclass, text) is 'The FROM item that gives `old` or `new` with the columns of a table out of what was recorded.';

create or replace function audit.import_documents(tracked audit.tracked_table, tool text)
returns text
language sql
stable
as $$
    select pg_catalog.format(
        'cross join lateral (select %s, %s offset 0) as docs (before, after)',
        pg_catalog.replace(template, '{}', 'source.before'),
        pg_catalog.replace(template, '{}', 'source.after')
    )
    from (
        select
            case when json_columns <> '{}' and tool <> 'supa_audit' then
                pg_catalog.format('audit.with_parsed(%s, %L)', keyed, json_columns)
            else keyed end as template
        from (
            select
                array(
                    select attname::text
                    from pg_catalog.pg_attribute
                    where attrelid = tracked.relation
                        and attnum > 0
                        and not attisdropped
                        and atttypid in ('json'::pg_catalog.regtype, 'jsonb'::pg_catalog.regtype)
                    order by attnum
                ) as json_columns,
                case
                    when tool = 'litellm' and pg_catalog.cardinality(audit.identity_columns(tracked.relation)) = 1 then
                        pg_catalog.format('jsonb_build_object(%L, source.object_id) || {}', (audit.identity_columns(tracked.relation))[1])
                    else '{}'
                end as keyed
        ) as columns
    ) as built
$$;

comment on function audit.import_documents(audit.tracked_table, text) is
    'The FROM item of the rows before and after: with the key that LiteLLM keeps beside them, and JSON that is kept as text taken for what it is.';

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

create or replace function audit.compiled_import(
    tracked audit.tracked_table, tool text, row_operation text, with_rules boolean default true
)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    row_name text := case row_operation when 'DELETE' then 'old' else 'new' end;
    resource_id text := audit.compiled_resource_id(tracked, row_name);
    known text := format('%L::text[]', audit.column_names(tracked.relation));
    image text := format(
        'audit.imported_image(%%s, docs.%%s, %L::text[], %s)', (select array_agg(name) from audit.audited_columns(tracked)), known
    );
    old_image text := format(image, audit.compiled_row(tracked, 'old'), 'before');
    new_image text := format(image, audit.compiled_row(tracked, 'new'), 'after');
    changed text := format(
        '(select %s from %s) || audit.differing(docs.before - %s, docs.after - %3$s)',
        audit.compiled_changed(tracked), audit.compiled_moves(tracked), known
    );
    has_changed text := case row_operation when 'UPDATE' then 'cardinality(moved.changed) > 0' else 'true' end;
begin
    return format(
        $template$
    select
        source.number, source.occurred_at, source.imported_from, named.category,
        case when source.verb is not null and named.action = %1$L then %2$L || source.verb else named.action end,
        case when %3$s then %4$L end, source.table_name, %5$s, %6$L, %7$s, %8$s,
        source.actor_type, source.actor_id, source.actor_ip, source.user_agent,
        %9$s, %10$s, case when %3$s then moved.changed end
    from source
    %11$s
    %12$s
    -- (Computed once, however often it is named.)
    cross join lateral (select %13$s offset 0) as moved (changed)
    cross join lateral %14$s
    where source.table_name = %15$L
        and source.operation = %4$L
        and source.whole
        and named.action is not null
        and (%3$s or source.verb is not null)
        and %16$s$template$,
        tracked.resource || '.updated',
        tracked.resource || '.',
        has_changed,
        row_operation,
        audit.compiled_org(tracked, row_name, row_operation),
        tracked.resource,
        resource_id,
        coalesce(audit.compiled_value(tracked.relation, row_name, tracked.label) || '::text', 'null'),
        case row_operation when 'INSERT' then 'null' else format('case when %s then %s end', has_changed, old_image) end,
        case row_operation when 'DELETE' then 'null' else format('case when %s then %s end', has_changed, new_image) end,
        audit.import_documents(tracked, tool),
        concat_ws(
            E'\n    ',
            case when row_operation <> 'INSERT' then audit.import_record(tracked.relation, 'old') end,
            case when row_operation <> 'DELETE' then audit.import_record(tracked.relation, 'new') end
        ),
        case row_operation when 'UPDATE' then changed else 'null::text[]' end,
        audit.compiled_naming(tracked, row_operation, with_rules),
        tracked.name,
        audit.compiled_import_bound(tracked, tool, row_operation, resource_id)
    );
end
$$;

comment on function audit.compiled_import(audit.tracked_table, text, text, boolean) is
    'SQL for the events of the rows that tell of a tracked table and an operation: what its triggers would have recorded.';

create or replace function audit.compiled_import_bound(tracked audit.tracked_table, tool text, row_operation text, resource_id text)
returns text
language sql
stable
as $$
    select case
        -- A minute: rather twice than not at all.
        when tool = 'litellm' then pg_catalog.format('source.occurred_at < %L', tracked.created_at + interval '1 minute')
        else pg_catalog.format(
            $sql$(
            source.xid is null
            or source.occurred_at < %1$L
            or not exists (
                select
                from audit.event as own
                where own.xid = source.xid
                    and own.imported_from is null
                    and own.table_name = %2$L
                    and own.operation = %3$L
                    and own.resource_id is not distinct from %4$s
                    and own.occurred_at between source.occurred_at - interval '1 second' and source.occurred_at + interval '1 day'
            )
        )$sql$,
            tracked.created_at - interval '1 day', tracked.name, row_operation, resource_id
        )
    end
$$;

comment on function audit.compiled_import_bound(audit.tracked_table, text, text, text) is
    'SQL for whether pgtrail has not recorded a change itself, in the same transaction; of LiteLLM, which writes its log by itself: whether the table was not tracked yet.';

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

create or replace function audit.plain_import(settings audit.tracked_table, keys text[])
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return format(
        $template$
    select
        source.number, source.occurred_at, source.imported_from, %1$L::text,
        %2$L || coalesce(
            source.verb,
            case source.operation when 'INSERT' then 'created' when 'UPDATE' then 'updated' when 'DELETE' then 'deleted'
                when 'TRUNCATE' then 'truncated' else 'changed' end
        ),
        case when told.moved then source.operation end, source.table_name, audit.short_org(told.row ->> %3$L), %4$L,
        coalesce(
            audit.plain_key(told.row, %5$L, %6$L),
            case when %7$L then audit.digest_of(source.object_id) else source.object_id end,
            source.record_id,
            md5(coalesce(image.after, image.before)::text)
        ),
        coalesce(image.after, image.before) ->> %8$L,
        source.actor_type, source.actor_id, source.actor_ip, source.user_agent,
        case when told.moved and source.operation <> 'INSERT' then image.before end,
        case when told.moved and source.operation <> 'DELETE' then image.after end,
        case when told.moved and source.operation = 'UPDATE' then moved.changed end
    from source
    cross join lateral (
        select audit.plain_image(source.before, %9$L, %6$L), audit.plain_image(source.after, %9$L, %6$L)
        offset 0
    ) as image (before, after)
    cross join lateral (
        select audit.differing(source.before - %9$L::text[], source.after - %9$L::text[])
        offset 0
    ) as moved (changed)
    cross join lateral (
        select
            source.whole and (source.operation <> 'UPDATE' or cardinality(moved.changed) > 0),
            coalesce(source.after, source.before)
    ) as told (moved, row)
    where source.table_name = %10$L
        and (told.moved or not source.whole or source.verb is not null)$template$,
        settings.category,
        settings.resource || '.',
        settings.org,
        settings.resource,
        keys,
        settings.secret,
        audit.looks_secret(settings.resource) or audit.looks_secret(settings.name),
        settings.label,
        settings.ignore,
        settings.name
    );
end
$$;

comment on function audit.plain_import(audit.tracked_table, text[]) is
    'SQL for the events of the rows that tell of a table, one a row: for tables that are gone or not tracked, and rows that do not fit the table as it is now.';

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
    -- (Not by to_regclass(), which wants a right to look into the schema.)
    if p_table !~ '""|^[.]|[.]$' then
        parts := parse_ident(p_table);
    end if;
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
    category_name := trim(both '_' from regexp_replace(lower(settings.resource), '[^a-z0-9]+', '_', 'g'));
    settings.category := case when category_name ~ '^[a-z][a-z0-9_]{0,62}$' then category_name else 'imported' end;
    settings.ignore := '{}';
    settings.secret := '{}';
    return settings;
end
$$;

comment on function audit.import_settings(text, oid) is
    'The settings of a tracked table by its recorded name, else by its oid; of one that is not tracked, what audit.track() would call it (created_at null).';

create or replace function audit.plain_select(settings audit.tracked_table)
returns text
language sql
stable
as $$
    select audit.plain_import(settings, coalesce(nullif(audit.identity_columns(settings.relation), '{}'), '{id}'))
$$;

comment on function audit.plain_select(audit.tracked_table) is
    'audit.plain_import() by the key that the table has, else by `id`.';

create or replace function audit.import_statement(selects text, stores boolean)
returns text
language sql
immutable
as $$
    select pg_catalog.format(
        $sql$
with source as materialized (
    select
        seen.number,
        seen.occurred_at,
        $2 || seen.row_id as imported_from,
        seen.xid,
        seen.operation,
        seen.verb,
        coalesce($4 ->> seen.table_name, seen.table_name) as table_name,
        seen.object_id,
        seen.record_id,
        seen.actor_type,
        seen.actor_id,
        seen.actor_ip,
        seen.user_agent,
        seen.before,
        seen.after,
        case seen.operation
            when 'INSERT' then seen.after is not null
            when 'UPDATE' then seen.before is not null and seen.after is not null
            when 'DELETE' then seen.before is not null
        end is true as whole
    from unnest($1) with ordinality as seen (
        key, row_id, occurred_at, xid, operation, verb, table_name, table_oid, object_id, record_id,
        actor_type, actor_id, actor_ip, user_agent, before, after, number
    )
    where not $3
        or not exists (
            select from audit.event where event.occurred_at = seen.occurred_at and event.imported_from = $2 || seen.row_id
        )
),
mapped (
    number, occurred_at, imported_from, category, action, operation, table_name, org_id, resource_type, resource_id,
    resource_label, actor_type, actor_id, actor_ip, user_agent, before, after, changed
) as (%s
),
stored as (%s
)
select table_name, count(*), count(distinct imported_from)
from stored
group by table_name
        $sql$,
        selects,
        case when stores then $sql$
    insert into audit.event (
        occurred_at, imported_from, category, action, operation, table_name, org_id, resource_type, resource_id,
        resource_hash, resource_label, actor_type, actor_id, actor_hash, actor_ip, user_agent, before, after, changed
    )
    select
        occurred_at, imported_from, category, action, operation, table_name, org_id, resource_type, resource_id,
        hashtextextended(resource_id, 0), resource_label, actor_type, actor_id, hashtextextended(actor_id, 0), actor_ip,
        user_agent, before, after, changed
    from mapped
    -- What happened in one transaction may have one time: ids tell the order.
    order by number
    returning table_name, imported_from$sql$
        else $sql$
    select table_name, imported_from from mapped$sql$
        end
    )
$$;

comment on function audit.import_statement(text, boolean) is
    'SQL that records (or only counts) the events of rows $1, whose marks begin with $2; $3: look first whether they are in the log already; $4: what tables that were renamed are called now.';

create or replace function audit.import_selects(settings audit.tracked_table, tool text, operations text[])
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    plain text := audit.plain_select(settings);
    selects text;
    with_rules boolean;
begin
    if settings.created_at is null then
        return plain;
    end if;
    -- A rule may need a type that a recorded value can't be read as.
    foreach with_rules in array array[true, false]
    loop
        begin
            select string_agg(audit.compiled_import(settings, tool, operation, with_rules), E'\n    union all')
            into selects
            from unnest(operations) as operation
            where operation in ('INSERT', 'UPDATE', 'DELETE');
            exit when selects is null;
            -- Parsed, over no rows.
            execute audit.import_statement(selects, stores => false)
            using '{}'::audit.imported_row[], '', false, '{}'::jsonb;
            exit;
        exception
            when syntax_error_or_access_rule_violation or data_exception or feature_not_supported then
                selects := null;
        end;
    end loop;
    -- What has no rows to tell of (a TRUNCATE, a statement) is told by name.
    return concat_ws(
        E'\n    union all',
        selects,
        plain || case when selects is not null then ' and not source.whole' else '' end
    );
end
$$;

comment on function audit.import_selects(audit.tracked_table, text, text[]) is
    'SQL for the events of all rows of a batch that tell of a table.';

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

create or replace function audit.store_imported(
    p_import audit.import, p_rows audit.imported_row[], p_selects text, p_plain text, p_names jsonb, p_again boolean, p_dry_run boolean
)
returns table (table_name text, events bigint, imported bigint, unfit bigint, skipped bigint)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    mark text := format('%s %s ', p_import.tool, p_import.source);
    half integer := cardinality(p_rows) / 2;
    name text := coalesce(p_names ->> p_rows[1].table_name, p_rows[1].table_name);
    state text;
begin
    begin
        return query
        execute replace(audit.import_statement(p_selects, not p_dry_run), 'count(distinct imported_from)', 'count(distinct imported_from), 0::bigint, 0::bigint')
        using p_rows, mark, p_again, p_names;
        return;
    exception
        when data_exception or program_limit_exceeded or integrity_constraint_violation or syntax_error_or_access_rule_violation then
            state := sqlstate;
    end;
    if half > 0 then
        -- One of them does not fit: all others do.
        return query
        select found.*
        from (values (p_rows[:half]), (p_rows[half + 1:])) as part (rows)
        cross join lateral audit.store_imported(p_import, part.rows, p_selects, p_plain, p_names, p_again, p_dry_run) as found;
        return;
    end if;
    begin
        return query
        execute replace(audit.import_statement(p_plain, not p_dry_run), 'count(distinct imported_from)', 'count(distinct imported_from), 1::bigint, 0::bigint')
        using p_rows, mark, p_again, p_names;
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

comment on function audit.store_imported(audit.import, audit.imported_row[], text, text, jsonb, boolean, boolean) is
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
                or table_name in (audit.qualified_name(pg_class.oid), 'audit.' || pg_class.relname)
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
    p_tool text, p_rows audit.imported_row[], p_dry_run boolean,
    out selects text, out plain text, out names jsonb, out tracked text[]
)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    target record;
begin
    names := '{}';
    tracked := '{}';
    for target in
        select known.settings, array_agg(distinct told.operation) as operations, jsonb_object_agg(told.table_name, (known.settings).name) as names
        from (
            -- One table, whatever it was called.
            select seen.table_name, seen.operation, max(seen.table_oid) as table_oid
            from unnest(p_rows) as seen
            group by seen.table_name, seen.operation
        ) as told
        cross join lateral (select audit.import_settings(told.table_name, told.table_oid)) as known (settings)
        group by known.settings
    loop
        names := names || target.names;
        selects := concat_ws(E'\n    union all', selects, audit.import_selects(target.settings, p_tool, target.operations));
        plain := concat_ws(E'\n    union all', plain, audit.plain_select(target.settings));
        if (target.settings).created_at is not null then
            tracked := tracked || (target.settings).name;
        elsif not p_dry_run then
            insert into audit.category (name, label, position)
            values ((target.settings).category, initcap(replace((target.settings).category, '_', ' ')), 500)
            on conflict (name) do nothing;
        end if;
    end loop;
end
$$;

comment on function audit.plan_import(text, audit.imported_row[], boolean) is
    'SQL for the events of a batch''s rows (plain: by the names in them alone), what renamed tables are called now, and which of them are tracked.';

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
as $$
declare
    state audit.import := (select import from audit.import where id = p_import_id for update);
    dated audit.imported_row[] := array(select seen from unnest(p_rows) as seen where audit.can_be_dated(seen.occurred_at) and not audit.tells_of_pgtrail(seen.table_name, seen.table_oid));
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
    where audit.can_be_dated(seen.occurred_at) and audit.tells_of_pgtrail(seen.table_name, seen.table_oid);

    select * into plan from audit.plan_import(state.tool, dated, p_dry_run);
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
    if dated <> '{}' then
        select coalesce(jsonb_agg(each_stored), '[]')
        into stored
        from audit.store_imported(
            state, dated, plan.selects, plan.plain, plan.names,
            -- Behind what was ever read nothing can be in the log.
            p_rows[1].key <= state.high_key,
            p_dry_run
        ) as each_stored;
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
-- A row that a policy hides would be lost: rather an error.
set row_security = off
as $$
declare
    state audit.import;
    bound bigint;
    horizon xid8;
    read audit.imported_row[];
begin
    perform audit.check_source(p_tool, p_source);
    if p_tool <> 'litellm' then
        execute format(
            'select coalesce(max(%I), 0) from %s',
            case p_tool when 'supa_audit' then 'id' else 'event_id' end,
            audit.qualified_name(p_source)
        )
        into bound;
    end if;
    state := audit.begin_import(p_tool, p_source, bound);
    horizon := pg_snapshot_xmin(pg_current_snapshot());
    execute format('select coalesce(array_agg(seen order by (seen).key, (seen).row_id), %L) from (%s) as found (seen)', '{}', audit.import_reading(p_tool, p_source))
    into read
    using state.last_key, state.last_row, p_max_rows, state.bound_key;
    if read = '{}' then
        return jsonb_build_object('total', audit.end_import(state.id, p_dry_run));
    end if;
    return audit.store_import(state.id, read, horizon, p_dry_run);
end
$$;

comment on function audit.import_batch(text, regclass, integer, boolean) is
    'Reads the next rows of another tool''s table (supa_audit, audit_trigger, litellm) and records what they tell of, as audit.import says how far it is: call it until it returns `total`, each time in its own transaction; or, for a rehearsal (p_dry_run), all in one that is rolled back. `partitions`: it made months and read nothing. PT060.';

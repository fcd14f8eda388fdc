-- The events of a tracked table's rows: what its triggers would have recorded.

-- The object with those of the named members that are JSON in a text taken apart.
create function pg_temp.with_parsed(document jsonb, members text[])
returns jsonb
language sql
immutable
as $$
    select document || coalesce(
        jsonb_object_agg(member, pg_temp.parse_json(document ->> member)) filter (
            where jsonb_typeof(document -> member) = 'string' and pg_temp.parse_json(document ->> member) is not null
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
        ) || audit_internal.without_secrets(document - known)
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

-- The rows of a batch that tell of a table; whole: it has the rows before and after that its operation needs.
create function pg_temp.rows_of_table(p_tool text, p_rows audit.imported_row[], p_names jsonb, settings audit.tracked_table)
returns table (
    number bigint, occurred_at timestamptz, xid xid8, operation text, verb text, object_id text, record_id text, whole boolean,
    before jsonb, after jsonb
)
language sql
stable
as $$
    select
        seen.ordinality, seen.occurred_at, seen.xid, seen.operation, seen.verb, seen.object_id, seen.record_id,
        case seen.operation
            when 'INSERT' then seen.after is not null
            when 'UPDATE' then seen.before is not null and seen.after is not null
            when 'DELETE' then seen.before is not null
        end is true,
        seen.before, seen.after
    from unnest(p_rows) with ordinality as seen
    where coalesce(p_names ->> seen.table_name, seen.table_name) = settings.name
$$;

-- Whether pgtrail recorded a change itself, in the same transaction; of LiteLLM: whether the table was tracked by then.
create function pg_temp.was_recorded(
    p_tool text, settings audit.tracked_table, p_xid xid8, p_time timestamptz, p_operation text, p_resource_id text
)
returns boolean
language sql
stable
as $$
    select case
        -- LiteLLM writes its log in a transaction of its own. One minute later: rather twice than not at all.
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

-- The events of the rows that tell of a tracked table: what its triggers would have recorded. differs: an audited column changed.
create function pg_temp.events_by_settings(
    p_tool text, p_rows audit.imported_row[], p_names jsonb, settings audit.tracked_table, importer text, statement text
)
returns table (
    number bigint, ordinal bigint, category text, action text, differs boolean, org_id text, resource_id text, resource_label text, before jsonb,
    after jsonb, changed text[]
)
language sql
as $$
    with known as materialized (
        select
            audit_internal.column_names(settings.relation) as columns,
            array(select name from audit_internal.audited_columns(settings)) as audited,
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
        from (select audit_internal.identity_columns(settings.relation)) as identity (columns)
    ),
    -- With the key that LiteLLM keeps beside a row, and JSON that is kept as text taken for what it is.
    source_row as materialized (
        select
            row.number, row.occurred_at, row.xid, row.operation, row.verb,
            case when known.json_columns = '{}' then keyed.before else pg_temp.with_parsed(keyed.before, known.json_columns) end as before,
            case when known.json_columns = '{}' then keyed.after else pg_temp.with_parsed(keyed.after, known.json_columns) end as after
        from pg_temp.rows_of_table(p_tool, p_rows, p_names, settings) as row
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
        from source_row
        having count(*) > 0
    )
    select
        source_row.number,
        mapped.ordinal,
        mapped.category,
        case when source_row.verb is not null and mapped.action = settings.resource || '.updated' then settings.resource || '.' || source_row.verb else mapped.action end,
        result.differs,
        mapped.org_id,
        mapped.resource_id,
        mapped.resource_label,
        case when result.differs then pg_temp.imported_image(mapped.old_row, source_row.before, known.audited, known.columns) end,
        case when result.differs then pg_temp.imported_image(mapped.new_row, source_row.after, known.audited, known.columns) end,
        difference.changed
    from given
    cross join known
    cross join lateral pg_temp.mapped_rows(importer, statement, given.numbers, given.operations, given.before, given.after)
        with ordinality as mapped (
            number, category, action, org_id, resource_id, resource_label, old_row, new_row, changed, ordinal
        )
    join source_row on source_row.number = mapped.number
    cross join lateral (
        select case
            when source_row.operation = 'UPDATE' then mapped.changed || pg_temp.differing(source_row.before - known.columns, source_row.after - known.columns)
        end
        offset 0
    ) as difference (changed)
    cross join lateral (select coalesce(cardinality(difference.changed) > 0, true)) as result (differs)
    where (result.differs or source_row.verb is not null)
        and not pg_temp.was_recorded(p_tool, settings, source_row.xid, source_row.occurred_at, source_row.operation, mapped.resource_id)
$$;

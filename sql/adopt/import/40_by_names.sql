-- The events of rows by the names in them alone: of tables that are gone or not tracked, and of rows that don't fit.

-- A recorded row without what is ignored, and with what is secret, or looks so, redacted.
create function pg_temp.redact_by_names(document jsonb, ignore text[], secret text[])
returns jsonb
language plpgsql
immutable
as $$
declare
    image jsonb := document - ignore;
    path text;
    member text;
begin
    foreach path in array secret
    loop
        member := audit_internal.column_of_path(path, array(select jsonb_object_keys(image)));
        continue when member is null;
        if starts_with(path, member || ' when ') then
            continue when not audit_internal.is_name_of_secret(document ->> substr(path, length(member || ' when ') + 1));
            path := member;
        end if;
        image := image || jsonb_build_object(
            member,
            audit_internal.redact(
                image -> member,
                coalesce(string_to_array(nullif(substr(path, length(member) + 2), ''), '.'), '{}')
            )
        );
    end loop;
    return audit_internal.without_secrets(image);
end
$$;

-- The key of a recorded row as text, secret parts as digests; null: it has none.
create function pg_temp.key_by_names(document jsonb, keys text[], secret text[])
returns text
language sql
immutable
as $$
    -- Without one of its columns it would be another row's key.
    select string_agg(
        case
            when name = any (secret) or audit_internal.looks_secret_within(name) or audit_internal.value_looks_secret(document ->> name) then pg_temp.hex_digest(document ->> name)
            else document ->> name
        end,
        ',' order by ordinal
    )
    from unnest(keys) with ordinality as part (name, ordinal)
    where document ?& keys
$$;

-- The events of the rows that tell of a table, one a row: for tables that are gone or not tracked, rows that do not fit the
-- table as it is now, and (only_rest) what has no rows to tell of, such as a TRUNCATE.
create function pg_temp.events_by_names(
    p_tool text, p_rows audit.imported_row[], p_names jsonb, settings audit.tracked_table, only_rest boolean
)
returns table (
    number bigint, ordinal bigint, category text, action text, differs boolean, org_id text, resource_id text, resource_label text, before jsonb,
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
        outcome.differs,
        audit_internal.short_org(outcome.document ->> settings.org),
        coalesce(
            pg_temp.key_by_names(outcome.document, known.keys, settings.secret),
            case when known.is_secret then pg_temp.hex_digest(row.object_id) else row.object_id end,
            row.record_id,
            md5(coalesce(image.after, image.before)::text)
        ),
        coalesce(image.after, image.before) ->> settings.label,
        image.before,
        image.after,
        difference.changed
    from pg_temp.rows_of_table(p_tool, p_rows, p_names, settings) as row
    cross join (
        select
            coalesce(nullif(audit_internal.identity_columns(settings.relation), '{}'), '{id}'),
            audit_internal.is_name_of_secret(settings.resource) or audit_internal.is_name_of_secret(settings.name)
        offset 0
    ) as known (keys, is_secret)
    cross join lateral (
        select
            pg_temp.redact_by_names(row.before, settings.ignore, settings.secret),
            pg_temp.redact_by_names(row.after, settings.ignore, settings.secret)
        offset 0
    ) as image (before, after)
    cross join lateral (
        select case
            when row.operation = 'UPDATE' then pg_temp.differing(row.before - settings.ignore, row.after - settings.ignore)
        end
        offset 0
    ) as difference (changed)
    cross join lateral (
        select
            row.whole and coalesce(cardinality(difference.changed) > 0, true),
            coalesce(row.after, row.before)
    ) as outcome (differs, document)
    where (outcome.differs or not row.whole or row.verb is not null)
        and not (only_rest and row.whole)
$$;

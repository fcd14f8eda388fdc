-- SQL for a row of a tracked table as it is recorded: its columns as JSON without secrets, and its key.

create or replace function audit_internal.object_sql(names text[], fields text[], sparse boolean default false)
returns text
language plpgsql
stable
as $$
declare
    has_json_object constant boolean := current_setting('server_version_num')::integer >= 160000;
begin
    -- In groups, since a function takes 100 arguments. (Before PostgreSQL 16 nothing but an object of its own leaves a field out.)
    return (
        select coalesce(string_agg(grouped.members, E'\n            || ' order by grouped.number), '''{}''::jsonb')
        from (
            select
                position / 50 as number,
                case
                    when has_json_object then concat(
                        E'json_object(\n            ',
                        string_agg(concat(quote_literal(name), ' value ', field), E',\n            ' order by position),
                        case when sparse then E'\n            absent on null' end, E'\n            returning jsonb)'
                    )
                    when not sparse then
                        'jsonb_build_object(' || string_agg(concat(quote_literal(name), ', ', field), E',\n            ' order by position) || ')'
                    else string_agg(
                        concat('case when num_nulls(', field, ') = 0 then jsonb_build_object(', quote_literal(name), ', ', field, ') else ''{}'' end'),
                        E'\n            || ' order by position
                    )
                end as members
            from unnest(names, fields) with ordinality as member (name, field, position)
            group by position / 50
        ) as grouped
    );
end
$$;

comment on function audit_internal.object_sql(text[], text[], boolean) is
    'SQL for a jsonb object out of SQL for its members; sparse: without those that are null.';

create or replace function audit_internal.redacted_column_sql(content text, secret_paths text[])
returns text
language plpgsql
immutable
as $$
declare
    redaction text := content;
    secret_path text;
begin
    foreach secret_path in array secret_paths
    loop
        redaction := pg_catalog.format('audit_internal.redact_or_null(%s, %L)', redaction, pg_catalog.string_to_array(secret_path, '.'));
    end loop;
    -- Most values have nothing that looks secret, and it costs less to see that than to call.
    if secret_paths = '{**.?}' then
        redaction := pg_catalog.format('case when audit_internal.may_name_secret(%1$s::text) then %2$s else %1$s end', content, redaction);
    end if;
    return redaction;
end
$$;

comment on function audit_internal.redacted_column_sql(text, text[]) is
    'SQL for a JSON value with each of the paths redacted.';

create or replace function audit_internal.fields_sql(tracked audit.tracked_table, row_name text, all_rows text[], as_given boolean)
returns table (name text, number smallint, field text)
language sql
stable
as $$
    select
        audited.name,
        audited.number,
        case
            when redacted then pg_catalog.format('case when %s is not null then ''[redacted]'' end', plain)
            when pg_catalog.cardinality(secret_when) > 0 then pg_catalog.format(
                'case when %s then to_jsonb(case when %s is not null then ''[redacted]''::text end) else %s end',
                -- What was secret under one name is it under the next.
                (
                    select pg_catalog.string_agg(
                        pg_catalog.format(
                            'audit_internal.is_name_of_secret(%s)',
                            case
                                when as_given then audit_internal.column_as_text(given_row, name_column)
                                else pg_catalog.format('%s.%I::text', given_row, name_column)
                            end
                        ),
                        ' or '
                    )
                    from pg_catalog.unnest(all_rows) as given_row
                    cross join pg_catalog.unnest(secret_when) as name_column
                ),
                plain,
                audit_internal.redacted_column_sql(as_json, secret_paths)
            )
            when pg_catalog.cardinality(secret_paths) > 0 then audit_internal.redacted_column_sql(as_json, secret_paths)
            when holds_json then as_json
            else plain
        end
    from audit_internal.audited_columns(tracked) as audited
    cross join lateral (
        select
            case
                when as_given and audit_internal.is_recorded_as_text(type_oid) then audit_internal.column_as_text(row_name, audited.name)
                else pg_catalog.format('%s.%I', row_name, audited.name)
            end,
            audit_internal.holds_json(type_oid) and not audit_internal.is_recorded_as_text(type_oid),
            audit_internal.base_type(type_oid) = 'pg_catalog.jsonb'::pg_catalog.regtype
        offset 0
    ) as content (plain, holds_json, is_jsonb)
    cross join lateral (
        select case when holds_json then pg_catalog.format('audit_internal.json_or_text(to_json(%s))', plain) when is_jsonb then plain else pg_catalog.format('to_jsonb(%s)', plain) end
    ) as compiled (as_json)
$$;

comment on function audit_internal.fields_sql(audit.tracked_table, text, text[], boolean) is
    'SQL for each of a row''s audited columns as it is recorded, secrets redacted; row_name is `old` or `new`; all_rows: which of the two there are; as_given: they are the trigger''s own variables, not rows as audit_internal.column_sql() has them.';

create or replace function audit_internal.rows_of(row_operation text)
returns text[]
language sql
immutable
as $$
    select case row_operation when 'INSERT' then '{new}' when 'UPDATE' then '{old,new}' else '{old}' end::text[]
$$;

comment on function audit_internal.rows_of(text) is 'Which rows there are, of `old` and `new`, where rows are inserted, updated or deleted.';

create or replace function audit_internal.whole_row_sql(tracked audit.tracked_table, row_name text, row_operation text, as_given boolean)
returns text
language sql
stable
as $$
    select audit_internal.object_sql(pg_catalog.array_agg(name order by number), pg_catalog.array_agg(field order by number))
    from audit_internal.fields_sql(tracked, row_name, audit_internal.rows_of(row_operation), as_given)
$$;

comment on function audit_internal.whole_row_sql(audit.tracked_table, text, text, boolean) is
    'SQL for the jsonb of a row''s audited columns, secrets redacted by their names; row_name is `old` or `new`; as_given as in audit_internal.fields_sql().';

create or replace function audit_internal.secret_scan_sql(tracked audit.tracked_table, recorded text)
returns text
language sql
stable
as $$
    select case when texts = '{}' then recorded else pg_catalog.concat('audit_internal.without_secrets(', recorded, ', ', pg_catalog.quote_literal(texts), ')') end
    from (select audit_internal.text_columns_to_scan(tracked) offset 0) as known (texts)
$$;

comment on function audit_internal.secret_scan_sql(audit.tracked_table, text) is
    'SQL for a recorded row whose texts are looked through for what is secret by its form.';

create or replace function audit_internal.row_sql(tracked audit.tracked_table, row_name text)
returns text
language sql
stable
as $$
    select audit_internal.secret_scan_sql(tracked, audit_internal.whole_row_sql(tracked, row_name, case row_name when 'new' then 'INSERT' else 'DELETE' end, as_given => false))
$$;

comment on function audit_internal.row_sql(audit.tracked_table, text) is
    'SQL for the jsonb of a row''s audited columns, all secrets redacted, where there is no other row; row_name is `old` or `new`.';

create or replace function audit_internal.resource_id_sql(tracked audit.tracked_table, row_name text)
returns text
language sql
stable
as $$
    with identity as (
        select
            pg_catalog.format('%s.%I', row_name, part.name) as field,
            audit_internal.is_or_contains_secret(part.name, tracked.secret) as redacted,
            audit_internal.type_may_hold_secret(atttypid, atttypmod) as may_hold_secret,
            part.position
        from pg_catalog.unnest(audit_internal.identity_columns(tracked.relation)) with ordinality as part (name, position)
        join pg_catalog.pg_attribute on attrelid = tracked.relation and attname = part.name
    ),
    shown as (
        -- A key that is itself a secret still has to tell rows apart.
        select
            case
                when redacted then pg_catalog.format(
                    'encode(sha256(convert_to(%s::text, ''UTF8'')), ''hex'')', field
                )
                when may_hold_secret then pg_catalog.format('audit_internal.id_without_secret(%s::text)', field)
                else field
            end as field,
            position
        from identity
    )
    select case count(*)
        when 0 then pg_catalog.format('md5(%s::text)', audit_internal.row_sql(tracked, row_name))
        when 1 then pg_catalog.min(field) || '::text'
        else pg_catalog.format(
            'btrim(row(%s)::text, ''()'')', pg_catalog.string_agg(field, ', ' order by position)
        )
    end
    from shown
$$;

comment on function audit_internal.resource_id_sql(audit.tracked_table, text) is
    'SQL for the resource id: the key as text; several columns as in a row literal; without a key a digest of the redacted row.';

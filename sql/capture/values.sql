-- SQL that takes a column's value as it is recorded, whatever type it has become.

create or replace function audit_internal.column_as_text(row_name text, column_name text)
returns text
language sql
immutable
as $$
    -- format() takes a value of any type and calls the output function of that, whatever casts its owner gives it.
    select pg_catalog.format('case when num_nulls(%1$I.%2$I) = 0 then format(''%%s'', %1$I.%2$I) end', row_name, column_name)
$$;

comment on function audit_internal.column_as_text(text, text) is
    'SQL for the text of a column''s value by its type''s output function alone.';

create or replace function audit_internal.plain_column(row_name text, column_name text, type_oid oid)
returns text
language sql
stable
as $$
    select case
        when audit_internal.is_recorded_as_text(type_oid) then pg_catalog.format('%s as %I', audit_internal.column_as_text(row_name, column_name), column_name)
        when audit_internal.base_type(type_oid) <> type_oid then pg_catalog.format('%1$I.%2$I::%3$s as %2$I', row_name, column_name, pg_catalog.format_type(audit_internal.base_type(type_oid), -1))
        else pg_catalog.format('%I.%I', row_name, column_name)
    end
$$;

comment on function audit_internal.plain_column(text, text, oid) is
    'SQL for a column as it is recorded: as text, by its type''s output function alone, where audit_internal.is_recorded_as_text() says so.';

create or replace function audit_internal.plain_type(type_oid oid)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select case when audit_internal.is_recorded_as_text(type_oid) then 'text' else format_type(audit_internal.base_type(type_oid), -1) end
$$;

comment on function audit_internal.plain_type(oid) is 'The type that audit_internal.plain_column() gives.';

create or replace function audit_internal.plain_columns(relation regclass)
returns text
language sql
stable
as $$
    -- (A table may have no column at all; a function's rows must have one.)
    select coalesce(
        pg_catalog.string_agg(pg_catalog.format('%I ', name) || audit_internal.plain_type(type_oid), ', ' order by number), '"pgtrail nothing" text'
    )
    from audit_internal.live_columns(relation)
$$;

comment on function audit_internal.plain_columns(regclass) is 'A column definition list: the columns of a table as they are recorded.';

create or replace function audit_internal.columns_as_text(relation regclass)
returns text[]
language sql
stable
as $$
    select coalesce(pg_catalog.array_agg(name order by number), '{}')
    from audit_internal.live_columns(relation)
    where audit_internal.is_recorded_as_text(type_oid)
$$;

comment on function audit_internal.columns_as_text(regclass) is 'The columns that are recorded as text, as audit_internal.is_recorded_as_text() says.';

create or replace function audit_internal.column_sql(relation regclass, row_name text, rows text, all_as_text boolean)
returns text
language plpgsql
stable
as $$
begin
    return (
        select case
            when not all_as_text and audit_internal.columns_as_text(relation) = '{}' then rows || ' as ' || row_name
            else (
                select pg_catalog.concat(
                    '(select ',
                    pg_catalog.string_agg(
                        -- (Of an unknown type: so as text.)
                        audit_internal.plain_column(row_name, name, case when not all_as_text then type_oid end), ', ' order by number
                    ),
                    ' from ' || rows || ' as ' || row_name,
                    ') as ',
                    row_name
                )
                from audit_internal.live_columns(relation)
                where has_value
            )
        end
    );
end
$$;

comment on function audit_internal.column_sql(regclass, text, text, boolean) is
    'SQL for a FROM item: `old` or `new` with its columns as they are recorded, or all as text, from rows (null: the trigger''s own variable); null: that variable is as it is to be.';

create or replace function audit_internal.type_may_hold_secret(type_oid oid, modifier integer)
returns boolean
language plpgsql
stable
as $$
begin
    return (
        select 'S' in (pg_type.typcategory, element.typcategory)
            or type_oid in ('pg_catalog.json'::pg_catalog.regtype, 'pg_catalog.jsonb'::pg_catalog.regtype)
            or audit_internal.is_recorded_as_text(type_oid)
        from pg_catalog.pg_type
        left join pg_catalog.pg_type as element on element.oid = pg_type.typelem and pg_type.typcategory = 'A'
        where pg_type.oid = type_oid
            -- (No secret is so short.)
            and not (pg_type.typcategory = 'S' and modifier between 4 and 11)
    );
end
$$;

comment on function audit_internal.type_may_hold_secret(oid, integer) is
    'Whether a value of a type (and its modifier, as in pg_attribute.atttypmod) may have a secret in it that no name tells of: a password in a URL, JSON in a text. Null, too, says that it can''t.';

create or replace function audit_internal.text_columns_to_scan(tracked audit.tracked_table)
returns text[]
language plpgsql
stable
as $$
begin
    return array(
        select audited.name
        from audit_internal.audited_columns(tracked) as audited
        join pg_catalog.pg_attribute on attrelid = tracked.relation and attnum = audited.number
        -- (What has 16 bytes at most, as most types have, holds none.)
        where not audited.redacted and attlen not between 1 and 16 and audit_internal.type_may_hold_secret(atttypid, atttypmod)
        order by audited.number
    );
end
$$;

comment on function audit_internal.text_columns_to_scan(audit.tracked_table) is
    'The audited columns that are not redacted and whose type may hold a secret; see audit_internal.type_may_hold_secret().';

create or replace function audit_internal.compiled_function_name(purpose text, subject text)
returns text
language sql
stable
as $$
    -- Identifiers end at 63 bytes; a longer name is cut and made unique by its digest.
    select case
        when pg_catalog.octet_length(purpose || ' ' || subject) <= 63 then purpose || ' ' || subject
        else purpose || ' ' || pg_catalog.left(pg_catalog.md5(subject), 16) || '…'
    end
$$;

comment on function audit_internal.compiled_function_name(text, text) is 'The name of a function that is compiled for a table.';

create or replace function audit_internal.read_function(relation regclass)
returns text
language sql
stable
as $$
    select audit_internal.compiled_function_name('read', audit_internal.qualified_name(relation))
$$;

comment on function audit_internal.read_function(regclass) is 'The name of the function in schema audit that reads a tracked table''s rows.';

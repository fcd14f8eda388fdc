-- Which columns are secret: those that are named, and those that look so; and which tell of a person.

create or replace function audit_internal.column_of_path(path text, columns text[])
returns text
language sql
immutable
parallel safe
as $$
    -- A column's own name may have dots.
    select name
    from pg_catalog.unnest(columns) as name
    where path = name or pg_catalog.starts_with(path, name || '.') or pg_catalog.starts_with(path, name || ' when ')
    order by pg_catalog.length(name) desc
    limit 1
$$;

comment on function audit_internal.column_of_path(text, text[]) is 'Which of the columns an entry of audit.tracked_table.secret is (`name`), leads into (`name.path`), or hides in some rows (`name when other`); null: none.';

create or replace function audit_internal.is_or_contains_secret(column_name text, secret text[])
returns boolean
language sql
immutable
parallel safe
as $$
    select coalesce(
        pg_catalog.bool_or(
            path = column_name or pg_catalog.starts_with(path, column_name || '.') or pg_catalog.starts_with(path, column_name || ' when ')
        ),
        false
    )
    from pg_catalog.unnest(secret) as path
$$;

comment on function audit_internal.is_or_contains_secret(text, text[]) is
    'Whether a column is among the paths of audit.tracked_table.secret, or one of them leads into it.';

create or replace function audit_internal.looks_personal(column_name text)
returns boolean
language sql
immutable
strict
parallel safe
as $$
    select audit_internal.words_of(column_name)
        ~ '(^|_)(e_?mail|(full|first|last|given|family|middle|user|display)_?name|nick_?name|surname|phone|mobile|avatar|photo|picture|birth_?(day|date)|date_of_birth|street|postal_?code|zip_?code|home_address|ip_address)(_|$)|(^|_)ip$'
$$;

comment on function audit_internal.looks_personal(text) is
    'Whether a column of this name tells of a person: audit.erase_actor() replaces what stands in it.';

create or replace function audit_internal.is_about_person(relation regclass)
returns boolean
language sql
stable
as $$
    select exists (
        select
        from pg_catalog.pg_attribute
        where attrelid = relation and attnum > 0 and not attisdropped and audit_internal.looks_personal(attname)
    )
$$;

comment on function audit_internal.is_about_person(regclass) is 'Whether a table has a column that looks personal by its name.';

create or replace function audit_internal.columns_of_secret(relation regclass, entry text)
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    hidden text := audit_internal.column_of_path(entry, audit_internal.column_names(relation));
begin
    return case
        when hidden is null then array[split_part(split_part(entry, ' when ', 1), '.', 1)]
        when starts_with(entry, hidden || ' when ') then array[hidden, substr(entry, length(hidden || ' when ') + 1)]
        else array[hidden]
    end;
end
$$;

comment on function audit_internal.columns_of_secret(regclass, text) is
    'The columns that an entry of secret => … names: `api_key`, `settings.**.?`, `value when key`; the first part, if it is none.';

create or replace function audit_internal.secrets_by_name(relation regclass, judged text[])
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(
        select entry
        from (
            select attname, attnum, attname::text
            from pg_attribute
            where attrelid = relation
                and attnum > 0
                and not attisdropped
                and (audit_internal.looks_secret(attname, atttypid) or attname in (select audit_internal.token_columns(relation)))
            union all
            select attname, attnum, concat(value_column, ' when ', name_column)
            from audit_internal.settings_by_name(relation)
            join pg_attribute on attrelid = relation and attname = value_column
            where not audit_internal.looks_secret(attname, atttypid)
        ) as found (column_name, number, entry)
        where column_name <> all (judged) and entry <> all (judged)
        order by number, entry
    );
end
$$;

comment on function audit_internal.secrets_by_name(regclass, text[]) is
    'What audit.track() redacts by default, as entries of secret => …: columns that look secret by their name, or by that of the table that they are in, and the values of settings that are rows. judged: columns, and entries, that somebody has decided about.';

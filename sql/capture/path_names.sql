-- Which organization a row belongs to and what it is called: a column of its own, or a path through other tables.
-- Here the names of tables and columns on such a path, and whether it may go there.

create or replace function audit_internal.short_org(org_id text)
returns text
language sql
immutable
parallel safe
as $$
    -- An entry of a B-tree has room for a third of a page, 2,704 bytes; one that has not fails the write.
    select case
        when pg_catalog.octet_length(org_id) <= 1000 then org_id
        else pg_catalog.left(org_id, 64) || '… sha256:'
            || pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(org_id, 'UTF8')), 'hex')
    end
$$;

comment on function audit_internal.short_org(text) is
    'An organization''s id as events have it: one longer than 1,000 bytes is cut and made unique by its digest.';

create or replace function audit_internal.is_path(relation regclass, written text)
returns boolean
language sql
stable
as $$
    -- A column may be called anything, so its name comes first.
    select written <> all (audit_internal.column_names(relation)) and written ~ '->|[,+]'
$$;

comment on function audit_internal.is_path(regclass, text) is
    'Whether the organization or the label of a table is written as a path through other tables, or as several; not as the name of a column.';

create or replace function audit_internal.split_unquoted(value text, separator text)
returns table (part text, number bigint)
language sql
immutable
as $$
    select pg_catalog.btrim(split.part, E' \t\r\n'), split.number
    from pg_catalog.regexp_split_to_table(value, separator || '(?=(?:[^"]*"[^"]*")*[^"]*$)')
        with ordinality as split (part, number)
$$;

comment on function audit_internal.split_unquoted(text, text) is
    'The parts of a text between separators (a regular expression) that stand outside double quotes.';

create or replace function audit_internal.column_number(relation regclass, written text)
returns smallint
language sql
stable
as $$
    select attnum
    from pg_catalog.pg_attribute
    where attrelid = relation
        and attnum > 0
        and not attisdropped
        and (attname = written or written = pg_catalog.quote_ident(attname) or attname = pg_catalog.lower(written collate "C"))
    order by attname = written desc
    limit 1
$$;

comment on function audit_internal.column_number(regclass, text) is
    'The number of the column that is written so: as it is, quoted or, as in SQL, in any case. Null: there is none.';

create or replace function audit_internal.raise_invalid_path(argument text, reason text, hint text)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using errcode = 'PT033', message = format('invalid path in %s: %s', argument, reason), hint = hint;
end
$$;

comment on function audit_internal.raise_invalid_path(text, text, text) is
    'Raises PT033. argument: as it was given, such as: org => ''team_id -> public.team.org_id''';

create or replace function audit_internal.named_table(names text[], relation regclass)
returns regclass
language sql
stable
as $$
    -- Not by to_regclass(): audit_owner may have no USAGE on the schema yet.
    select pg_class.oid
    from pg_catalog.pg_class
    join pg_catalog.pg_namespace on pg_namespace.oid = pg_class.relnamespace
    where pg_class.relname = names[pg_catalog.cardinality(names) - 1]
        and case pg_catalog.cardinality(names)
            when 3 then pg_namespace.nspname = names[1]
            else pg_namespace.oid = (select relnamespace from pg_catalog.pg_class where oid = relation)
        end
$$;

comment on function audit_internal.named_table(text[], regclass) is
    'The table of a step, by the parts of its name (schema, table, column; without a schema it is that of relation). Null: there is none.';

create or replace function audit_internal.step_table(argument text, step text, relation regclass)
returns regclass
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    names text[];
    found_table regclass;
begin
    begin
        names := parse_ident(step);
    exception
        when invalid_parameter_value then
            null;
    end;
    if coalesce(cardinality(names), 0) not in (2, 3) then
        perform audit_internal.raise_invalid_path(
            argument, format('"%s" is not a column of a table', step),
            'Write column -> table.column, such as: team_id -> public.team.org_id'
        );
    end if;
    found_table := audit_internal.named_table(names, relation);
    if found_table is null then
        perform audit_internal.raise_invalid_path(
            argument, format('there is no table for "%s"', step), 'A table without a schema is looked for in that of the tracked one.'
        );
    end if;
    if (select relkind not in ('r', 'p') or relpersistence = 't' from pg_class where oid = found_table) then
        perform audit_internal.raise_invalid_path(argument, format('%s is not a table', found_table), 'Name the table that it reads.');
    end if;
    return found_table;
end
$$;

comment on function audit_internal.step_table(text, text, regclass) is
    'The table that a step of a way (schema.table.column, or table.column in the schema of the tracked table) names. PT033.';

create or replace function audit_internal.joined_column(from_table regclass, from_column smallint, to_table regclass)
returns smallint
language sql
stable
as $$
    select coalesce(
        (
            select foreign_key.confkey[1]
            from pg_catalog.pg_constraint as foreign_key
            where foreign_key.conrelid = from_table
                and foreign_key.confrelid = to_table
                and foreign_key.contype = 'f'
                and foreign_key.conkey = array[from_column]
            order by foreign_key.oid
            limit 1
        ),
        (
            select primary_key.conkey[1]
            from pg_catalog.pg_constraint as primary_key
            where primary_key.conrelid = to_table
                and primary_key.contype = 'p'
                and pg_catalog.cardinality(primary_key.conkey) = 1
        )
    )
$$;

comment on function audit_internal.joined_column(regclass, smallint, regclass) is
    'The column of to_table that a column of from_table refers to: by its foreign key, else the primary key, if that is one column.';

create or replace function audit_internal.can_join(from_table regclass, from_column smallint, to_table regclass, to_column smallint)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    referring oid := (select atttypid from pg_attribute where attrelid = from_table and attnum = from_column);
    referred oid := (select atttypid from pg_attribute where attrelid = to_table and attnum = to_column);
begin
    -- What compares them runs as audit_owner.
    if referring is null or referred is null or not (audit_internal.is_trusted_type(referring) and audit_internal.is_trusted_type(referred)) then
        return false;
    end if;
    execute format('select null::%s = null::%s', format_type(referring, null), format_type(referred, null));
    return true;
exception
    when undefined_function or ambiguous_function then
        return false;
end
$$;

comment on function audit_internal.can_join(regclass, smallint, regclass, smallint) is
    'Whether two columns can be compared by Postgres'' own operators.';

create or replace function audit_internal.check_join(argument text, from_table regclass, from_column smallint, to_table regclass, to_column smallint)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if audit_internal.can_join(from_table, from_column, to_table, to_column) then
        return;
    end if;
    perform audit_internal.raise_invalid_path(
        argument,
        (
            select format(
                '%I is %s and %s.%I is %s',
                referring.attname, format_type(referring.atttypid, null),
                to_table, referred.attname, format_type(referred.atttypid, null)
            )
            from pg_attribute as referring
            join pg_attribute as referred on referred.attrelid = to_table and referred.attnum = to_column
            where referring.attrelid = from_table and referring.attnum = from_column
        ),
        'The two must be of types that Postgres itself can compare.'
    );
end
$$;

comment on function audit_internal.check_join(text, regclass, smallint, regclass, smallint) is
    'Raises PT033 unless the columns can be compared by Postgres'' own operators.';

create or replace function audit_internal.may_read(relation regclass, column_number smallint)
returns boolean
language sql
stable
as $$
    select pg_catalog.has_column_privilege(audit_internal.database_actor_id()::name, relation, column_number, 'select')
        -- Nor a row that row-level security would hide.
        and (
            not pg_class.relrowsecurity
            or pg_catalog.pg_has_role(audit_internal.database_actor_id()::name, pg_class.relowner, 'usage')
            or exists (select from pg_catalog.pg_roles where rolname = audit_internal.database_actor_id() and (rolsuper or rolbypassrls))
        )
    from pg_catalog.pg_class
    where pg_class.oid = relation
$$;

comment on function audit_internal.may_read(regclass, smallint) is 'Whether the caller, behind all definers, may read a column of every row.';

create or replace function audit_internal.is_redacted(relation regclass, column_number smallint)
returns boolean
language sql
stable
as $$
    select audit_internal.looks_secret(attname, atttypid) or exists (
        select from audit.tracked_table as tracked where tracked.relation = attrelid and attname = any (tracked.secret)
    )
    from pg_catalog.pg_attribute
    where attrelid = relation and attnum = column_number
$$;

comment on function audit_internal.is_redacted(regclass, smallint) is
    'Whether a column is one that the log redacts, or would: no organization''s id.';

create or replace function audit_internal.check_column_number(argument text, tracked_relation regclass, relation regclass, written text)
returns smallint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    number smallint := audit_internal.column_number(relation, written);
begin
    if number is null then
        perform audit_internal.raise_invalid_path(
            argument, format('%s has no column "%s"', relation, written),
            format('Its columns are %s.', array_to_string(audit_internal.column_names(relation), ', '))
        );
    end if;
    if relation <> tracked_relation and not audit_internal.may_read(relation, number) then
        perform audit_internal.raise_invalid_path(
            argument, format('you may not read %s of %s', written, relation), 'Let the owner of that table, or a superuser, do it.'
        );
    end if;
    return number;
end
$$;

comment on function audit_internal.check_column_number(text, regclass, regclass, text) is
    'The number of a column that whoever asks may read, or PT033.';

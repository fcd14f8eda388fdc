-- The columns of a table: which are audited, which identify a row, of what types they are and how these are recorded.

create or replace function audit.qualified_name(relation regclass)
returns text
language plpgsql
stable
as $$
begin
    return (
        select pg_catalog.format('%I.%I', namespace.nspname, class.relname)
        from pg_catalog.pg_class as class
        join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
        where class.oid = relation
    );
end
$$;

comment on function audit.qualified_name(regclass) is
    'The table''s name with its schema, quoted where need be, whatever the search_path.';

create or replace function audit.partition_tree(relation regclass)
returns table (relid regclass)
language sql
stable
as $$
    -- (Of a table without partitions pg_partition_tree() has nothing.)
    select tree.relid from pg_catalog.pg_partition_tree(relation) as tree
    union
    select relation
$$;

comment on function audit.partition_tree(regclass) is 'A table and, where it is partitioned, its partitions at all levels.';

create or replace function audit.column_names(relation regclass)
returns text[]
language sql
stable
as $$
    select array(
        select attname::text
        from pg_catalog.pg_attribute
        where attrelid = relation and attnum > 0 and not attisdropped
        order by attnum
    )
$$;

comment on function audit.column_names(regclass) is 'A table''s columns, in their order.';

create or replace function audit.audited_columns(tracked audit.tracked_table)
returns table (name text, number smallint, type_oid oid, redacted boolean, secret_paths text[], secret_when text[])
language sql
stable
as $$
    select
        attribute.attname::text,
        attribute.attnum,
        attribute.atttypid,
        attribute.attname = any (tracked.secret),
        array(
            select pg_catalog.substr(secret, pg_catalog.length(attribute.attname) + 2)
            from pg_catalog.unnest(tracked.secret) as secret
            where pg_catalog.starts_with(secret, attribute.attname || '.')
        ),
        array(
            select pg_catalog.substr(secret, pg_catalog.length(attribute.attname || ' when ') + 1)
            from pg_catalog.unnest(tracked.secret) as secret
            where pg_catalog.starts_with(secret, attribute.attname || ' when ')
        )
    from pg_catalog.pg_attribute as attribute
    where attribute.attrelid = tracked.relation
        and attribute.attnum > 0
        and not attribute.attisdropped
        -- A virtual generated column has no value in a trigger, and moves only with what it is computed from.
        and attribute.attgenerated <> 'v'
        and attribute.attname <> all (tracked.ignore)
    order by attribute.attnum
$$;

comment on function audit.audited_columns(audit.tracked_table) is
    'The columns that are compared and recorded, in their order; secret_paths are the paths to redact inside the column, secret_when the columns whose values say whether it is redacted.';

create or replace function audit.identity_index(relation regclass)
returns pg_catalog.pg_index
language plpgsql
stable
as $$
declare
    found_index pg_catalog.pg_index;
begin
    select key_index.*
    into found_index
    from pg_catalog.pg_index as key_index
    where key_index.indrelid = relation
        and key_index.indisunique
        and key_index.indpred is null
        and key_index.indexprs is null
        and key_index.indisvalid
        and not exists (
            select
            from pg_catalog.pg_attribute as attribute
            where attribute.attrelid = key_index.indrelid
                and attribute.attnum = any (key_index.indkey::smallint[])
                and not attribute.attnotnull
        )
    order by key_index.indisprimary desc, key_index.indimmediate desc, key_index.indnkeyatts, key_index.indexrelid
    limit 1;
    return found_index;
end
$$;

comment on function audit.identity_index(regclass) is
    'The index of the key that identifies a row: the primary key, else a unique index over columns that are not null. Null: there is none.';

create or replace function audit.identity_columns(relation regclass)
returns text[]
language plpgsql
stable
as $$
declare
    key_index constant pg_catalog.pg_index := audit.identity_index(relation);
begin
    return array(
        select attribute.attname::text
        from pg_catalog.unnest(key_index.indkey::smallint[]) with ordinality as part (number, position)
        join pg_catalog.pg_attribute as attribute on attribute.attrelid = relation and attribute.attnum = part.number
        where part.position <= key_index.indnkeyatts
        order by part.position
    );
end
$$;

comment on function audit.identity_columns(regclass) is
    'The columns that identify a row: those of the primary key, else of a unique index over columns that are not null, else none.';

create or replace function audit.parts_of_type(type_oid oid)
returns table (oid oid, in_text boolean)
language sql
stable
as $$
    with recursive part as (
        select type_oid as oid, false as in_text
        union
        select made_of.oid, part.in_text or pg_type.typtype in ('r', 'm')
        from part
        join pg_catalog.pg_type on pg_type.oid = part.oid
        cross join lateral (
            values (pg_type.typbasetype), (pg_type.typelem)
            union all
            select atttypid from pg_catalog.pg_attribute where attrelid = pg_type.typrelid and attnum > 0 and not attisdropped
            union all
            select rngsubtype from pg_catalog.pg_range where pg_type.oid in (rngtypid, rngmultitypid)
        ) as made_of (oid)
        where made_of.oid <> 0
    )
    select part.oid, part.in_text from part
$$;

comment on function audit.parts_of_type(oid) is
    'A type and all that it is made of: its domain''s base type, its elements, its fields. in_text: of this part JSON has the text, since it is in a range.';

create or replace function audit.is_made_by_superusers(type_oid oid)
returns boolean
language sql
stable
strict
as $$
    select pg_catalog.bool_and(pg_roles.rolsuper)
    from audit.parts_of_type(type_oid) as part
    join pg_catalog.pg_type on pg_type.oid = part.oid
    join pg_catalog.pg_roles on pg_roles.oid = pg_type.typowner
    where part.oid >= 16384
$$;

comment on function audit.is_made_by_superusers(oid) is 'Whether a type, and all that it is made of, belongs to superusers.';

create or replace function audit.is_trusted_type(type_oid oid)
returns boolean
language sql
stable
as $$
    -- Those that Postgres is born with: see FirstNormalObjectId in access/transam.h. (So short that it costs no call.)
    select type_oid < 16384 or audit.is_made_by_superusers(type_oid)
$$;

comment on function audit.is_trusted_type(oid) is
    'Whether a type, and all that it is made of, belongs to superusers. The owner of any other can give it a cast to json or text, whose function would run as whoever records.';

create or replace function audit.has_a_json_of_its_own(type_oid oid)
returns boolean
language plpgsql
stable
as $$
begin
    -- (hstore's gives all of a value.)
    return exists (
        select
        from audit.parts_of_type(type_oid) as part
        join pg_catalog.pg_cast on castsource = part.oid and casttarget = 'pg_catalog.json'::pg_catalog.regtype
        join pg_catalog.pg_type on pg_type.oid = part.oid
        where part.oid >= 16384 and pg_type.typname <> 'hstore'
    );
end
$$;

comment on function audit.has_a_json_of_its_own(oid) is
    'Whether a type, or what it is made of, has a cast to json. What that makes of a value may be less than the value, or an error: PostGIS'' knows no arcs, and cuts digits.';

create or replace function audit.is_recorded_as_text(type_oid oid)
returns boolean
language sql
stable
as $$
    -- (Without a subquery: the planner sees through it, and columns of Postgres' own types cost no call.)
    select type_oid is null
        or type_oid >= 16384 and (audit.is_made_by_superusers(type_oid) is not true or audit.has_a_json_of_its_own(type_oid))
$$;

comment on function audit.is_recorded_as_text(oid) is
    'Whether values of a type are recorded as the text that Postgres writes them as, not as JSON: of one that is not a superuser''s, and of one that has a cast to json of its own. Of an unknown type (null) too.';

create or replace function audit.has_json_in_it(type_oid oid)
returns boolean
language plpgsql
stable
as $$
begin
    return exists (select from audit.parts_of_type(type_oid) as part where part.oid = 'pg_catalog.json'::pg_catalog.regtype);
end
$$;

comment on function audit.has_json_in_it(oid) is 'Whether json is among what a type is made of.';

create or replace function audit.holds_json(type_oid oid)
returns boolean
language sql
stable
as $$
    -- (Of Postgres' own types json and json[] alone.)
    select case
        when type_oid < 16384 then type_oid in ('pg_catalog.json'::pg_catalog.regtype, 'pg_catalog.json[]'::pg_catalog.regtype)
        else audit.has_json_in_it(type_oid)
    end
$$;

comment on function audit.holds_json(oid) is 'Whether a value of a type may have in it what json takes and jsonb does not.';

create or replace function audit.json_or_text(content json)
returns jsonb
language plpgsql
immutable
strict
as $$
declare
    written constant text := content::text;
begin
    -- Nearly all JSON is without what jsonb may refuse: an escaped character, a number with an exponent, great depth or length.
    if pg_catalog.octet_length(written) < 1000 and written !~ E'\\\\u|[0-9][eE]' then
        return written::jsonb;
    end if;
    begin
        return written::jsonb;
    exception
        when data_exception or program_limit_exceeded or statement_too_complex then
            return pg_catalog.to_jsonb(written);
    end;
end
$$;

comment on function audit.json_or_text(json) is
    'A value of type json as jsonb; as a string, its text, where jsonb can''t hold it: an escaped null character or half of a pair, a number out of range, hundreds of levels.';

create or replace function audit.live_columns(relation regclass)
returns table (name text, number smallint, type_oid oid, has_value boolean)
language sql
stable
as $$
    select attname::text, attnum, atttypid, attgenerated <> 'v'
    from pg_catalog.pg_attribute
    where attrelid = relation and attnum > 0 and not attisdropped
$$;

comment on function audit.live_columns(regclass) is
    'A table''s columns with their types; has_value: a trigger has a value of it, which it has not of a virtual generated column.';

create or replace function audit.base_of_domain(domain_oid oid)
returns oid
language sql
stable
as $$
    with recursive base as (
        select domain_oid as oid
        union all
        select pg_type.typbasetype
        from base
        join pg_catalog.pg_type on pg_type.oid = base.oid
        where pg_type.typtype = 'd'
    )
    select base.oid
    from base
    join pg_catalog.pg_type on pg_type.oid = base.oid
    where pg_type.typtype <> 'd'
$$;

comment on function audit.base_of_domain(oid) is 'The type that a domain is over, in the end.';

create or replace function audit.base_type(type_oid oid)
returns oid
language sql
stable
as $$
    -- (Below this number no type is a domain: FirstGenbkiObjectId in access/transam.h.)
    select case when type_oid < 10000 then type_oid else audit.base_of_domain(type_oid) end
$$;

comment on function audit.base_type(oid) is 'Of a domain the type that it is over, else the type itself.';

create or replace function audit.column_as_text(row_name text, column_name text)
returns text
language sql
immutable
as $$
    -- format() takes a value of any type and calls the output function of that, whatever casts its owner gives it.
    select pg_catalog.format('case when num_nulls(%1$I.%2$I) = 0 then format(''%%s'', %1$I.%2$I) end', row_name, column_name)
$$;

comment on function audit.column_as_text(text, text) is
    'SQL for the text of a column''s value by its type''s output function alone.';

create or replace function audit.plain_column(row_name text, column_name text, type_oid oid)
returns text
language sql
stable
as $$
    select case
        when audit.is_recorded_as_text(type_oid) then pg_catalog.format('%s as %I', audit.column_as_text(row_name, column_name), column_name)
        when audit.base_type(type_oid) <> type_oid then pg_catalog.format('%1$I.%2$I::%3$s as %2$I', row_name, column_name, pg_catalog.format_type(audit.base_type(type_oid), -1))
        else pg_catalog.format('%I.%I', row_name, column_name)
    end
$$;

comment on function audit.plain_column(text, text, oid) is
    'SQL for a column as it is recorded: as text, by its type''s output function alone, where audit.is_recorded_as_text() says so.';

create or replace function audit.plain_type(type_oid oid)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select case when audit.is_recorded_as_text(type_oid) then 'text' else format_type(audit.base_type(type_oid), -1) end
$$;

comment on function audit.plain_type(oid) is 'The type that audit.plain_column() gives.';

create or replace function audit.plain_columns(relation regclass)
returns text
language sql
stable
as $$
    -- (A table may have no column at all; a function's rows must have one.)
    select coalesce(
        pg_catalog.string_agg(pg_catalog.format('%I ', name) || audit.plain_type(type_oid), ', ' order by number), '"pgtrail nothing" text'
    )
    from audit.live_columns(relation)
$$;

comment on function audit.plain_columns(regclass) is 'A column definition list: the columns of a table as they are recorded.';

create or replace function audit.columns_as_text(relation regclass)
returns text[]
language sql
stable
as $$
    select coalesce(pg_catalog.array_agg(name order by number), '{}')
    from audit.live_columns(relation)
    where audit.is_recorded_as_text(type_oid)
$$;

comment on function audit.columns_as_text(regclass) is 'The columns that are recorded as text, as audit.is_recorded_as_text() says.';

create or replace function audit.compiled_item(relation regclass, row_name text, rows text, all_as_text boolean)
returns text
language plpgsql
stable
as $$
begin
    return (
        select case
            when not all_as_text and audit.columns_as_text(relation) = '{}' then rows || ' as ' || row_name
            else (
                select pg_catalog.concat(
                    '(select ',
                    pg_catalog.string_agg(
                        -- (Of an unknown type: so as text.)
                        audit.plain_column(row_name, name, case when not all_as_text then type_oid end), ', ' order by number
                    ),
                    ' from ' || rows || ' as ' || row_name,
                    ') as ',
                    row_name
                )
                from audit.live_columns(relation)
                where has_value
            )
        end
    );
end
$$;

comment on function audit.compiled_item(regclass, text, text, boolean) is
    'SQL for a FROM item: `old` or `new` with its columns as they are recorded, or all as text, from rows (null: the trigger''s own variable); null: that variable is as it is to be.';

create or replace function audit.type_may_hold_secret(type_oid oid, modifier integer)
returns boolean
language plpgsql
stable
as $$
begin
    return (
        select 'S' in (pg_type.typcategory, element.typcategory)
            or type_oid in ('pg_catalog.json'::pg_catalog.regtype, 'pg_catalog.jsonb'::pg_catalog.regtype)
            or audit.is_recorded_as_text(type_oid)
        from pg_catalog.pg_type
        left join pg_catalog.pg_type as element on element.oid = pg_type.typelem and pg_type.typcategory = 'A'
        where pg_type.oid = type_oid
            -- (No secret is so short.)
            and not (pg_type.typcategory = 'S' and modifier between 4 and 11)
    );
end
$$;

comment on function audit.type_may_hold_secret(oid, integer) is
    'Whether a value of a type (and its modifier, as in pg_attribute.atttypmod) may have a secret in it that no name tells of: a password in a URL, JSON in a text. Null, too, says that it can''t.';

create or replace function audit.texts_to_look_through(tracked audit.tracked_table)
returns text[]
language plpgsql
stable
as $$
begin
    return array(
        select audited.name
        from audit.audited_columns(tracked) as audited
        join pg_catalog.pg_attribute on attrelid = tracked.relation and attnum = audited.number
        -- (What has 16 bytes at most, as most types have, holds none.)
        where not audited.redacted and attlen not between 1 and 16 and audit.type_may_hold_secret(atttypid, atttypmod)
        order by audited.number
    );
end
$$;

comment on function audit.texts_to_look_through(audit.tracked_table) is
    'The audited columns that are not redacted and whose type may hold a secret; see audit.type_may_hold_secret().';

create or replace function audit.compiled_name(purpose text, subject text)
returns text
language sql
stable
as $$
    -- Identifiers end at 63 bytes; a longer name is cut and told apart by its digest.
    select case
        when pg_catalog.octet_length(purpose || ' ' || subject) <= 63 then purpose || ' ' || subject
        else purpose || ' ' || pg_catalog.left(pg_catalog.md5(subject), 16) || '…'
    end
$$;

comment on function audit.compiled_name(text, text) is 'The name of a function that is compiled for a table.';

create or replace function audit.reader_name(relation regclass)
returns text
language sql
stable
as $$
    select audit.compiled_name('read', audit.qualified_name(relation))
$$;

comment on function audit.reader_name(regclass) is 'The name of the function in schema audit that reads a tracked table''s rows.';

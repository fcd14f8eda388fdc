-- From a tracked table's settings to the plain SQL of its trigger functions.
-- Everything here only builds text; audit.compile_table() at the end creates the functions.

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

create or replace function audit.plain_column(row_name text, column_name text, type_oid oid)
returns text
language sql
stable
as $$
    -- format() takes a value of any type and calls the output function of that, whatever casts its owner gives it.
    select pg_catalog.format(
        case
            when audit.is_recorded_as_text(type_oid) then 'case when num_nulls(%1$I.%2$I) = 0 then format(''%%s'', %1$I.%2$I) end as %2$I'
            when audit.base_type(type_oid) <> type_oid then '%1$I.%2$I::' || pg_catalog.format_type(audit.base_type(type_oid), -1) || ' as %2$I'
            else '%1$I.%2$I'
        end,
        row_name, column_name
    )
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

create or replace function audit.compiled_redaction(redaction text, secret_paths text[])
returns text
language plpgsql
immutable
as $$
declare
    secret_path text;
begin
    foreach secret_path in array secret_paths
    loop
        redaction := pg_catalog.format(
            'audit.redacted(%s, %L)', redaction, pg_catalog.string_to_array(secret_path, '.')
        );
    end loop;
    return redaction;
end
$$;

comment on function audit.compiled_redaction(text, text[]) is
    'SQL for a JSON column with each of the paths redacted.';

create or replace function audit.compiled_fields(tracked audit.tracked_table, row_name text, all_rows text[])
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
                    select pg_catalog.string_agg(pg_catalog.format('audit.names_secret(%s.%I::text)', given_row, name_column), ' or ')
                    from pg_catalog.unnest(all_rows) as given_row
                    cross join pg_catalog.unnest(secret_when) as name_column
                ),
                plain,
                audit.compiled_redaction(as_json, secret_paths)
            )
            when pg_catalog.cardinality(secret_paths) > 0 then audit.compiled_redaction(as_json, secret_paths)
            when holds_json then as_json
            else plain
        end
    from audit.audited_columns(tracked) as audited
    cross join lateral (
        select
            pg_catalog.format('%s.%I', row_name, audited.name),
            audit.holds_json(type_oid) and not audit.is_recorded_as_text(type_oid)
        offset 0
    ) as content (plain, holds_json)
    cross join lateral (
        select pg_catalog.format(case when holds_json then 'audit.json_or_text(to_json(%s))' else 'to_jsonb(%s)' end, plain)
    ) as compiled (as_json)
$$;

comment on function audit.compiled_fields(audit.tracked_table, text, text[]) is
    'SQL for each of a row''s audited columns as it is recorded, secrets redacted; row_name is `old` or `new`; all_rows: which of the two there are.';

create or replace function audit.compiled_record(tracked audit.tracked_table, row_name text, all_rows text[])
returns text
language sql
stable
as $$
    select pg_catalog.format('(select %s)', pg_catalog.string_agg(pg_catalog.format('%s as %I', field, name), ', ' order by number))
    from audit.compiled_fields(tracked, row_name, all_rows)
$$;

comment on function audit.compiled_record(audit.tracked_table, text, text[]) is
    'SQL for a FROM item of one row: the audited columns as they are recorded.';

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

create or replace function audit.compiled_row(tracked audit.tracked_table, row_name text)
returns text
language sql
stable
as $$
    -- (With a star: a column may have the name of the FROM item.)
    select pg_catalog.format(
        case when texts = '{}' then '%s' else 'audit.without_secrets(%s, %L)' end,
        pg_catalog.format('(select to_jsonb(audited.*) from %s as audited)', audit.compiled_record(tracked, row_name, array[row_name])),
        texts
    )
    from (select audit.texts_to_look_through(tracked) offset 0) as known (texts)
$$;

comment on function audit.compiled_row(audit.tracked_table, text) is
    'SQL for the jsonb of a row''s audited columns, secrets redacted; row_name is `old` or `new`.';

create or replace function audit.compiled_image(tracked audit.tracked_table, row_name text)
returns text
language sql
stable
as $$
    -- Compared by image: also what `=` calls equal (1.0 and 1.00) is a change, and a type needs no `=` (json).
    select pg_catalog.format(
        'row(%s)::record', pg_catalog.string_agg(pg_catalog.format('%s.%I', row_name, name), ', ' order by number)
    )
    from audit.audited_columns(tracked)
$$;

comment on function audit.compiled_image(audit.tracked_table, text) is
    'SQL for the record of a row''s audited columns, to be compared byte by byte.';

create or replace function audit.equal_means_same(relation regclass, column_name text)
returns boolean
language sql
stable
as $$
    -- Where values that `=` calls equal have one image. Elsewhere 1.0 and 1.00, or 0 and -0, would be the same.
    -- (Not of an enum: where somebody gave it an implicit cast, `=` is one of several.)
    select attribute.atttypid in (
            'boolean'::regtype, 'smallint'::regtype, 'integer'::regtype, 'bigint'::regtype, 'oid'::regtype,
            'uuid'::regtype, 'date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype, 'bytea'::regtype,
            'text'::regtype, 'varchar'::regtype
        )
        and coalesce(
            (select collisdeterministic from pg_catalog.pg_collation where oid = attribute.attcollation), true
        )
    from pg_catalog.pg_attribute as attribute
    where attribute.attrelid = relation and attribute.attname = column_name
$$;

comment on function audit.equal_means_same(regclass, text) is
    'Whether two values of a column are the same byte by byte if `is not distinct from` says that they are equal: it costs a third of comparing their images.';

create or replace function audit.compiled_moves(tracked audit.tracked_table)
returns text
language sql
stable
as $$
    -- Fenced by OFFSET, so that each column is compared once, however often the answer is used.
    select pg_catalog.format(
        E'(\n        select%s\n        offset 0\n    ) as moved',
        pg_catalog.string_agg(
            pg_catalog.format(
                case
                    when audit.equal_means_same(tracked.relation, name) then E'\n            old.%1$I is distinct from new.%1$I as %1$I'
                    else E'\n            row(old.%1$I)::record *<> row(new.%1$I)::record as %1$I'
                end,
                name
            ),
            ',' order by number
        )
    )
    from audit.audited_columns(tracked)
$$;

comment on function audit.compiled_moves(audit.tracked_table) is
    'SQL for the FROM item `moved`: of each audited column, whether an update moved it.';

create or replace function audit.compiled_changed(tracked audit.tracked_table)
returns text
language sql
stable
as $$
    select pg_catalog.format(
        E'array_remove(array[%s\n        ]::text[], null)',
        pg_catalog.string_agg(
            pg_catalog.format(E'\n            case when moved.%1$I then %1$L end', name), ',' order by number
        )
    )
    from audit.audited_columns(tracked)
$$;

comment on function audit.compiled_changed(audit.tracked_table) is
    'SQL for the names of the columns that an update moved.';

create or replace function audit.compiled_before(tracked audit.tracked_table)
returns text
language sql
stable
as $$
    -- A function costs the more to begin with, the more calls it has: each is checked for the right to make it. So one
    -- JSON_OBJECT, where there is one, rather than an object for each column, concatenated.
    with part as (
        select
            case
                when json_object.is_there then pg_catalog.format(
                    E'json_object(%s\n            absent on null returning jsonb\n        )',
                    pg_catalog.string_agg(
                        pg_catalog.format(E'\n            %L value case when moved.%I then %s end', name, name, field),
                        ',' order by number
                    )
                )
                else pg_catalog.format(
                    E'(%s\n        )',
                    pg_catalog.string_agg(
                        pg_catalog.format(
                            E'\n            case when moved.%1$I and num_nulls(old.%1$I) = 0 then jsonb_build_object(%1$L, %2$s) else ''{}'' end',
                            name, field
                        ),
                        ' ||' order by number
                    )
                )
            end as fields,
            number / 100 as part_number
        from audit.compiled_fields(tracked, 'old', '{old,new}')
        cross join (select pg_catalog.current_setting('server_version_num')::integer >= 160000 as is_there) as json_object
        -- In groups: hundreds of operators one within the other are deeper than the parser's stack.
        group by number / 100, json_object.is_there
    )
    select coalesce(pg_catalog.string_agg(fields, ' || ' order by part_number), '''{}''::jsonb')
    from part
$$;

comment on function audit.compiled_before(audit.tracked_table) is
    'SQL for the jsonb of the fields that an update moved, as they were, without those that were null.';

create or replace function audit.compiled_resource_id(tracked audit.tracked_table, row_name text)
returns text
language sql
stable
as $$
    with identity as (
        select
            pg_catalog.format('%s.%I', row_name, part.name) as field,
            audit.is_secret_or_holds_one(part.name, tracked.secret) as redacted,
            audit.type_may_hold_secret(atttypid, atttypmod) as may_hold_secret,
            part.position
        from pg_catalog.unnest(audit.identity_columns(tracked.relation)) with ordinality as part (name, position)
        join pg_catalog.pg_attribute on attrelid = tracked.relation and attname = part.name
    ),
    shown as (
        -- A key that is itself a secret still has to tell rows apart.
        select
            case
                when redacted then pg_catalog.format(
                    'encode(sha256(convert_to(%s::text, ''UTF8'')), ''hex'')', field
                )
                when may_hold_secret then pg_catalog.format('audit.id_without_secret(%s::text)', field)
                else field
            end as field,
            position
        from identity
    )
    select case count(*)
        when 0 then pg_catalog.format('md5(%s::text)', audit.compiled_row(tracked, row_name))
        when 1 then pg_catalog.min(field) || '::text'
        else pg_catalog.format(
            'btrim(row(%s)::text, ''()'')', pg_catalog.string_agg(field, ', ' order by position)
        )
    end
    from shown
$$;

comment on function audit.compiled_resource_id(audit.tracked_table, text) is
    'SQL for the resource id: the key as text; several columns as in a row literal; without a key a digest of the redacted row.';

create or replace function audit.compiled_naming(tracked audit.tracked_table, row_operation text, with_rules boolean)
returns text
language sql
stable
as $$
    with rule as (
        select
            rule.id,
            rule.category,
            coalesce(rule.expression, 'true') as condition,
            rule.action
        from audit.rule
        where with_rules
            and rule.relation = tracked.relation
            and rule.operation = row_operation
            and rule.problem is null
    ),
    otherwise as (
        -- The table's default action, where no rule matches: within its category that is where the others end.
        select
            pg_catalog.format('%L', tracked.resource || case row_operation
                when 'INSERT' then '.created'
                when 'UPDATE' then '.updated'
                when 'DELETE' then '.deleted'
            end) as action,
            pg_catalog.string_agg(condition, ' or ' order by id) filter (where category <> tracked.category) as elsewhere
        from rule
    ),
    branch as (
        select id as position, category, pg_catalog.format('when %s then %L', condition, action) as branch
        from rule
        union all
        select
            null,
            tracked.category,
            case
                when elsewhere is null then 'else ' || action
                else pg_catalog.format('when not coalesce(%s, false) then %s', elsewhere, action)
            end
        from otherwise
    ),
    naming as (
        select
            pg_catalog.min(position) as position,
            case
                -- A case of nothing but ELSE.
                when pg_catalog.count(*) = 1 and pg_catalog.min(branch) like 'else %' then
                    pg_catalog.format('(%L, %s)', category, pg_catalog.substr(pg_catalog.min(branch), 6))
                else pg_catalog.format(
                    E'(%L, case\n            %s\n        end)',
                    category,
                    pg_catalog.string_agg(branch, E'\n            ' order by position)
                )
            end as naming
        from branch
        group by category
    )
    select pg_catalog.format(
        E'(values\n        %s\n    ) as named (category, action)',
        pg_catalog.string_agg(naming, E',\n        ' order by position)
    )
    from naming
$$;

comment on function audit.compiled_naming(audit.tracked_table, text, boolean) is
    'SQL for the events that a change gives: one for each category that has a matching rule, the table''s default where none has (or without rules); action is null where a category has none.';

create or replace function audit.times_beside(relation regclass, actor_column text)
returns text[]
language plpgsql
stable
as $$
declare
    -- `updated` of updated_by, lastModified of lastModifiedById.
    verb constant text := pg_catalog.substring(audit.words_of(actor_column), '^(.+)_by(_|$)');
begin
    return array(
        select attname::text
        from pg_catalog.pg_attribute
        join pg_catalog.pg_type on pg_type.oid = atttypid
        where attrelid = relation
            and attnum > 0
            and not attisdropped
            and typcategory = 'D'
            and audit.words_of(attname) = any (array[verb, verb || '_at', verb || '_on', verb || '_date', verb || '_time', 'date_' || verb])
        order by attnum
    );
end
$$;

comment on function audit.times_beside(regclass, text) is
    'The columns that say when, beside the one that says who: updated_at for updated_by.';

create or replace function audit.compiled_suspicion(tracked audit.tracked_table, event_operation text)
returns text
language plpgsql
stable
as $$
declare
    by_row constant boolean := audit.records_by_row(tracked, event_operation);
begin
    -- Nearly all rows have none of this in a text, and are recorded as they are: what audit.may_hold_secret_value() looks for,
    -- and a LIKE ANY for all of it, as that is one expression. (Whatever the text's collation; of a value that is JSON without
    -- the quotation marks that it has in any case. A backslash: JSON in a string of JSON.)
    return (
        with given as (
            select
                -- (A trigger for each row has the texts of both at once.)
                case when not by_row then given_row end as row_name,
                pg_catalog.string_agg(
                    pg_catalog.format(
                        case when atttypid in ('pg_catalog.json'::pg_catalog.regtype, 'pg_catalog.jsonb'::pg_catalog.regtype)
                            then 'translate(%s.%I::text, ''"'', '''')'
                            else '%s.%I'
                        end,
                        given_row, attname
                    ),
                    ', ' order by attnum, given_row
                ) as texts
            from pg_catalog.pg_attribute
            cross join pg_catalog.unnest(case event_operation when 'INSERT' then '{new}' when 'UPDATE' then '{old,new}' else '{old}' end::text[]) as given_row
            -- (In a subquery: found once, not for each column.)
            where attrelid = tracked.relation and attname in (select pg_catalog.unnest(audit.texts_to_look_through(tracked)))
            group by 1
        )
        select pg_catalog.string_agg(
            pg_catalog.format(
                case when by_row then '%1$s' else 'exists (select from %2$s_rows as %2$s where %1$s)' end,
                pg_catalog.format(E'concat_ws('' '', %s) collate "C" like any (array[''%%://%%'', ''%%"%%'', E''%%\\\\\\\\%%'', '
                    '''%%=%%'', ''%%PRIVATE KEY%%'', ''%%sk-%%'', ''%%k_live_%%'', ''%%ghp_%%'', ''%%github_pat_%%'', ''%%glpat-%%'', ''%%xox%%'', ''%%AKIA%%'', ''%%eyJ%%''])',
                    texts
                ),
                row_name
            ),
            E'\n            or ' order by row_name
        )
        from given
    );
end
$$;

comment on function audit.compiled_suspicion(audit.tracked_table, text) is
    'SQL for whether a text of the rows at hand may hold a URL with a password, JSON with a secret, or a credential by its form. Null: they have no texts.';

create or replace function audit.compiled_writer(tracked audit.tracked_table, row_operation text)
returns text
language plpgsql
stable
as $$
begin
    -- Who deletes a row leaves no name in it. And one that was there before an update is that of somebody else, unless the
    -- update wrote the time beside it, too.
    return case when tracked.actor is not null and row_operation in ('INSERT', 'UPDATE') then pg_catalog.format(
        E'(\n        select case when said.id is null then actor.type else ''user'' end, coalesce(said.id, actor.id)\n'
        '        from (select case when actor.type = ''database''%s then nullif(new.%I::text, '''') end) as said (id)\n'
        '    ) as writer (type, id)',
        case row_operation when 'UPDATE' then ' and (' || (
            select pg_catalog.string_agg(
                pg_catalog.format('row(old.%1$I)::record *<> row(new.%1$I)::record', column_name), ' or ' order by number
            )
            from pg_catalog.unnest(tracked.actor || audit.times_beside(tracked.relation, tracked.actor)) with ordinality as written (column_name, number)
        ) || ')' end,
        tracked.actor
    ) end;
end
$$;

comment on function audit.compiled_writer(audit.tracked_table, text) is
    'SQL for the FROM item `writer`: who the row says wrote it, where nobody is claimed to be the actor. Null: no column says.';

create or replace function audit.compiled_insert(
    tracked audit.tracked_table,
    event_operation text,
    source text default null,
    with_rules boolean default true,
    condition text default null,
    hides boolean default false
)
returns text
language plpgsql
stable
as $$
declare
    row_operation text := case event_operation when 'TRUNCATE' then 'DELETE' else event_operation end;
    row_name text := case row_operation when 'DELETE' then 'old' else 'new' end;
    resource_id text := audit.compiled_resource_id(tracked, row_name);
    naming text := audit.compiled_naming(tracked, row_operation, with_rules);
    writer text := audit.compiled_writer(tracked, row_operation);
    -- (What stands before a row and behind it, so that its texts are looked through.)
    opening constant text := case when hides then 'audit.without_secrets(' else '' end;
    closing constant text := case when hides then ', ' || pg_catalog.quote_literal(audit.texts_to_look_through(tracked)) || ')' else '' end;
begin
    return pg_catalog.format(
        $template$insert into audit.recording (
        category, action, operation, table_name, org_id, resource_type, resource_id, resource_hash, resource_label,
        actor_type, actor_id, actor_hash, actor_label, actor_ip, user_agent, request_id, reason,
        before, after, changed
    )
    select
        named.category, named.action, %1$L, %2$L, %3$s, %4$L,
        %5$s,
        hashtextextended(%5$s, 0),
        %6$s,
        %12$s.type, %12$s.id, hashtextextended(%12$s.id, 0), actor.label, actor.ip, actor.user_agent, actor.request_id,
        actor.reason,
        %7$s,
        %8$s,
        %9$s
    from %10$s%11$s;$template$,
        event_operation,
        audit.qualified_name(tracked.relation),
        audit.compiled_org(tracked, row_name, row_operation),
        tracked.resource,
        resource_id,
        audit.compiled_label(tracked, row_name, row_operation, hides),
        case row_operation
            when 'INSERT' then 'null'
            when 'UPDATE' then opening || audit.compiled_before(tracked) || closing
            when 'DELETE' then opening || 'to_jsonb(recorded.*)' || closing
        end,
        case row_operation when 'DELETE' then 'null' else opening || 'to_jsonb(recorded.*)' || closing end,
        case row_operation when 'UPDATE' then audit.compiled_changed(tracked) else 'null' end,
        pg_catalog.concat_ws(
            E'\n    cross join lateral ',
            source,
            audit.compiled_record(tracked, row_name, case row_operation when 'UPDATE' then '{old,new}' else array[row_name] end) || ' as recorded',
            case row_operation when 'UPDATE' then audit.compiled_moves(tracked) end,
            writer,
            naming
        ),
        E'\n    where ' || nullif(
            -- Of one category alone every change has an action.
            pg_catalog.concat_ws(' and ', condition, case when naming ~ E'\\),\n        \\(' then 'named.action is not null' end), ''
        ),
        case when writer is null then 'actor' else 'writer' end
    );
end
$$;

comment on function audit.compiled_insert(audit.tracked_table, text, text, boolean, text, boolean) is
    'SQL that records a change; source is the FROM item that gives `old` or `new`, null where they are the trigger''s own variables; condition says which of its rows; hides: texts are looked through for secrets.';

create or replace function audit.records_by_row(tracked audit.tracked_table, event_operation text)
returns boolean
language plpgsql
stable
as $$
begin
    if event_operation = 'TRUNCATE' then
        return false;
    elsif event_operation = 'UPDATE' and not tracked.bulk then
        return true;
    end if;
    return (
        select relkind = 'p'
            -- A write through a parent fires the row triggers of what inherits from it, and none of its statement triggers.
            or exists (select from pg_catalog.pg_inherits where inhrelid = tracked.relation)
            -- A parent's transition tables have its children's rows too, which a tracked child records by itself.
            or (
                event_operation <> 'INSERT'
                and relhassubclass
                and exists (
                    with recursive descendant (relation) as (
                        select inhrelid from pg_catalog.pg_inherits where inhparent = tracked.relation
                        union
                        select pg_inherits.inhrelid
                        from descendant
                        join pg_catalog.pg_inherits on pg_inherits.inhparent = descendant.relation
                    )
                    select
                    from descendant
                    join audit.tracked_table as child on child.relation = descendant.relation
                )
            )
        from pg_catalog.pg_class
        where pg_class.oid = tracked.relation
    );
end
$$;

comment on function audit.records_by_row(audit.tracked_table, text) is
    'Whether the trigger of an operation fires for each row, rather than for each statement with the rows that it changed.';

create or replace function audit.compiled_pairing(tracked audit.tracked_table)
returns text
language sql
stable
as $$
    -- A key that was dropped since pairs nothing, and where a foreign key acts one statement may update a row twice, so that
    -- its key is there twice: then the order of the update pairs.
    -- Only what Postgres is born with has its `=` in pg_catalog, where nobody else's is found; others are compared as text.
    select case
        when exists (
            select
            from pg_catalog.pg_constraint
            where conrelid = tracked.relation and (confupdtype in ('c', 'n', 'd') or confdeltype in ('n', 'd'))
        )
        -- Until it is checked, at the end of the transaction, several rows may have one key.
        or (audit.identity_index(tracked.relation)).indimmediate is false
        then 'false'
        else coalesce(
            pg_catalog.string_agg(
                case
                    when attribute.atttypid < 16384 then pg_catalog.format('new.%1$I = old.%1$I', name)
                    else pg_catalog.format('format(''%%s'', new.%1$I) = format(''%%s'', old.%1$I)', name)
                end,
                ' and ' order by position
            ),
            'false'
        )
    end
    from pg_catalog.unnest(audit.identity_columns(tracked.relation)) with ordinality as part (name, position)
    join pg_catalog.pg_attribute as attribute on attribute.attrelid = tracked.relation and attribute.attname = part.name
$$;

comment on function audit.compiled_pairing(audit.tracked_table) is 'SQL for what says that `old` and `new` are one resource.';

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

create or replace function audit.compiled_source(tracked audit.tracked_table, event_operation text, all_as_text boolean default false)
returns text
language sql
stable
as $$
    select case
        when audit.records_by_row(tracked, event_operation) then nullif(pg_catalog.concat_ws(
            E'\n    cross join ',
            case when event_operation <> 'INSERT' then audit.compiled_item(tracked.relation, 'old', null, all_as_text) end,
            case when event_operation <> 'DELETE' then audit.compiled_item(tracked.relation, 'new', null, all_as_text) end
        ), '')
        when event_operation = 'INSERT' then audit.compiled_item(tracked.relation, 'new', 'new_rows', all_as_text)
        when event_operation = 'UPDATE' then pg_catalog.concat(
            audit.compiled_item(tracked.relation, 'old', 'old_rows', all_as_text),
            E'\n    join ',
            audit.compiled_item(tracked.relation, 'new', 'new_rows', all_as_text),
            ' on ',
            audit.compiled_pairing(tracked)
        )
        when event_operation = 'DELETE' then audit.compiled_item(tracked.relation, 'old', 'old_rows', all_as_text)
        else pg_catalog.concat(
            pg_catalog.format('audit.%I(tg_relid, ''(0,0)'', ''(4294967295,0)'') as old (', audit.reader_name(tracked.relation)),
            audit.plain_columns(tracked.relation),
            ')'
        )
    end
$$;

comment on function audit.compiled_source(audit.tracked_table, text, boolean) is
    'The FROM item of the rows that a statement changed; null where the trigger has them as `old` and `new`, and may record them as they are.';

create or replace function audit.compiled_updates(tracked audit.tracked_table, with_rules boolean, all_as_text boolean default false, hides boolean default false)
returns text
language sql
stable
as $$
    -- A row belongs to the resource that its key says, so old and new are paired by it. Of a key that is only on one side,
    -- since the update moved it, the other half is at the same place among those: in the order of the update. (Numbered before
    -- anything is joined, which has an order of its own.)
    select pg_catalog.concat(
        audit.compiled_insert(
            tracked, 'UPDATE', audit.compiled_source(tracked, 'UPDATE', all_as_text), with_rules, differs, hides
        ),
        E'\n    recorded_rows := recorded_rows or found;\n    if exists (select from ', old_item,
        ' where not exists (select from ', new_item, ' where ', pairing, E')) then\n    ',
        audit.compiled_insert(
            tracked,
            'UPDATE',
            pg_catalog.concat(
                E'(\n        select old.*, row_number() over (order by old."pgtrail number") as "pgtrail place"\n',
                '        from (select old.*, row_number() over () as "pgtrail number" from ', old_item, E') as old\n',
                '        where not exists (select from ', new_item, ' where ', pairing, E')\n    ) as old\n',
                E'    join (\n        select new.*, row_number() over (order by new."pgtrail number") as "pgtrail place"\n',
                '        from (select new.*, row_number() over () as "pgtrail number" from ', new_item, E') as new\n',
                '        where not exists (select from ', old_item, ' where ', pairing, E')\n    ) as new',
                ' on new."pgtrail place" = old."pgtrail place"'
            ),
            with_rules,
            differs,
            hides
        ),
        E'\n    recorded_rows := true;\n    end if;'
    )
    from audit.compiled_pairing(tracked) as pairing
    cross join lateral (
        select
            audit.compiled_item(tracked.relation, 'old', 'old_rows', all_as_text),
            audit.compiled_item(tracked.relation, 'new', 'new_rows', all_as_text),
            pg_catalog.concat(
                audit.compiled_image(tracked, 'old'), E'\n        *<> ', audit.compiled_image(tracked, 'new')
            )
    ) as item (old_item, new_item, differs)
$$;

comment on function audit.compiled_updates(audit.tracked_table, boolean, boolean, boolean) is
    'SQL that records what a statement updated, all at once.';

create or replace function audit.compiled_recording(
    tracked audit.tracked_table, event_operation text, with_rules boolean default true, all_as_text boolean default false,
    hides boolean default true
)
returns text
language sql
stable
as $$
    select case
        when event_operation = 'UPDATE' and not audit.records_by_row(tracked, event_operation)
            then audit.compiled_updates(tracked, with_rules, all_as_text, hides)
        else audit.compiled_insert(
            tracked, event_operation, audit.compiled_source(tracked, event_operation, all_as_text), with_rules, hides => hides
        )
    end
$$;

comment on function audit.compiled_recording(audit.tracked_table, text, boolean, boolean, boolean) is
    'SQL that records what a statement changed, with the names that the rules give or the table''s default ones.';

create or replace function audit.compiled_ending(tracked audit.tracked_table, event_operation text)
returns text
language plpgsql
stable
as $$
begin
    return (
        select E'\n    return null;\n' || case on_failure
            when 'continue' then
                pg_catalog.concat(
                    E'exception\n    when serialization_failure or deadlock_detected then\n        raise;\n    when others then\n    begin\n    ',
                    audit.compiled_recording(tracked, event_operation, with_rules => false, all_as_text => true),
                    E'\n    exception\n        when others then\n            null;\n    end;\n    ',
                    pg_catalog.format(
                        E'perform audit.note_failure(%L, %L, sqlstate);\n    return null;\nend\n',
                        audit.qualified_name(tracked.relation),
                        event_operation
                    )
                )
            else E'end\n'
        end
        from audit.policy
    );
end
$$;

comment on function audit.compiled_ending(audit.tracked_table, text) is
    'How a trigger function ends: by itself; or, where the policy prefers that the application goes on, by recording what can be recorded.';

create or replace function audit.compiled_unchanged(tracked audit.tracked_table)
returns text
language sql
stable
as $$
    -- Where `old` is made as `new` in what is ignored, the two differ in what is audited or not at all: half of what it
    -- costs to compare the images of two lists of columns. Not where a rule looks at an ignored column.
    select case
        when pg_catalog.bool_or(audit.is_recorded_as_text(attribute.atttypid)) is not true
            and not exists (
                select
                from audit.rule
                where rule.relation = tracked.relation
                    and rule.operation = 'UPDATE'
                    and (
                        exists (
                            select
                            from pg_catalog.unnest(tracked.ignore) as name
                            where pg_catalog.strpos(
                                pg_catalog.lower(pg_catalog.replace(rule.condition, '""', '"') collate "C"), pg_catalog.lower(name collate "C")
                            ) > 0
                        )
                        -- Or at the whole row.
                        or rule.condition collate "C" ~* '\mold\M(?!\s*[.]\s*["[:alpha:]_])'
                    )
            )
        then
            coalesce(pg_catalog.string_agg(
                pg_catalog.format(E'old.%1$I := new.%1$I;\n    ', attribute.attname), '' order by attribute.attnum
            ), '')
            || E'if old *= new then\n        return null;\n    end if;\n    '
        else pg_catalog.concat(
            'if ', audit.compiled_image(tracked, 'old'),
            E'\n        *= ', audit.compiled_image(tracked, 'new'),
            E'\n    then\n        return null;\n    end if;\n    '
        )
    end
    from pg_catalog.pg_attribute as attribute
    where attribute.attrelid = tracked.relation
        and attribute.attname = any (tracked.ignore)
        and attribute.attnum > 0
        and not attribute.attisdropped
        and attribute.attgenerated <> 'v'
$$;

comment on function audit.compiled_unchanged(audit.tracked_table) is
    'What a trigger function for each updated row begins with: it ends where no audited column has changed.';

create or replace function audit.compiled_check(tracked audit.tracked_table, event_operation text)
returns text
language sql
stable
as $$
    -- On TRUNCATE a warning: a partition that was detached may still have the trigger, and it is its owner's to empty.
    select pg_catalog.concat(
        -- (The oid that it had when it was compiled: after a restore audit.captures() knows it.)
        'if tg_relid <> ', coalesce(tracked.numbered_oid, tracked.relation),
        case when relkind = 'p' then
            pg_catalog.concat(' and pg_partition_root(tg_relid) is distinct from ', coalesce(tracked.numbered_oid, tracked.relation))
        end,
        -- (Apart, since it costs something to prepare a call that is not made.)
        pg_catalog.format(E' then\n        if not audit.captures(tg_relid, %L) then', audit.qualified_name(tracked.relation)),
        E'\n            raise ', case event_operation when 'TRUNCATE' then 'warning' else 'exception' end, ' using errcode = ''PT063'', ',
        pg_catalog.format(
            E'message = format(''trigger %%s of %%s is of no use there: it records %%s'', tg_name, tg_relid::regclass, %L), ',
            audit.qualified_name(tracked.relation)
        ),
        E'hint = ''Drop it; audit.track() makes the triggers of a table.'';',
        case event_operation when 'TRUNCATE' then E'\n            return null;' end,
        E'\n        end if;\n    end if;\n    ',
        -- It empties the table of all rows, and an older snapshot does not see all of them.
        case event_operation when 'TRUNCATE' then
            E'if current_setting(''transaction_isolation'') not in (''read committed'', ''read uncommitted'') then\n'
            '        raise exception using errcode = ''PT064'', '
            'message = format(''a TRUNCATE of %s can''''t be recorded in a transaction that is %s'', tg_relid::regclass, current_setting(''transaction_isolation'')), '
            'hint = ''Truncate it in a transaction that is read committed, or delete its rows.'';\n    end if;\n    '
        end
    )
    from pg_catalog.pg_class
    where pg_class.oid = tracked.relation
$$;

comment on function audit.compiled_check(audit.tracked_table, text) is
    'What ends a capture function that is called for another table than its own.';

create or replace function audit.has_rows_of_statement(fired_on regclass, trigger_name name, rows_name name)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select exists (
        select from pg_trigger where tgrelid = fired_on and tgname = trigger_name and rows_name in (tgoldtable, tgnewtable)
    )
$$;

comment on function audit.has_rows_of_statement(regclass, name, name) is
    'Whether a trigger hands its function the rows of the statement under a name.';

create or replace function audit.compiled_rows_check(event_operation text)
returns text
language sql
immutable
as $$
    -- What a trigger does not hand over is looked up by name, and found as a temporary table or view of somebody's. (Each
    -- condition by itself, since it costs something to prepare a call that is not made.)
    select E'if pg_my_temp_schema() <> 0 then\n        ' || pg_catalog.string_agg(
        pg_catalog.format(
            E'if to_regclass(''pg_temp.%1$s'') is not null then\n'
            '            if not audit.has_rows_of_statement(tg_relid, tg_name, ''%1$s'') then\n'
            '                raise exception using errcode = ''PT063'', '
            'message = format(''trigger %%s of %%s does not hand over the rows of a statement'', tg_name, tg_relid::regclass), '
            'hint = ''Drop it; audit.track() makes the triggers of a table.'';\n'
            '            end if;\n        end if;\n    ',
            rows_name
        ),
        '    '
    ) || E'end if;\n    '
    from (values ('DELETE', 'old_rows'), ('INSERT', 'new_rows'), ('UPDATE', 'old_rows'), ('UPDATE', 'new_rows')) as handed (operation, rows_name)
    where handed.operation = event_operation
$$;

comment on function audit.compiled_rows_check(text) is
    'What ends a capture function for a statement whose trigger has no such rows, and that would find others by their name.';

create or replace function audit.compiled_types(tracked audit.tracked_table, event_operation text)
returns text
language plpgsql
stable
as $$
begin
    return (
        -- Postgres compares records of nulls while it plans, once a session, and raises an error where a type is another: then
        -- what was compiled for a number might call a cast of its owner's.
        -- (The name of the table's row is looked up again by every session: it must be this table's still.)
        select pg_catalog.concat(
            E'begin\n        ',
            case
                when not by_row then (
                    select pg_catalog.format(
                        E'if tg_table_name <> %L or tg_table_schema <> %L then\n            raise sqlstate ''PT062'';\n        end if;\n        ',
                        relname, nspname
                    )
                    from pg_catalog.pg_class
                    join pg_catalog.pg_namespace on pg_namespace.oid = relnamespace
                    where pg_class.oid = tracked.relation
                )
            end,
            'if row(',
            pg_catalog.string_agg(
                pg_catalog.format(
                    case when by_row then 'case when false then %s.%I end' else '(null::%3$s).%2$I' end,
                    case event_operation when 'DELETE' then 'old' else 'new' end,
                    name,
                    audit.qualified_name(tracked.relation)
                ),
                ', ' order by number
            ),
            E')::record\n            *<> row(',
            pg_catalog.string_agg(
                'null::' || pg_catalog.format_type(type_oid, -1), ', ' order by number
            ),
            E')::record then\n            null;\n        end if;\n    exception\n        when others then\n',
            E'            is_as_compiled := audit.has_safe_types(tg_relid, ',
            pg_catalog.quote_literal(audit.columns_as_text(tracked.relation)),
            E');\n    end;\n    '
        )
        from audit.live_columns(tracked.relation)
        -- (`offset 0`: once, not for each column.)
        cross join (select audit.records_by_row(tracked, event_operation) offset 0) as kind (by_row)
        where has_value and not audit.is_recorded_as_text(type_oid) and event_operation <> 'TRUNCATE'
        group by by_row
    );
end
$$;

comment on function audit.compiled_types(audit.tracked_table, text) is
    'What finds out whether a table''s columns are of the types that a capture function was compiled for: no event trigger may have followed. Null: nothing depends on it.';

create or replace function audit.compiled_body(tracked audit.tracked_table, event_operation text)
returns text
language plpgsql
stable
as $$
begin
    return (
        select pg_catalog.concat(
            '-- ', event_operation, ' on ',
            -- A line break in a name must not end the comment.
            pg_catalog.translate(audit.qualified_name(tracked.relation), E'\n\r', '  '),
            E', compiled from audit.tracked_table and audit.rule. Do not edit: audit.recompile() writes it anew.\n',
            E'#variable_conflict use_column\ndeclare\n    actor audit.actor;\n',
            case when types is not null then E'    is_as_compiled boolean := true;\n' end,
            case when in_bulk then E'    recorded_rows boolean := false;\n' end,
            E'begin\n    ',
            case when event_operation = 'UPDATE' and by_row then audit.compiled_unchanged(tracked) end,
            audit.compiled_check(tracked, event_operation),
            case when not by_row then audit.compiled_rows_check(event_operation) end,
            types,
            E'actor.type := ''database'';\n    actor.id := audit.database_actor_id();\n',
            E'    if audit.actor_is_claimed() then\n        actor := audit.current_actor();\n    end if;\n    ',
            case
                when types is null then pg_catalog.concat(recording, org_naming)
                else pg_catalog.concat(
                    E'if is_as_compiled then\n    ',
                    recording,
                    org_naming,
                    E'\n    else\n    ',
                    audit.compiled_recording(tracked, event_operation, with_rules => false, all_as_text => true),
                    E'\n    end if;'
                )
            end,
            E'\n    if ',
            case
                when in_bulk then 'recorded_rows and '
                when by_row then ''
                else 'found and '
            end,
            E'audit.takes_the_wake() then\n        notify pgtrail;\n    end if;',
            audit.compiled_ending(tracked, event_operation)
        )
        from (
            select by_row, event_operation = 'UPDATE' and not by_row, audit.compiled_types(tracked, event_operation)
            from audit.records_by_row(tracked, event_operation) as by_row
            -- (What is used several times is written once.)
            offset 0
        ) as origin (by_row, in_bulk, types)
        cross join lateral (
            select case
                -- (What reads a TRUNCATE's rows reads them once.)
                when event_operation = 'TRUNCATE' then audit.compiled_recording(tracked, event_operation)
                when suspicion is null then audit.compiled_recording(tracked, event_operation, hides => false)
                else pg_catalog.concat(
                    'if ', suspicion, E' then\n    ', audit.compiled_recording(tracked, event_operation),
                    E'\n    else\n    ', audit.compiled_recording(tracked, event_operation, hides => false), E'\n    end if;'
                )
            end
            from (select audit.compiled_suspicion(tracked, event_operation) offset 0) as look (suspicion)
        ) as compiled (recording)
        cross join lateral (select audit.compiled_org_naming(tracked, event_operation) offset 0) as names (org_naming)
    );
end
$$;

comment on function audit.compiled_body(audit.tracked_table, text) is
    'The body of a tracked table''s trigger function for INSERT, UPDATE, DELETE or TRUNCATE.';

create or replace function audit.capture_function_name(relation regclass, event_operation text)
returns text
language sql
stable
as $$
    -- Identifiers end at 63 bytes; a longer name, of any of the four, is cut and told apart by its digest.
    select 'capture '
        || case
            when pg_catalog.octet_length(known.name) <= 46 then known.name
            else pg_catalog.left(pg_catalog.md5(known.name), 16) || '…'
        end
        || ' ' || pg_catalog.lower(event_operation collate "C")
    from (select audit.qualified_name(relation)) as known (name)
$$;

comment on function audit.capture_function_name(regclass, text) is
    'The name of a tracked table''s trigger function in schema audit: `\sf audit."capture nemo.team update"`.';

create or replace function audit.claim_capture_function(relation regclass, event_operation text)
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
-- That there is nothing to drop is no news.
set client_min_messages = warning
as $$
declare
    wanted text := audit.capture_function_name(relation, event_operation);
    present name := (
        select pg_proc.proname
        from pg_trigger
        join pg_proc on pg_proc.oid = pg_trigger.tgfoid
        where pg_trigger.tgrelid in (select relid from pg_partition_tree(relation) union select relation)
            and pg_trigger.tgname = 'pgtrail_' || lower(event_operation collate "C")
            and pg_proc.pronamespace = 'audit'::regnamespace
            -- Not one that somebody had the trigger call instead of its own: another table's.
            and not exists (
                select
                from pg_trigger as others
                join audit.own_trigger as known on known.relation = others.tgrelid and known.trigger_name = others.tgname
                where others.tgfoid = pg_proc.oid and known.root <> claim_capture_function.relation
            )
            and pg_proc.proname like '% ' || lower(event_operation collate "C")
        limit 1
    );
begin
    if present <> wanted then
        -- The table was renamed. Its triggers know the function by its oid; one that a table of this name left is in the way.
        execute format('drop function if exists audit.%I()', wanted);
        execute format('alter function audit.%I() rename to %I', present, wanted);
    end if;
    return wanted;
end
$$;

comment on function audit.claim_capture_function(regclass, text) is
    'The name of a tracked table''s trigger function, which follows the table''s.';

create or replace function audit.partition_makers(relation regclass)
returns setof oid
language sql
stable
as $$
    select distinct owned.relowner
    from (select relid from pg_catalog.pg_partition_tree(relation) where not isleaf union all select relation) as tree (relid)
    -- (By the index, for each: who plans expects many partitions.)
    cross join lateral (select relowner from pg_catalog.pg_class where pg_class.oid = tree.relid limit 1) as owned
    where owned.relowner <> 'audit_owner'::pg_catalog.regrole
$$;

comment on function audit.partition_makers(regclass) is
    'The owners of a table and of its partitions that have partitions: who may add to it.';

create or replace function audit.allow_trigger_makers(relation regclass, function_name text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    makers oid[] := array(select audit.partition_makers(relation)) || 'audit_admin'::regrole::oid;
    other text;
begin
    for other in
        select quote_ident(pg_get_userbyid(granted.grantee))
        from pg_proc
        cross join aclexplode(pg_proc.proacl) as granted
        where pg_proc.pronamespace = 'audit'::regnamespace
            and pg_proc.proname = function_name
            and granted.grantee <> pg_proc.proowner
            and granted.grantee <> all (makers)
    loop
        execute format('revoke execute on function audit.%I() from %s', function_name, other);
    end loop;
    execute format(
        'grant execute on function audit.%I() to %s',
        function_name,
        (select string_agg(distinct quote_ident(pg_get_userbyid(maker)), ', ') from unnest(makers) as maker)
    );
end
$$;

comment on function audit.allow_trigger_makers(regclass, text) is
    'Who creates a trigger, or a partition that gets a copy of it, must be allowed to execute its function: audit_admin and the table''s owners, nobody else.';

create or replace function audit.settings_of_types(type_oids oid[], as_text oid[])
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
begin
    return (
        with part as (
            select part.oid, part.in_text from (select distinct unnest(type_oids)) as known (oid) cross join audit.parts_of_type(known.oid) as part
            union
            -- JSON has times in one form, a text in that of the session.
            select part.oid, true from (select distinct unnest(as_text)) as known (oid) cross join audit.parts_of_type(known.oid) as part
        ),
        pinned (type_oid, setting, of_text_alone) as (
            values
                ('timestamptz'::regtype, 'TimeZone=UTC', false),
                ('timestamptz', 'DateStyle=ISO', true),
                ('timestamp', 'DateStyle=ISO', true),
                ('date', 'DateStyle=ISO', true),
                ('interval', 'IntervalStyle=postgres', false),
                ('bytea', 'bytea_output=hex', false),
                ('money', 'lc_monetary=C', false),
                ('real', 'extra_float_digits=1', false),
                ('double precision', 'extra_float_digits=1', false),
                ('point', 'extra_float_digits=1', false),
                ('path', 'extra_float_digits=1', false),
                ('polygon', 'extra_float_digits=1', false),
                ('circle', 'extra_float_digits=1', false),
                ('regclass', 'quote_all_identifiers=off', false),
                ('regtype', 'quote_all_identifiers=off', false),
                ('regproc', 'quote_all_identifiers=off', false),
                ('regprocedure', 'quote_all_identifiers=off', false),
                ('regoper', 'quote_all_identifiers=off', false),
                ('regoperator', 'quote_all_identifiers=off', false),
                ('regrole', 'quote_all_identifiers=off', false),
                ('regnamespace', 'quote_all_identifiers=off', false),
                ('regcollation', 'quote_all_identifiers=off', false),
                ('regconfig', 'quote_all_identifiers=off', false),
                ('regdictionary', 'quote_all_identifiers=off', false)
        )
        select coalesce(array_agg(distinct pinned.setting order by pinned.setting), '{}')
        from part
        join pinned on (part.in_text or not pinned.of_text_alone)
            -- (What the type of an extension depends on nobody knows.)
            and (
                pinned.type_oid = part.oid
                or (part.oid >= 16384 and exists (select from pg_type where pg_type.oid = part.oid and typtype = 'b' and typelem = 0))
            )
    );
end
$$;

comment on function audit.settings_of_types(oid[], oid[]) is
    'The settings, as pg_proc.proconfig has them, that a function must pin so that it writes values of these types in one form whatever the session''s: as JSON; as_text: those whose text is used.';

create or replace function audit.pinned_settings(tracked audit.tracked_table)
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Whose text identifies the row, or is looked for in another table.
    names constant text[] := audit.identity_columns(tracked.relation) || array(
        select attname
        from audit.present_steps() as step
        join pg_attribute on attrelid = step.place and attnum = step.column_number
        where step.relation = tracked.relation and step.position = 0
    ) || tracked.label || tracked.org || tracked.actor;
begin
    return (
        select audit.settings_of_types(
            coalesce(array_agg(type_oid) filter (where live.name <> all (tracked.ignore)), '{}'),
            coalesce(array_agg(type_oid) filter (
                where live.name = any (names) or (live.name <> all (tracked.ignore) and audit.is_recorded_as_text(type_oid))
            ), '{}')
        )
        from audit.live_columns(tracked.relation) as live
    ) || case
        -- (Postgres writes a condition's texts without escapes; all other texts in a function have them where they need them.)
        when exists (select from audit.rule where rule.relation = tracked.relation and strpos(rule.expression, E'\\') > 0)
            then '{standard_conforming_strings=on}'::text[]
        else '{}'
    end;
end
$$;

comment on function audit.pinned_settings(audit.tracked_table) is
    'The settings that a table''s capture functions have of their own, as pg_proc.proconfig has them, so that a value is recorded in one form whatever the session''s.';

create or replace function audit.create_compiled(
    function_name text, arguments text, returned text, settings text[], body text, new_owner name, description text
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    execute concat(
        format('create or replace function audit.%I(', function_name), arguments, ') returns ', returned,
        ' language plpgsql security definer set search_path = pg_catalog, pg_temp',
        (
            select string_agg(format(' set %I = %L', split_part(setting, '=', 1), split_part(setting, '=', 2)), '' order by number)
            from unnest(settings) with ordinality as pinned (setting, number)
        ),
        ' as ', quote_literal(body)
    );
    execute concat(format('revoke execute on function audit.%I(', function_name), arguments, ') from public');
    execute concat(format('comment on function audit.%I(', function_name), arguments, ') is ', quote_literal(description));
    perform audit.hand_over(function_name, arguments, new_owner);
end
$$;

comment on function audit.create_compiled(text, text, text, text[], text, name, text) is
    'Creates a function in schema audit, or replaces it, that runs as its owner and that nobody else may call.';

create or replace function audit.compile_table(relation regclass)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
set jit = off
-- (What is planned anew for each table costs more than compiling it.)
set plan_cache_mode = force_generic_plan
as $$
declare
    tracked audit.tracked_table;
    recorder name := audit.assign_recorder(relation);
    settings text[];
    event_operation text;
    function_name text;
begin
    tracked := audit.follow_columns(relation);
    settings := audit.pinned_settings(tracked);
    -- Each condition is parsed anew: by audit.check_rule().
    update audit.rule set condition = condition where rule.relation = compile_table.relation;
    perform audit.create_compiled(
        audit.reader_name(relation), 'leaf regclass, first_row tid, end_row tid', 'setof record', '{row_security=on}',
        audit.compiled_reader(tracked), recorder, format('Reads the rows of %s. Compiled.', tracked.name)
    );
    perform audit.create_lookups(relation, recorder);
    perform audit.create_labeller(tracked, recorder);
    perform audit.create_namer(tracked, recorder);
    foreach event_operation in array array['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']
    loop
        function_name := audit.claim_capture_function(relation, event_operation);
        -- What is written now need not be compared with what it should be at the next look, which every caller ends with.
        update audit.own_trigger as known
        set function_version = null, function_digest = null
        where known.root = compile_table.relation
            and known.trigger_name = 'pgtrail_' || lower(event_operation collate "C")
            and not known.function_altered;
        perform audit.create_compiled(
            function_name, '', 'trigger', settings, audit.compiled_body(tracked, event_operation), recorder,
            format('Records each %s on %s. Compiled.', event_operation, tracked.name)
        );
        perform audit.allow_trigger_makers(relation, function_name);
    end loop;
end
$$;

comment on function audit.compile_table(regclass) is
    'Writes the functions of a tracked table anew from its settings, its rules and its columns as they are now.';

create or replace function audit.last_column_numbers(tracked audit.tracked_table)
returns jsonb
language plpgsql
stable
as $$
begin
    if coalesce(tracked.numbered_oid, tracked.relation) = tracked.relation then
        return tracked.column_numbers;
    end if;
    -- Restored: its columns were made anew, in their order, and what had been dropped between them is not there.
    return (
        select coalesce(jsonb_object_agg(numbered.name, numbered.place), '{}')
        from (
            select known.key as name, row_number() over (order by known.value::integer) as place
            from jsonb_each_text(tracked.column_numbers) as known
        ) as numbered
    );
end
$$;

comment on function audit.last_column_numbers(audit.tracked_table) is
    'Which column had which number when a table was last compiled; after a restore: which number it got by that.';

create or replace function audit.follow_columns(moved_relation regclass)
returns audit.tracked_table
language plpgsql
volatile
as $$
declare
    known audit.tracked_table;
    tracked audit.tracked_table;
    renamed jsonb;
    present jsonb;
    new_secrets text[];
begin
    select * into strict known from audit.tracked_table where relation = moved_relation for update;
    tracked := known;
    known.column_numbers := audit.last_column_numbers(known);

    select coalesce(jsonb_object_agg(attname, attnum), '{}')
    into present
    from pg_attribute
    where attrelid = moved_relation and attnum > 0 and not attisdropped;

    -- What was called so when last compiled → what the same column is called now.
    select coalesce(jsonb_object_agg(was.key, now.key), '{}')
    into renamed
    from jsonb_each(known.column_numbers) as was
    join jsonb_each(present) as now on now.value = was.value;

    if known.column_numbers <> '{}' then
        tracked.org := case
            when audit.has_path(moved_relation, 'org') then audit.settled_path(moved_relation, 'org')
            else renamed ->> known.org
        end;
        tracked.label := case
            when audit.has_path(moved_relation, 'label') then audit.settled_path(moved_relation, 'label')
            else renamed ->> known.label
        end;
        tracked.actor := renamed ->> known.actor;
        tracked.ignore := array(
            select coalesce(renamed ->> name, name)
            from unnest(known.ignore) as name
            where renamed ? name or not known.column_numbers ? name
        );
        tracked.secret := array(
            select case
                -- (Of a column that says no more whether the other is secret, the other is it.)
                when part.condition is not null then (renamed ->> part.name) || coalesce(' when ' || (renamed ->> part.condition), '')
                else coalesce((renamed ->> part.name) || substr(path, length(part.name) + 1), path)
            end
            from unnest(known.secret) as path
            cross join lateral (
                select name, case when starts_with(path, name || ' when ') then substr(path, length(name || ' when ') + 1) end
                from (select audit.column_of_path(path, array(select jsonb_object_keys(known.column_numbers))) offset 0) as found (name)
            ) as part (name, condition)
            where part.name is null or renamed ? part.name
        );
        -- A column that came since, or got its name since, is judged by it, as audit.track() would.
        new_secrets := array(
            select name
            from unnest(audit.secrets_by_name(moved_relation, tracked.secret || tracked.ignore)) as name
            where exists (
                select
                from unnest(audit.columns_of_secret(moved_relation, name)) as part
                where known.column_numbers -> part is distinct from present -> part
            )
        );
        if new_secrets <> '{}' then
            tracked.secret := tracked.secret || new_secrets;
            raise notice '%: redacted by their names from now on: % (audit.track() with reveal => … shows them)',
                moved_relation, array_to_string(new_secrets, ', ');
        end if;
        if audit.is_secret_or_holds_one(tracked.label, tracked.secret) then
            raise warning 'pgtrail: the label "%" of % is secret', tracked.label, moved_relation
                using hint = 'Its events have no label until you call audit.track() with another.';
            tracked.label := null;
        end if;
        if audit.is_secret_or_holds_one(tracked.org, tracked.secret) then
            tracked.org := null;
        end if;
        if audit.is_secret_or_holds_one(tracked.actor, tracked.secret) then
            tracked.actor := null;
        end if;
        if known.org is not null and tracked.org is null then
            raise warning 'pgtrail: % has lost its organization "%"', moved_relation, known.org
                using hint = 'Its events belong to no organization until you call audit.track() with another org.';
        end if;
    end if;
    tracked.column_numbers := present;
    tracked.numbered_oid := moved_relation;
    tracked.name := audit.qualified_name(moved_relation);

    if tracked is distinct from known then
        update audit.tracked_table
        set
            org = tracked.org,
            label = tracked.label,
            actor = tracked.actor,
            ignore = tracked.ignore,
            secret = tracked.secret,
            column_numbers = tracked.column_numbers,
            numbered_oid = tracked.numbered_oid,
            name = tracked.name
        where relation = moved_relation;
    end if;
    return tracked;
end
$$;

comment on function audit.follow_columns(regclass) is
    'Brings a tracked table''s settings up to its name and columns: follows renames, forgets what was dropped, redacts what came, or got its name, since and looks secret. A label, an organization or an actor that is secret now is given up.';

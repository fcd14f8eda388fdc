-- A table, its partitions and its columns: which are audited, and which identify a row.

create or replace function audit_internal.qualified_name(relation regclass)
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

comment on function audit_internal.qualified_name(regclass) is
    'The table''s name with its schema, quoted where need be, whatever the search_path.';

create or replace function audit_internal.partition_tree(relation regclass)
returns table (relid regclass)
language sql
stable
as $$
    -- (Of a table without partitions pg_partition_tree() has nothing.)
    select tree.relid from pg_catalog.pg_partition_tree(relation) as tree
    union
    select relation
$$;

comment on function audit_internal.partition_tree(regclass) is 'A table and, where it is partitioned, its partitions at all levels.';

create or replace function audit_internal.column_names(relation regclass)
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

comment on function audit_internal.column_names(regclass) is 'A table''s columns, in their order.';

create or replace function audit_internal.audited_columns(tracked audit.tracked_table)
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

comment on function audit_internal.audited_columns(audit.tracked_table) is
    'The columns that are compared and recorded, in their order; secret_paths are the paths to redact inside the column, secret_when the columns whose values say whether it is redacted.';

create or replace function audit_internal.identity_index(relation regclass)
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

comment on function audit_internal.identity_index(regclass) is
    'The index of the key that identifies a row: the primary key, else a unique index over columns that are not null. Null: there is none.';

create or replace function audit_internal.identity_columns(relation regclass)
returns text[]
language plpgsql
stable
as $$
declare
    key_index constant pg_catalog.pg_index := audit_internal.identity_index(relation);
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

comment on function audit_internal.identity_columns(regclass) is
    'The columns that identify a row: those of the primary key, else of a unique index over columns that are not null, else none.';

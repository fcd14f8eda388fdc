-- The source of an import: the table of another tool (supa_audit, audit-trigger, LiteLLM), and its columns.
-- docs/dba/coming-from.md.

-- Returns the object or array that a text is in JSON; null if it is not one.
create function pg_temp.parse_json(content text)
returns jsonb
language plpgsql
immutable
strict
as $$
begin
    if content !~ '^[[:space:]]*[[{]' then
        return null;
    end if;
    return content::jsonb;
exception
    when data_exception or program_limit_exceeded then
        return null;
end
$$;

-- A row as an object: also one that was stored as a JSON text; anything else becomes its member `value`.
create function pg_temp.as_object(content jsonb)
returns jsonb
language sql
immutable
as $$
    select case
        when jsonb_typeof(content) = 'object' then content
        when content is null or content = 'null' then null
        when jsonb_typeof(pg_temp.parse_json(content #>> '{}')) = 'object' then pg_temp.parse_json(content #>> '{}')
        else jsonb_build_object('value', content)
    end
$$;

-- The hash by which LiteLLM knows a key, given the key or its hash.
create function pg_temp.key_hash(key text)
returns text
language sql
immutable
strict
as $$
    -- LiteLLM stores a key's hash and, if it was given the key itself, sometimes the key.
    select case
        when key ~ '^sk-' then encode(sha256(convert_to(key, 'UTF8')), 'hex')
        else key
    end
$$;

-- SHA-256 of a text in hex: what stands for a key that is itself a secret.
create function pg_temp.hex_digest(content text)
returns text
language sql
immutable
strict
as $$
    select encode(sha256(convert_to(content, 'UTF8')), 'hex')
$$;

-- The columns by which a tool's table is recognized; null if there is no such tool.
create function pg_temp.import_columns(tool text)
returns text[]
language sql
immutable
as $$
    select case tool
        when 'supa_audit' then '{id,op,ts,table_oid,table_schema,table_name,record,old_record}'
        when 'audit_trigger' then
            '{event_id,schema_name,table_name,relid,session_user_name,action_tstamp_clk,transaction_id,application_name,client_addr,action,row_data,changed_fields}'
        when 'litellm' then '{id,updated_at,changed_by,changed_by_api_key,action,table_name,object_id,before_value,updated_values}'
    end::text[]
$$;

-- Raises PT002 where reading the table would run somebody's code: a cast of its types, or what pg_temp.code_run_by_reading()
-- finds.
create function pg_temp.check_source(p_tool text, source regclass)
returns void
language plpgsql
stable
as $$
declare
    strange text := coalesce(
        pg_temp.code_run_by_reading(source),
        (
            -- A cast or an operator of what is read runs as whoever reads. (The operation of supa_audit is an enum of its own, of
            -- which nothing is called but its output function.)
            select format('its column %I is of type %s', attname, format_type(atttypid, null))
            from pg_attribute
            join pg_type on pg_type.oid = atttypid
            where attrelid = source
                and attnum > 0
                and not attisdropped
                and not (
                    pg_type.typtype = 'e'
                    and (attname = 'op' or attname <> all (pg_temp.import_columns(p_tool) || '{auth_uid,auth_role,xact_id}'::text[]))
                )
                and not audit_internal.is_trusted_type(atttypid)
                and not pg_temp.is_hstore(atttypid)
            order by attnum
            limit 1
        )
    );
begin
    if strange is not null then
        raise exception using
            errcode = 'PT002',
            message = format('%s is not as %s creates it: %s', source, p_tool, strange),
            hint = 'What it calls would run with your rights. Copy its rows into a table of plain types, and name that in --table.';
    end if;
end
$$;

-- The table that holds a tool's log: the one that is named, else the only one that looks like it. PT002.
create function pg_temp.import_source(p_tool text, p_table text default null)
returns regclass
language plpgsql
stable
as $$
declare
    wanted text[] := pg_temp.import_columns(p_tool);
    usual_name text := case p_tool
        when 'supa_audit' then 'record_version' when 'audit_trigger' then 'logged_actions' else 'LiteLLM_AuditLog'
    end;
    found_tables regclass[];
begin
    if wanted is null then
        raise exception using
            errcode = 'PT002',
            message = format('pgtrail can''t import the log of "%s"', p_tool),
            hint = 'It imports those of supa_audit, audit_trigger and litellm.';
    end if;
    select coalesce(array_agg(pg_class.oid::regclass order by pg_class.oid), '{}')
    into found_tables
    from pg_class
    where pg_class.relkind in ('r', 'p')
        and case when p_table is null then pg_class.relname = usual_name else pg_class.oid = p_table::regclass end
        and wanted <@ audit_internal.column_names(pg_class.oid);
    if cardinality(found_tables) = 1 then
        perform pg_temp.check_source(p_tool, found_tables[1]);
        return found_tables[1];
    end if;
    raise exception using
        errcode = 'PT002',
        message = case
            when p_table is not null then format('%s is not a table of %s: it does not have all of the columns %s', p_table, p_tool, array_to_string(wanted, ', '))
            when found_tables = '{}' then format('there is no table of %s: none is named "%s" with its columns', p_tool, usual_name)
            else format('there are several tables of %s: %s', p_tool, array_to_string(found_tables, ', '))
        end,
        hint = 'Name the table that holds its log: --table SCHEMA.TABLE.';
end
$$;

-- Returns the transaction id of a row's xmin; null if it is not one of this cluster.
create function pg_temp.full_xid(short xid)
returns xid8
language sql
stable
as $$
    -- The last transaction with these 32 bits.
    select case when older.xid > 2 then older.xid::text::xid8 end
    from (
        select following - 1 - (((following - 1 - short::text::numeric) % 4294967296 + 4294967296) % 4294967296) as xid
        from (select pg_snapshot_xmax(pg_current_snapshot())::text::numeric) as present (following)
    ) as older
$$;

-- Whether a type is hstore as its extension makes it.
create function pg_temp.is_hstore(type_oid oid)
returns boolean
language sql
stable
as $$
    -- Its function has to be a superuser's too: the owner of the extension can add to it.
    select exists (
        select
        from pg_type
        join pg_depend on pg_depend.objid = pg_type.oid and pg_depend.classid = 'pg_type'::regclass and pg_depend.deptype = 'e'
        join pg_extension on pg_extension.oid = pg_depend.refobjid and pg_extension.extname = 'hstore'
        join pg_roles on pg_roles.oid = pg_type.typowner
        join pg_proc on pg_proc.pronamespace = pg_type.typnamespace and pg_proc.proname = 'hstore_to_jsonb'
            and pg_proc.proargtypes = array[pg_type.oid]::oidvector
        join pg_roles as function_owner on function_owner.oid = pg_proc.proowner
        where pg_type.oid = type_oid and pg_type.typname = 'hstore' and pg_roles.rolsuper and function_owner.rolsuper
    )
$$;

-- SQL for a row that a tool recorded, as jsonb. PT002.
create function pg_temp.import_json(source regclass, column_name text)
returns text
language plpgsql
stable
as $$
declare
    known_type oid := (select atttypid from pg_attribute where attrelid = source and attname = column_name);
    hstore_schema name := (
        select pg_namespace.nspname
        from pg_type
        join pg_namespace on pg_namespace.oid = pg_type.typnamespace
        where pg_type.oid = known_type and pg_temp.is_hstore(known_type)
    );
begin
    if known_type in ('json'::regtype, 'jsonb'::regtype) then
        return format('pg_temp.as_object(log.%I::jsonb)', column_name);
    elsif hstore_schema is not null then
        return format('%I.hstore_to_jsonb(log.%I)', hstore_schema, column_name);
    end if;
    raise exception using
        errcode = 'PT002',
        message = format('column %s of %s is neither jsonb nor hstore', column_name, source),
        hint = 'It is not as the tool creates it; pgtrail can''t read it.';
end
$$;

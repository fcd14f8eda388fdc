-- The tables of other tools, read as one kind of row: supa_audit, 2ndQuadrant's audit-trigger, LiteLLM. docs/coming-from.md.

create or replace function audit.parsed(content text)
returns jsonb
language plpgsql
immutable
strict
parallel safe
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

comment on function audit.parsed(text) is 'The object or array that a text is in JSON; null: it is none.';

create or replace function audit.as_object(content jsonb)
returns jsonb
language sql
immutable
parallel safe
as $$
    select case
        when pg_catalog.jsonb_typeof(content) = 'object' then content
        when content is null or content = 'null' then null
        when pg_catalog.jsonb_typeof(audit.parsed(content #>> '{}')) = 'object' then audit.parsed(content #>> '{}')
        else pg_catalog.jsonb_build_object('value', content)
    end
$$;

comment on function audit.as_object(jsonb) is
    'A row as an object: also one that was stored as a JSON text; anything else becomes its member `value`.';

create or replace function audit.key_hash(key text)
returns text
language sql
immutable
strict
parallel safe
as $$
    -- LiteLLM keeps a key's hash, and where it was told the key itself, sometimes that.
    select case
        when key ~ '^sk-' then pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(key, 'UTF8')), 'hex')
        else key
    end
$$;

comment on function audit.key_hash(text) is 'The hash by which LiteLLM knows a key, given the key or its hash.';

create or replace function audit.digest_of(content text)
returns text
language sql
immutable
strict
parallel safe
as $$
    select pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(content, 'UTF8')), 'hex')
$$;

comment on function audit.digest_of(text) is 'SHA-256 of a text in hex: what stands for a key that is itself a secret.';

-- Reading a tool's table -------------------------------------------------------------------------------------------

create or replace function audit.import_columns(tool text)
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

comment on function audit.import_columns(text) is 'By which columns a tool''s table is known; null: there is no such tool.';

create or replace function audit.check_source(p_tool text, source regclass)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    strange text := coalesce(
        audit.code_run_by_reading(source),
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
                    and (attname = 'op' or attname <> all (audit.import_columns(p_tool) || '{auth_uid,auth_role,xact_id}'::text[]))
                )
                and not audit.is_trusted_type(atttypid)
                and not audit.is_hstore(atttypid)
            order by attnum
            limit 1
        )
    );
begin
    if strange is not null then
        raise exception using
            errcode = 'PT060',
            message = format('%s is not as %s makes it: %s', source, p_tool, strange),
            hint = 'What it calls would run with your rights. Copy its rows into a table of plain types, and name that in --table.';
    end if;
end
$$;

comment on function audit.check_source(text, regclass) is
    'Raises PT060 where reading the table would run somebody''s code: a cast of its types, or what audit.code_run_by_reading() finds.';

create or replace function audit.import_source(p_tool text, p_table text default null)
returns regclass
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    wanted text[] := audit.import_columns(p_tool);
    usual_name text := case p_tool
        when 'supa_audit' then 'record_version' when 'audit_trigger' then 'logged_actions' else 'LiteLLM_AuditLog'
    end;
    found_tables regclass[];
begin
    if wanted is null then
        raise exception using
            errcode = 'PT060',
            message = format('pgtrail reads no history of "%s"', p_tool),
            hint = 'It reads that of supa_audit, audit_trigger and litellm.';
    end if;
    select coalesce(array_agg(pg_class.oid::regclass order by pg_class.oid), '{}')
    into found_tables
    from pg_class
    where pg_class.relkind in ('r', 'p')
        and case when p_table is null then pg_class.relname = usual_name else pg_class.oid = p_table::regclass end
        and wanted <@ audit.column_names(pg_class.oid);
    if cardinality(found_tables) = 1 then
        perform audit.check_source(p_tool, found_tables[1]);
        return found_tables[1];
    end if;
    raise exception using
        errcode = 'PT060',
        message = case
            when p_table is not null then format('%s is no table of %s: it has not all of the columns %s', p_table, p_tool, array_to_string(wanted, ', '))
            when found_tables = '{}' then format('there is no table of %s here: none is called "%s" and has its columns', p_tool, usual_name)
            else format('there are several tables of %s: %s', p_tool, array_to_string(found_tables, ', '))
        end,
        hint = 'Name the table that holds its log: --table SCHEMA.TABLE.';
end
$$;

comment on function audit.import_source(text, text) is 'The table that holds a tool''s log: the one that is named, else the only one that looks like it. PT060.';

create or replace function audit.full_xid(short xid)
returns xid8
language sql
stable
as $$
    -- The last transaction of that number: there are four billion of them.
    select case when older.xid > 2 then older.xid::text::xid8 end
    from (
        select following - 1 - (((following - 1 - short::text::numeric) % 4294967296 + 4294967296) % 4294967296) as xid
        from (select pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::numeric) as present (following)
    ) as older
$$;

comment on function audit.full_xid(xid) is 'The transaction id of a row''s xmin; null: it is none of this cluster.';

create or replace function audit.is_hstore(type_oid oid)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    -- With every function of it a superuser's: whoever owns the extension can add to it.
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

comment on function audit.is_hstore(oid) is 'Whether a type is hstore as its extension makes it.';

create or replace function audit.import_json(source regclass, column_name text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    known_type oid := (select atttypid from pg_attribute where attrelid = source and attname = column_name);
    hstore_schema name := (
        select pg_namespace.nspname
        from pg_type
        join pg_namespace on pg_namespace.oid = pg_type.typnamespace
        where pg_type.oid = known_type and audit.is_hstore(known_type)
    );
begin
    if known_type in ('json'::regtype, 'jsonb'::regtype) then
        return format('audit.as_object(log.%I::jsonb)', column_name);
    elsif hstore_schema is not null then
        return format('%I.hstore_to_jsonb(log.%I)', hstore_schema, column_name);
    end if;
    raise exception using
        errcode = 'PT060',
        message = format('column %s of %s is neither jsonb nor hstore', column_name, source),
        hint = 'It is not as the tool makes it; pgtrail can''t read it.';
end
$$;

comment on function audit.import_json(regclass, text) is 'SQL for a row that a tool recorded, as jsonb. PT060.';

drop function if exists audit.import_reading(text, regclass);
drop function if exists audit.supa_audit_reading(regclass, text[]);
drop function if exists audit.audit_trigger_reading(regclass);
drop function if exists audit.litellm_reading(regclass);

create or replace function audit.supa_audit_reading(source regclass, place text, has text[])
returns text
language sql
stable
as $$
    select pg_catalog.format(
        $sql$
                select
                    log.id::bigint, log.id::text, log.ts::timestamptz, %2$s,
                    -- (Through its output function: its type is not ours.)
                    format('%%s', log.op), null::text, format('%%I.%%I', log.table_schema, log.table_name), log.table_oid::oid,
                    null::text, %3$s, %4$s, null::inet, null::text,
                    %5$s, %6$s
                from %1$s as log
                where log.id > $1 and log.id <= $4 and $2 is not null
                order by log.id
                limit $3
        $sql$,
        place,
        case when 'xact_id' = any (has) then 'log.xact_id::text::xid8' else 'audit.full_xid(log."pgtrail xmin")' end,
        case when '{record_id,old_record_id}' <@ has then 'coalesce(log.record_id, log.old_record_id)::text' else 'null::text' end,
        case
            when '{auth_uid,auth_role}' <@ has then
                'case when log.auth_uid is not null then ''user'' when log.auth_role <> '''' then ''role'' else ''unknown'' end, '
                'coalesce(log.auth_uid::text, nullif(log.auth_role::text, ''''))'
            else '''unknown'', null::text'
        end,
        audit.import_json(source, 'old_record'),
        audit.import_json(source, 'record')
    )
$$;

comment on function audit.supa_audit_reading(regclass, text, text[]) is 'SQL that reads the rows of supa_audit''s record_version.';

create or replace function audit.audit_trigger_reading(source regclass, place text)
returns text
language sql
stable
as $$
    select pg_catalog.format(
        $sql$
                select
                    log.event_id::bigint, log.event_id::text, log.action_tstamp_clk::timestamptz,
                    case when log.transaction_id > 2 then log.transaction_id::text::xid8 end,
                    case log.action when 'I' then 'INSERT' when 'U' then 'UPDATE' when 'D' then 'DELETE' when 'T' then 'TRUNCATE' end,
                    null::text, format('%%I.%%I', log.schema_name, log.table_name), log.relid::oid, null::text, null::text,
                    'database', log.session_user_name::text, log.client_addr::inet, log.application_name::text,
                    case when log.action in ('U', 'D') then %2$s end,
                    case log.action when 'I' then %2$s when 'U' then %2$s || coalesce(%3$s, '{}') end
                from %1$s as log
                where log.event_id > $1 and log.event_id <= $4 and $2 is not null
                order by log.event_id
                limit $3
        $sql$,
        place,
        audit.import_json(source, 'row_data'),
        audit.import_json(source, 'changed_fields')
    )
$$;

comment on function audit.audit_trigger_reading(regclass, text) is
    'SQL that reads the rows of audit-trigger''s logged_actions. Not client_query: it has values in it, secret ones too.';

create or replace function audit.litellm_reading(source regclass, place text)
returns text
language sql
stable
as $$
    select pg_catalog.format(
        $sql$
                select
                    told.key, log.id::text, told.occurred_at, null::xid8,
                    case log.action when 'created' then 'INSERT' when 'deleted' then 'DELETE' else 'UPDATE' end,
                    case
                        when log.action not in ('created', 'updated', 'deleted') then
                            case when log.action ~ '^[a-z][a-z0-9_]{0,62}$' then log.action else 'changed' end
                    end,
                    format('%%I.%%I', %2$L, log.table_name), null::oid, audit.key_hash(nullif(log.object_id, '')), null::text,
                    case
                        when log.changed_by <> '' then 'user'
                        when log.changed_by_api_key <> '' then 'key'
                        else 'unknown'
                    end,
                    -- The key that did it as its own events have it: by its digest.
                    case
                        when log.changed_by ~ '^sk-' then audit.digest_of(audit.key_hash(log.changed_by))
                        when log.changed_by <> '' then log.changed_by
                        when log.changed_by_api_key <> '' then audit.digest_of(audit.key_hash(log.changed_by_api_key))
                    end,
                    null::inet, null::text,
                    case when log.action <> 'created' then coalesce(told.before, case when log.action <> 'deleted' then '{}'::jsonb end) end,
                    case
                        when log.action = 'created' then told.after
                        when log.action <> 'deleted' then coalesce(told.before, '{}') || coalesce(told.after, '{}')
                    end
                from %1$s as log
                cross join lateral (
                    select
                        %3$s,
                        case when isfinite(%3$s) then (extract(epoch from %3$s) * 1000000)::bigint else 9223372036854775807 end,
                        %4$s,
                        %5$s
                ) as told (occurred_at, key, before, after)
                where (told.key, log.id::text) > ($1, $2) and told.key <= $4
        $sql$,
        place,
        (
            select pg_namespace.nspname
            from pg_catalog.pg_class
            join pg_catalog.pg_namespace on pg_namespace.oid = pg_class.relnamespace
            where pg_class.oid = source
        ),
        (
            -- Prisma keeps UTC in a type that does not say so.
            select case atttypid
                when 'timestamp'::pg_catalog.regtype then '(log.updated_at at time zone ''UTC'')' else 'log.updated_at::timestamptz'
            end
            from pg_catalog.pg_attribute
            where attrelid = source and attname = 'updated_at'
        ),
        audit.import_json(source, 'before_value'),
        audit.import_json(source, 'updated_values')
    )
$$;

comment on function audit.litellm_reading(regclass, text) is
    'SQL that reads the rows of LiteLLM_AuditLog: what it says to have been updated laid over what was before.';

create or replace function audit.import_rows(p_tool text, source regclass, place text)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select concat(
        '(',
        case p_tool
            when 'supa_audit' then audit.supa_audit_reading(source, place, audit.column_names(source))
            when 'audit_trigger' then audit.audit_trigger_reading(source, place)
            else audit.litellm_reading(source, place)
        end,
        ') as seen (key, row_id, occurred_at, xid, operation, verb, table_name, table_oid, object_id, record_id, '
        'actor_type, actor_id, actor_ip, user_agent, before, after)'
    )
$$;

comment on function audit.import_rows(text, regclass, text) is
    'The FROM item that reads the rows of a tool''s table, in one form for all tools: those behind key $1 and row $2 up to key $4; of tools whose rows have an order, $3 of them. place: what to read the table by.';

create or replace function audit.import_reading(p_tool text, source regclass, place text)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select concat(
        'select row(seen.*)::audit.imported_row from ', audit.import_rows(p_tool, source, place),
        ' order by seen.key, seen.row_id limit $3'
    )
$$;

comment on function audit.import_reading(text, regclass, text) is
    'SQL that reads the next rows of a tool''s table: those behind key $1 and row $2 up to key $4, $3 of them.';

create or replace function audit.import_survey(p_tool text, p_source regclass)
returns table (rows bigint, read_before bigint, first_at timestamptz, last_at timestamptz, beyond_retention bigint)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
set row_security = off
as $$
declare
    place text := audit.hold_for_reading(p_source);
begin
    perform audit.check_source(p_tool, p_source);
    return query execute concat(
        $sql$
            select
                count(*),
                count(*) filter (where (seen.key, seen.row_id) <= (known.high_key, known.high_row)),
                min(seen.occurred_at) filter (where seen.occurred_at between '0001-01-01' and '9999-01-01'),
                max(seen.occurred_at) filter (where seen.occurred_at between '0001-01-01' and '9999-01-01'),
                count(*) filter (where seen.occurred_at < $5)
            from (
                select high_key, case tool when 'litellm' then high_row else 'x' end as high_row from audit.import where relation = $6
            ) as known
            right join $sql$, audit.import_rows(p_tool, p_source, place), ' on true'
    )
    using
        -9223372036854775808, '', null::bigint, 9223372036854775807,
        date_trunc('month', now() - (select keep from audit.retention where category is null)), p_source;
    perform audit.let_go(place);
end
$$;

comment on function audit.import_survey(text, regclass) is
    'What a tool''s table holds: how many rows, how many of these were read before, from when to when, and how many are so old that retention drops them at its next run.';

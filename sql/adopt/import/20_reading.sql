-- The rows of other tools' tables, in one form for all tools.

-- SQL that reads the rows of supa_audit's record_version.
create function pg_temp.supa_audit_query(source regclass, source_name text, has text[])
returns text
language sql
stable
as $$
    select format(
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
        source_name,
        case when 'xact_id' = any (has) then 'log.xact_id::text::xid8' else 'pg_temp.full_xid(log."pgtrail xmin")' end,
        case when '{record_id,old_record_id}' <@ has then 'coalesce(log.record_id, log.old_record_id)::text' else 'null::text' end,
        case
            when '{auth_uid,auth_role}' <@ has then
                'case when log.auth_uid is not null then ''user'' when log.auth_role <> '''' then ''role'' else ''unknown'' end, '
                'coalesce(log.auth_uid::text, nullif(log.auth_role::text, ''''))'
            else '''unknown'', null::text'
        end,
        pg_temp.import_json(source, 'old_record'),
        pg_temp.import_json(source, 'record')
    )
$$;

-- SQL that reads the rows of audit-trigger's logged_actions. client_query is not read: it contains values, also secret ones.
create function pg_temp.audit_trigger_query(source regclass, source_name text)
returns text
language sql
stable
as $$
    select format(
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
        source_name,
        pg_temp.import_json(source, 'row_data'),
        pg_temp.import_json(source, 'changed_fields')
    )
$$;

-- SQL that reads the rows of LiteLLM_AuditLog: what it says to have been updated laid over what was before.
create function pg_temp.litellm_query(source regclass, source_name text)
returns text
language sql
stable
as $$
    select format(
        $sql$
                select
                    entry.key, log.id::text, entry.occurred_at, null::xid8,
                    case log.action when 'created' then 'INSERT' when 'deleted' then 'DELETE' else 'UPDATE' end,
                    case
                        when log.action not in ('created', 'updated', 'deleted') then
                            case when log.action ~ '^[a-z][a-z0-9_]{0,62}$' then log.action else 'changed' end
                    end,
                    format('%%I.%%I', %2$L, log.table_name), null::oid, pg_temp.key_hash(nullif(log.object_id, '')), null::text,
                    case
                        when log.changed_by <> '' then 'user'
                        when log.changed_by_api_key <> '' then 'key'
                        else 'unknown'
                    end,
                    -- The key that made the change, by its digest, as in its own events.
                    case
                        when log.changed_by ~ '^sk-' then pg_temp.hex_digest(pg_temp.key_hash(log.changed_by))
                        when log.changed_by <> '' then log.changed_by
                        when log.changed_by_api_key <> '' then pg_temp.hex_digest(pg_temp.key_hash(log.changed_by_api_key))
                    end,
                    null::inet, null::text,
                    case when log.action <> 'created' then coalesce(entry.before, case when log.action <> 'deleted' then '{}'::jsonb end) end,
                    case
                        when log.action = 'created' then entry.after
                        when log.action <> 'deleted' then coalesce(entry.before, '{}') || coalesce(entry.after, '{}')
                    end
                from %1$s as log
                cross join lateral (
                    select
                        %3$s,
                        case when isfinite(%3$s) then (extract(epoch from %3$s) * 1000000)::bigint else 9223372036854775807 end,
                        %4$s,
                        %5$s
                ) as entry (occurred_at, key, before, after)
                where (entry.key, log.id::text) > ($1, $2) and entry.key <= $4
        $sql$,
        source_name,
        (
            select pg_namespace.nspname
            from pg_class
            join pg_namespace on pg_namespace.oid = pg_class.relnamespace
            where pg_class.oid = source
        ),
        (
            -- Prisma stores UTC as timestamp without time zone.
            select case atttypid
                when 'timestamp'::regtype then '(log.updated_at at time zone ''UTC'')' else 'log.updated_at::timestamptz'
            end
            from pg_attribute
            where attrelid = source and attname = 'updated_at'
        ),
        pg_temp.import_json(source, 'before_value'),
        pg_temp.import_json(source, 'updated_values')
    )
$$;

-- The FROM item that reads the rows of a tool's table, in one form for all tools: those behind key $1 and row $2 up to key
-- $4; of tools whose rows have an order, $3 of them. source_name: what to read the table by.
create function pg_temp.import_rows(p_tool text, source regclass, source_name text)
returns text
language sql
stable
as $$
    select concat(
        '(',
        case p_tool
            when 'supa_audit' then pg_temp.supa_audit_query(source, source_name, audit_internal.column_names(source))
            when 'audit_trigger' then pg_temp.audit_trigger_query(source, source_name)
            else pg_temp.litellm_query(source, source_name)
        end,
        ') as seen (key, row_id, occurred_at, xid, operation, verb, table_name, table_oid, object_id, record_id, '
        'actor_type, actor_id, actor_ip, user_agent, before, after)'
    )
$$;

-- What a tool's table holds: how many rows, how many of these were read before, from when to when, and how many are so old
-- that retention drops them at its next run.
create function pg_temp.import_survey(p_tool text, p_source regclass)
returns table (rows bigint, read_before bigint, first_at timestamptz, last_at timestamptz, beyond_retention bigint)
language plpgsql
set row_security = off
as $$
declare
    source_name text := pg_temp.hold_for_reading(p_source);
begin
    perform pg_temp.check_source(p_tool, p_source);
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
            right join $sql$, pg_temp.import_rows(p_tool, p_source, source_name), ' on true'
    )
    using
        -9223372036854775808, '', null::bigint, 9223372036854775807,
        date_trunc('month', now() - (select keep from audit.retention where category is null)), p_source;
    perform pg_temp.release_source(source_name);
end
$$;

-- One INSERT that records, and what a trigger for each row does around it.

create or replace function audit_internal.event_insert_sql(
    tracked audit.tracked_table,
    event_operation text,
    before text,
    after text,
    changed text,
    label text,
    source text,
    with_rules boolean,
    condition text default null
)
returns text
language plpgsql
stable
as $$
declare
    row_operation constant text := case event_operation when 'TRUNCATE' then 'DELETE' else event_operation end;
    row_name constant text := case row_operation when 'DELETE' then 'old' else 'new' end;
    resource_id constant text := audit_internal.resource_id_sql(tracked, row_name);
    -- Of one category alone every change has an action.
    only_name record;
    named_by text;
begin
    if (select count(*) from audit_internal.event_names_sql(tracked, row_operation, with_rules)) = 1 then
        select quote_literal(category) as category, action into only_name from audit_internal.event_names_sql(tracked, row_operation, with_rules);
    else
        select 'named.category' as category, 'named.action' as action into only_name;
        named_by := audit_internal.naming_sql(tracked, row_operation, with_rules);
    end if;
    return concat(
        E'insert into audit.recording (\n            category, action, operation, table_name, org_id, resource_type, resource_id, resource_hash, resource_label,\n'
        '            actor_type, actor_id, actor_label, actor_ip, user_agent, request_id, reason, before, after, changed\n        )\n        select ',
        concat_ws(
            E',\n            ',
            only_name.category,
            only_name.action,
            quote_literal(event_operation),
            quote_literal(audit_internal.qualified_name(tracked.relation)),
            audit_internal.org_sql(tracked, row_name, row_operation),
            quote_literal(tracked.resource),
            resource_id,
            concat('hashtextextended(', resource_id, ', 0)'),
            label,
            audit_internal.actor_sql(tracked, row_operation),
            before,
            after,
            changed
        ),
        E'\n        from ' || nullif(concat_ws(E'\n        cross join lateral ', source, named_by), ''),
        E'\n        where ' || nullif(concat_ws(' and ', condition, case when named_by is not null then 'named.action is not null' end), ''),
        ';'
    );
end
$$;

comment on function audit_internal.event_insert_sql(audit.tracked_table, text, text, text, text, text, text, boolean, text) is
    'SQL that records a change, out of SQL for its before, after, changed and label; source is the FROM item that gives `old` or `new`, null where they are the trigger''s own variables; condition says which of its rows.';

-- Of one row -----------------------------------------------------------------------------------------------------------

create or replace function audit_internal.row_recording_sql(tracked audit.tracked_table, event_operation text)
returns text
language plpgsql
stable
as $$
declare
    row_name constant text := case event_operation when 'DELETE' then 'old' else 'new' end;
    recorded constant text := case event_operation when 'DELETE' then 'before' else 'after' end;
    texts constant text := audit_internal.texts_sql(tracked, row_name, case event_operation when 'UPDATE' then 'before' end);
    has_text_label constant boolean := exists (
        select
        from pg_attribute
        join pg_type on pg_type.oid = atttypid
        where attrelid = tracked.relation
            and attname = tracked.label
            and typcategory = 'S'
            and attname = any (audit_internal.text_columns_to_scan(tracked))
            and not audit_internal.has_path(tracked.relation, 'label')
    );
begin
    return concat(
        recorded, ' := ', audit_internal.whole_row_sql(tracked, row_name, event_operation, as_given => true), ';',
        case event_operation when 'UPDATE' then audit_internal.update_changes_sql(tracked) end,
        -- Nearly all rows hold nothing to look for, and are recorded as they are.
        E'\n        texts := ' || texts || E';\n        if audit_internal.may_hold_secret_value(texts) then\n            '
            || concat_ws(
                E'\n            ',
                case when event_operation <> 'INSERT' then concat('before := ', audit_internal.secret_scan_sql(tracked, 'before'), ';') end,
                case when event_operation <> 'DELETE' then concat('after := ', audit_internal.secret_scan_sql(tracked, 'after'), ';') end
            )
            || E'\n        end if;',
        E'\n        ',
        audit_internal.event_insert_sql(
            tracked,
            event_operation,
            -- (With the label of their block: a column may have such a name.)
            before => case event_operation when 'INSERT' then 'null' when 'UPDATE' then 'coalesce(recorded.before, ''{}'')' else 'recorded.before' end,
            after => case event_operation when 'DELETE' then 'null' else 'recorded.after' end,
            changed => case event_operation when 'UPDATE' then 'recorded.changed' else 'null' end,
            -- What was looked through already is not looked through again.
            label => case
                when has_text_label then concat('left(recorded.', recorded, ' ->> ', quote_literal(tracked.label), ', 200)')
                else audit_internal.label_sql(tracked, row_name, event_operation)
            end,
            source => audit_internal.changed_rows_sql(tracked, event_operation),
            with_rules => true
        )
    );
end
$$;

comment on function audit_internal.row_recording_sql(audit.tracked_table, text) is
    'PL/pgSQL of a trigger for each row that records it: what it was and is in variables, and one INSERT of these.';

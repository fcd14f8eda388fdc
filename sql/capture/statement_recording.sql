-- What a trigger for each statement does to record its rows.

create or replace function audit_internal.selection_sql(
    tracked audit.tracked_table, event_operation text, source text, with_rules boolean, cleans boolean, condition text default null
)
returns text
language plpgsql
stable
as $$
declare
    row_operation constant text := case event_operation when 'TRUNCATE' then 'DELETE' else event_operation end;
    row_name constant text := case row_operation when 'DELETE' then 'old' else 'new' end;
    whole constant text := audit_internal.whole_row_sql(tracked, row_name, row_operation, as_given => false);
    before text := case row_operation when 'INSERT' then 'null' when 'UPDATE' then audit_internal.changed_fields_sql(tracked) else whole end;
    after text := case row_operation when 'DELETE' then 'null' else whole end;
begin
    if cleans then
        before := audit_internal.secret_scan_sql(tracked, before);
        after := audit_internal.secret_scan_sql(tracked, after);
    end if;
    return audit_internal.event_insert_sql(
        tracked, event_operation, before, after,
        changed => case row_operation when 'UPDATE' then audit_internal.changed_names_sql(tracked) else 'null' end,
        label => audit_internal.label_sql(tracked, row_name, row_operation, cleans),
        source => source,
        with_rules => with_rules,
        condition => condition
    );
end
$$;

comment on function audit_internal.selection_sql(audit.tracked_table, text, text, boolean, boolean, text) is
    'SQL that records all rows of a source, which gives `old` and `new`; cleans: their texts are looked through for secrets.';

create or replace function audit_internal.records_by_row(tracked audit.tracked_table, event_operation text)
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

comment on function audit_internal.records_by_row(audit.tracked_table, text) is
    'Whether the trigger of an operation fires for each row, rather than for each statement with the rows that it changed.';

create or replace function audit_internal.same_resource_sql(tracked audit.tracked_table)
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
        or (audit_internal.identity_index(tracked.relation)).indimmediate is false
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
    from pg_catalog.unnest(audit_internal.identity_columns(tracked.relation)) with ordinality as part (name, position)
    join pg_catalog.pg_attribute as attribute on attribute.attrelid = tracked.relation and attribute.attname = part.name
$$;

comment on function audit_internal.same_resource_sql(audit.tracked_table) is 'SQL for what says that `old` and `new` are one resource.';

create or replace function audit_internal.changed_rows_sql(tracked audit.tracked_table, event_operation text, all_as_text boolean default false)
returns text
language sql
stable
as $$
    select case
        when audit_internal.records_by_row(tracked, event_operation) then nullif(pg_catalog.concat_ws(
            E'\n        cross join ',
            case when event_operation <> 'INSERT' then audit_internal.column_sql(tracked.relation, 'old', null, all_as_text) end,
            case when event_operation <> 'DELETE' then audit_internal.column_sql(tracked.relation, 'new', null, all_as_text) end
        ), '')
        when event_operation = 'INSERT' then audit_internal.column_sql(tracked.relation, 'new', 'new_rows', all_as_text)
        when event_operation = 'UPDATE' then pg_catalog.concat(
            audit_internal.column_sql(tracked.relation, 'old', 'old_rows', all_as_text),
            E'\n        join ',
            audit_internal.column_sql(tracked.relation, 'new', 'new_rows', all_as_text),
            ' on ',
            audit_internal.same_resource_sql(tracked)
        )
        when event_operation = 'DELETE' then audit_internal.column_sql(tracked.relation, 'old', 'old_rows', all_as_text)
        else pg_catalog.concat(
            pg_catalog.format('audit_internal.%I(tg_relid, ''(0,0)'', ''(4294967295,0)'') as old (', audit_internal.read_function(tracked.relation)),
            audit_internal.plain_columns(tracked.relation),
            ')'
        )
    end
$$;

comment on function audit_internal.changed_rows_sql(audit.tracked_table, text, boolean) is
    'The FROM item of the rows that a statement changed; null where the trigger has them as `old` and `new`, and may record them as they are.';

create or replace function audit_internal.updates_sql(tracked audit.tracked_table, with_rules boolean, all_as_text boolean, cleans boolean)
returns text
language sql
stable
as $$
    -- A row belongs to the resource that its key says, so old and new are paired by it. Of a key that is only on one side,
    -- since the update changed it, the other half is at the same place among those: in the order of the update. (Numbered before
    -- anything is joined, which has an order of its own.)
    select pg_catalog.concat(
        audit_internal.selection_sql(
            tracked, 'UPDATE', audit_internal.changed_rows_sql(tracked, 'UPDATE', all_as_text), with_rules, cleans, differs
        ),
        E'\n        recorded_rows := recorded_rows or found;\n        if exists (select from ', old_item,
        ' where not exists (select from ', new_item, ' where ', pairing, E')) then\n        ',
        audit_internal.selection_sql(
            tracked,
            'UPDATE',
            pg_catalog.concat(
                E'(\n            select old.*, row_number() over (order by old."pgtrail number") as "pgtrail place"\n',
                '            from (select old.*, row_number() over () as "pgtrail number" from ', old_item, E') as old\n',
                '            where not exists (select from ', new_item, ' where ', pairing, E')\n        ) as old\n',
                E'        join (\n            select new.*, row_number() over (order by new."pgtrail number") as "pgtrail place"\n',
                '            from (select new.*, row_number() over () as "pgtrail number" from ', new_item, E') as new\n',
                '            where not exists (select from ', old_item, ' where ', pairing, E')\n        ) as new',
                ' on new."pgtrail place" = old."pgtrail place"'
            ),
            with_rules,
            cleans,
            differs
        ),
        E'\n        recorded_rows := true;\n        end if;'
    )
    from audit_internal.same_resource_sql(tracked) as pairing
    cross join lateral (
        select
            audit_internal.column_sql(tracked.relation, 'old', 'old_rows', all_as_text),
            audit_internal.column_sql(tracked.relation, 'new', 'new_rows', all_as_text),
            (
                select pg_catalog.concat('(', pg_catalog.string_agg(audit_internal.column_changed_sql(tracked.relation, name), ' or ' order by number), ')')
                from audit_internal.audited_columns(tracked)
            )
    ) as item (old_item, new_item, differs)
$$;

comment on function audit_internal.updates_sql(audit.tracked_table, boolean, boolean, boolean) is
    'SQL that records what a statement updated, all at once.';

create or replace function audit_internal.recording_sql(
    tracked audit.tracked_table, event_operation text, with_rules boolean, all_as_text boolean, cleans boolean
)
returns text
language sql
stable
as $$
    select case
        when event_operation = 'UPDATE' and not audit_internal.records_by_row(tracked, event_operation)
            then audit_internal.updates_sql(tracked, with_rules, all_as_text, cleans)
        else audit_internal.selection_sql(
            tracked, event_operation, audit_internal.changed_rows_sql(tracked, event_operation, all_as_text), with_rules, cleans
        )
    end
$$;

comment on function audit_internal.recording_sql(audit.tracked_table, text, boolean, boolean, boolean) is
    'SQL that records what a statement changed, with the names that the rules give or the table''s default ones.';

create or replace function audit_internal.statement_recording_sql(tracked audit.tracked_table, event_operation text)
returns text
language plpgsql
stable
as $$
declare
    suspicion constant text := (
        select string_agg(
            'exists (select from (select ' || audit_internal.texts_sql(tracked, row_name)
                || format(' as texts from %1$s_rows as %1$s offset 0) as held where audit_internal.may_hold_secret_value(texts))', row_name),
            E'\n            or '
        )
        from unnest(audit_internal.rows_of(event_operation)) as row_name
    );
begin
    return case
        -- (What reads a TRUNCATE's rows reads them once.)
        when event_operation = 'TRUNCATE' then audit_internal.recording_sql(tracked, event_operation, with_rules => true, all_as_text => false, cleans => true)
        else concat(
            'if ' || suspicion || E' then\n        '
                || audit_internal.recording_sql(tracked, event_operation, with_rules => true, all_as_text => false, cleans => true)
                || E'\n        else\n        ',
            audit_internal.recording_sql(tracked, event_operation, with_rules => true, all_as_text => false, cleans => false),
            case when suspicion is not null then E'\n        end if;' end
        )
    end;
end
$$;

comment on function audit_internal.statement_recording_sql(audit.tracked_table, text) is
    'PL/pgSQL of a trigger for each statement that records its rows, looked through for secrets where one of them may hold one.';

create or replace function audit_internal.fallback_sql(tracked audit.tracked_table, event_operation text)
returns text
language sql
stable
as $$
    select audit_internal.recording_sql(tracked, event_operation, with_rules => false, all_as_text => true, cleans => true)
$$;

comment on function audit_internal.fallback_sql(audit.tracked_table, text) is
    'SQL that records what a statement changed where what was compiled for it can''t be used: all values as text, without the rules.';

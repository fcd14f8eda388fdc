-- The events of rows are stored; a row that does not fit its table, found by halving, is stored by the names in it.

-- The events of a batch: of tables with a statement by their settings, of all others by the names in them.
create function pg_temp.imported_events(
    p_import audit.import, p_rows audit.imported_row[], p_names jsonb, p_tables audit.tracked_table[], p_importers text[], p_statements text[]
)
returns table (
    number bigint, ordinal bigint, occurred_at timestamptz, imported_from text, category text, action text, operation text, table_name text, org_id text,
    resource_type text, resource_id text, resource_label text, actor_type text, actor_id text, actor_ip inet, user_agent text,
    before jsonb, after jsonb, changed text[]
)
language sql
as $$
    select
        event.number,
        event.ordinal,
        seen.occurred_at,
        concat_ws(' ', p_import.tool, p_import.source, seen.row_id),
        event.category,
        event.action,
        case when event.differs then seen.operation end,
        (chosen.settings).name,
        event.org_id,
        (chosen.settings).resource,
        event.resource_id,
        event.resource_label,
        seen.actor_type,
        seen.actor_id,
        seen.actor_ip,
        seen.user_agent,
        case when event.differs and seen.operation <> 'INSERT' then event.before end,
        case when event.differs and seen.operation <> 'DELETE' then event.after end,
        case when event.differs and seen.operation = 'UPDATE' then event.changed end
    from generate_subscripts(p_tables, 1) as target (number)
    cross join lateral (select p_tables[target.number] as settings) as chosen
    cross join lateral (
        select by_settings.*
        from pg_temp.events_by_settings(p_import.tool, p_rows, p_names, chosen.settings, p_importers[target.number], p_statements[target.number]) as by_settings
        union all
        select by_names.*
        from pg_temp.events_by_names(p_import.tool, p_rows, p_names, chosen.settings, p_statements[target.number] is not null) as by_names
    ) as event
    join unnest(p_rows) with ordinality as seen on seen.ordinality = event.number
$$;

-- Stores which row was not imported, or not as its table's settings say, and why.
create function pg_temp.note_import_problem(p_import_id integer, p_row audit.imported_row, p_skipped boolean, p_problem text)
returns void
language sql
as $$
    insert into audit.import_problem (import_id, row_id, table_name, skipped, problem)
    values (p_import_id, p_row.row_id, p_row.table_name, p_skipped, p_problem)
    on conflict (import_id, row_id) do update
    set skipped = excluded.skipped, problem = excluded.problem, noted_at = excluded.noted_at
$$;

-- Records (or only counts) pg_temp.imported_events(). How many, by table; imported: of how many rows.
create function pg_temp.insert_imported(
    p_import audit.import, p_rows audit.imported_row[], p_names jsonb, p_tables audit.tracked_table[], p_importers text[],
    p_statements text[], p_dry_run boolean
)
returns table (table_name text, events bigint, imported bigint)
language plpgsql
as $$
#variable_conflict use_column
begin
    if p_dry_run then
        return query
        select found.table_name, count(*), count(distinct found.imported_from)
        from pg_temp.imported_events(p_import, p_rows, p_names, p_tables, p_importers, p_statements) as found
        group by found.table_name;
        return;
    end if;
    return query
    with stored as (
        insert into audit.event (
            occurred_at, imported_from, category, action, operation, table_name, org_id, resource_type, resource_id,
            resource_hash, resource_label, actor_type, actor_id, actor_ip, user_agent, before, after, changed
        )
        select
            found.occurred_at, found.imported_from, found.category, found.action, found.operation, found.table_name, found.org_id,
            found.resource_type, found.resource_id, hashtextextended(found.resource_id, 0), found.resource_label,
            found.actor_type, found.actor_id, found.actor_ip, found.user_agent,
            found.before, found.after, found.changed
        from pg_temp.imported_events(p_import, p_rows, p_names, p_tables, p_importers, p_statements) as found
        -- Changes of one transaction may have the same time: ids keep their order.
        order by found.number, found.ordinal
        returning table_name, imported_from
    )
    select stored.table_name, count(*), count(distinct stored.imported_from)
    from stored
    group by stored.table_name;
end
$$;

-- Records the events of rows; of those that do not fit, found by halving, by the names in them. How many, by table.
create function pg_temp.store_imported(
    p_import audit.import, p_rows audit.imported_row[], p_names jsonb, p_tables audit.tracked_table[], p_importers text[],
    p_statements text[], p_dry_run boolean
)
returns table (table_name text, events bigint, imported bigint, unfit bigint, skipped bigint)
language plpgsql
as $$
declare
    half integer := cardinality(p_rows) / 2;
    name text := coalesce(p_names ->> p_rows[1].table_name, p_rows[1].table_name);
    state text;
begin
    begin
        return query
        select found.table_name, found.events, found.imported, 0::bigint, 0::bigint
        from pg_temp.insert_imported(p_import, p_rows, p_names, p_tables, p_importers, p_statements, p_dry_run) as found;
        return;
    exception
        when insufficient_privilege then
            raise;
        when data_exception or program_limit_exceeded or integrity_constraint_violation or syntax_error_or_access_rule_violation then
            state := sqlstate;
    end;
    if half > 0 then
        -- One of them does not fit: all others do.
        return query
        select found.*
        from (values (p_rows[:half]), (p_rows[half + 1:])) as part (rows)
        cross join lateral pg_temp.store_imported(p_import, part.rows, p_names, p_tables, p_importers, p_statements, p_dry_run) as found;
        return;
    end if;
    begin
        return query
        select found.table_name, found.events, found.imported, 1::bigint, 0::bigint
        from pg_temp.insert_imported(p_import, p_rows, p_names, p_tables, '{}', '{}', p_dry_run) as found;
        perform pg_temp.note_import_problem(
            p_import.id, p_rows[1], false, format('it does not fit %s as it is now (SQLSTATE %s): imported by the names in it', name, state)
        );
    exception
        when data_exception or program_limit_exceeded or integrity_constraint_violation or syntax_error_or_access_rule_violation then
            perform pg_temp.note_import_problem(p_import.id, p_rows[1], true, format('it can''t be stored as an event (SQLSTATE %s)', sqlstate));
            return query values (name, 0::bigint, 0::bigint, 0::bigint, 1::bigint);
    end;
end
$$;

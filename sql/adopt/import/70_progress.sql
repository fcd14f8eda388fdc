-- How far a tool's table has been read: audit.import.

-- How far a tool's table has been read; of no run is in progress, of a new one up to the key p_bound. Nobody else stores of
-- it until the end of the transaction. PT002.
create function pg_temp.begin_import(p_tool text, p_source regclass, p_bound bigint)
returns audit.import
language plpgsql
as $$
declare
    state audit.import;
begin
    insert into audit.import (tool, relation, source)
    values (p_tool, p_source, audit_internal.qualified_name(p_source))
    on conflict (relation) do nothing;
    -- Two at once: the second waits for the first.
    select * into strict state from audit.import where relation = p_source for update;
    if state.tool <> p_tool then
        raise exception using
            errcode = 'PT002',
            message = format('%s was imported as a table of %s', p_source, state.tool),
            hint = format('Import it as that: pgtrail import %s.', state.tool);
    end if;
    if state.begun_at is null then
        update audit.import
        set
            last_key = settled_key,
            last_row = settled_row,
            bound_key = coalesce(p_bound, 9223372036854775807),
            -- Ids are assigned in order, but their transactions may still be open.
            bound_xid = case when p_tool <> 'litellm' then pg_snapshot_xmax(pg_current_snapshot()) end,
            begun_at = clock_timestamp(),
            rows = 0, imported = 0, events = 0, unfit = 0, skipped = 0, first_at = null, last_at = null
        where id = state.id
        returning * into state;
    end if;
    return state;
end
$$;

-- Stores how far a table has been read, and what came of it: of the run, and (returned) of this batch by table.
create function pg_temp.advance_import(
    state audit.import, p_rows audit.imported_row[], p_horizon xid8, p_dry_run boolean, p_read jsonb, p_stored jsonb
)
returns jsonb
language plpgsql
as $$
declare
    was audit.import := state;
    done jsonb;
begin
    select key, case state.tool when 'litellm' then row_id else '' end
    into state.last_key, state.last_row
    from unnest(p_rows)
    order by key desc, row_id desc
    limit 1;
    if (was.last_key, was.last_row) = (was.settled_key, was.settled_row)
        and (
            p_horizon >= state.bound_xid
            -- Its rows are written after the changes that they record, by some other clock.
            or (state.tool = 'litellm' and state.last_key < extract(epoch from now() - interval '1 day') * 1000000)
        )
    then
        state.settled_key := state.last_key;
        state.settled_row := state.last_row;
    end if;
    if (state.last_key, state.last_row) > (state.high_key, state.high_row) then
        state.high_key := state.last_key;
        state.high_row := state.last_row;
    end if;

    select jsonb_build_object(
        'rows', cardinality(p_rows),
        'imported', coalesce(sum(imported), 0),
        'events', coalesce(sum(events), 0),
        'unfit', coalesce(sum(unfit), 0),
        'skipped', cardinality(p_rows) - coalesce(sum(dated), 0) + coalesce(sum(skipped), 0),
        'first_at', min(first_at),
        'last_at', max(last_at),
        'tables', coalesce(jsonb_agg(by_table order by "table") filter (where "table" is not null), '[]')
    )
    into done
    from (
        select
            seen."table", seen.tracked, seen.rows, seen.rows as dated, seen.first_at, seen.last_at,
            coalesce(sum(stored.imported), 0) as imported, coalesce(sum(stored.events), 0) as events,
            coalesce(sum(stored.unfit), 0) as unfit, coalesce(sum(stored.skipped), 0) as skipped
        from jsonb_to_recordset(p_read) as seen (
            "table" text, tracked boolean, rows bigint, first_at timestamptz, last_at timestamptz
        )
        left join jsonb_to_recordset(p_stored) as stored (
            table_name text, events bigint, imported bigint, unfit bigint, skipped bigint
        ) on stored.table_name = seen."table"
        group by seen."table", seen.tracked, seen.rows, seen.first_at, seen.last_at
    ) as by_table;

    if was.imported = 0 and (done ->> 'imported')::bigint > 0 and not p_dry_run then
        -- Recorded now, in case the run is killed.
        perform audit.record(
            'audit.import_begun', 'import', state.id::text, state.source, null, jsonb_build_object('tool', state.tool, 'source', state.source)
        );
    end if;
    update audit.import
    set
        settled_key = state.settled_key,
        settled_row = state.settled_row,
        last_key = state.last_key,
        last_row = state.last_row,
        high_key = state.high_key,
        high_row = state.high_row,
        rows = was.rows + (done ->> 'rows')::bigint,
        imported = was.imported + (done ->> 'imported')::bigint,
        events = was.events + (done ->> 'events')::bigint,
        unfit = was.unfit + (done ->> 'unfit')::bigint,
        skipped = was.skipped + (done ->> 'skipped')::bigint,
        first_at = least(was.first_at, (done ->> 'first_at')::timestamptz),
        last_at = greatest(was.last_at, (done ->> 'last_at')::timestamptz)
    where id = state.id;
    return done;
end
$$;

-- Ends the run in progress, and records it if anything was imported: which table, how many, from when to when.
create function pg_temp.end_import(p_import_id integer, p_dry_run boolean)
returns jsonb
language plpgsql
as $$
declare
    state audit.import;
    total jsonb;
begin
    update audit.import
    set begun_at = null, last_key = settled_key, last_row = settled_row
    where id = p_import_id and begun_at is not null
    returning * into state;
    total := jsonb_build_object(
        'tool', state.tool, 'source', state.source, 'rows', state.rows, 'imported', state.imported, 'events', state.events,
        'unfit', state.unfit, 'skipped', state.skipped, 'first_at', state.first_at, 'last_at', state.last_at
    );
    -- A run without new rows is not recorded.
    if state.imported > 0 and not p_dry_run then
        perform audit.record('audit.imported', 'import', state.id::text, state.source, null, total);
    end if;
    return total;
end
$$;

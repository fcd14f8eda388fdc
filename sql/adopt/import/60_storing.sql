-- 

-- The events of a batch: of tables with a statement by their settings, of all others by the names in them.
create function pg_temp.imported_events(
    p_import audit.import, p_rows audit.imported_row[], p_names jsonb, p_tables audit.tracked_table[], p_importers text[], p_statements text[]
)
returns table (
    number bigint, place bigint, occurred_at timestamptz, imported_from text, category text, action text, operation text, table_name text, org_id text,
    resource_type text, resource_id text, resource_label text, actor_type text, actor_id text, actor_ip inet, user_agent text,
    before jsonb, after jsonb, changed text[]
)
language sql
volatile
as $$
    select
        seen.number,
        event.place,
        seen.occurred_at,
        concat_ws(' ', p_import.tool, p_import.source, seen.row_id),
        event.category,
        event.action,
        case when event.moved then seen.operation end,
        (chosen.settings).name,
        event.org_id,
        (chosen.settings).resource,
        event.resource_id,
        event.resource_label,
        seen.actor_type,
        seen.actor_id,
        seen.actor_ip,
        seen.user_agent,
        case when event.moved and seen.operation <> 'INSERT' then event.before end,
        case when event.moved and seen.operation <> 'DELETE' then event.after end,
        case when event.moved and seen.operation = 'UPDATE' then event.changed end
    from generate_subscripts(p_tables, 1) as position (number)
    cross join lateral (select p_tables[position.number] as settings) as chosen
    cross join lateral (
        select by_settings.*
        from pg_temp.events_by_settings(p_import.tool, p_rows, p_names, chosen.settings, p_importers[position.number], p_statements[position.number]) as by_settings
        union all
        select by_names.*
        from pg_temp.events_by_names(p_import.tool, p_rows, p_names, chosen.settings, p_statements[position.number] is not null) as by_names
    ) as event
    join unnest(p_rows) with ordinality as seen (
        key, row_id, occurred_at, xid, operation, verb, table_name, table_oid, object_id, record_id,
        actor_type, actor_id, actor_ip, user_agent, before, after, number
    ) on seen.number = event.number
$$;

-- Keeps which row was not imported as it should be, and why.
create function pg_temp.note_import_problem(p_import_id integer, p_row audit.imported_row, p_skipped boolean, p_problem text)
returns void
language sql
volatile
as $$
    insert into audit.import_problem (import_id, row_id, table_name, skipped, problem)
    values (p_import_id, p_row.row_id, p_row.table_name, p_skipped, p_problem)
    on conflict (import_id, row_id) do update
    set skipped = excluded.skipped, problem = excluded.problem, noted_at = excluded.noted_at
$$;

-- Records (or only counts) audit.imported_events(). How many, by table; imported: of how many rows.
create function pg_temp.insert_imported(
    p_import audit.import, p_rows audit.imported_row[], p_names jsonb, p_tables audit.tracked_table[], p_importers text[],
    p_statements text[], p_dry_run boolean
)
returns table (table_name text, events bigint, imported bigint)
language plpgsql
volatile
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
        -- What happened in one transaction may have one time: ids tell the order.
        order by found.number, found.place
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
volatile
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
            perform pg_temp.note_import_problem(p_import.id, p_rows[1], true, format('it is no event (SQLSTATE %s)', sqlstate));
            return query values (name, 0::bigint, 0::bigint, 0::bigint, 1::bigint);
    end;
end
$$;

-- Whether a row of another tool's log is about one of pgtrail's own tables: nobody else has recorded those.
create function pg_temp.tells_of_pgtrail(table_name text, table_oid oid)
returns boolean
language sql
stable
as $$
    -- (Another tool's schema may have been called so, too: then its own tables are meant, which are none of ours.)
    select exists (
        select
        from pg_class
        where pg_class.relnamespace = 'audit'::regnamespace
            and (
                pg_class.oid = table_oid
                -- (However it is written.)
                or regexp_replace(lower(table_name collate "C"), '[[:space:]"]', '', 'g') = 'audit.' || pg_class.relname
            )
    )
$$;

-- Whether something can have been recorded at that time.
create function pg_temp.can_be_dated(moment timestamptz)
returns boolean
language sql
stable
as $$
    select coalesce(moment between '1970-01-01' and now() + interval '1 minute', false)
$$;

-- How far a tool's table has been read; of no run is in progress, of a new one up to the key p_bound. Nobody else stores of it until the end of the transaction. PT060.
create function pg_temp.begin_import(p_tool text, p_source regclass, p_bound bigint)
returns audit.import
language plpgsql
volatile
as $$
declare
    state audit.import;
begin
    -- The mark names the source, so that is not the caller's to choose.
    if not coalesce(pg_temp.import_columns(p_tool) <@ audit.column_names(p_source), false) then
        raise exception using
            errcode = 'PT060',
            message = format('%s is no table of %s', p_source, p_tool),
            hint = 'Name the table that holds its log.';
    end if;
    insert into audit.import (tool, relation, source)
    values (p_tool, p_source, audit.qualified_name(p_source))
    on conflict (relation) do nothing;
    -- Two at once: the second waits until the first has stored what it read.
    select * into strict state from audit.import where relation = p_source for update;
    if state.tool <> p_tool then
        raise exception using
            errcode = 'PT060',
            message = format('%s was imported as a table of %s', p_source, state.tool),
            hint = format('Import it as that: pgtrail import %s.', state.tool);
    end if;
    if state.begun_at is null then
        update audit.import
        set
            last_key = settled_key,
            last_row = settled_row,
            bound_key = coalesce(p_bound, 9223372036854775807),
            -- Ids have been given in their order, but not to the end of their transactions.
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
    state audit.import, p_rows audit.imported_row[], p_horizon xid8, p_dry_run boolean, p_told jsonb, p_stored jsonb
)
returns jsonb
language plpgsql
volatile
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
            -- Its rows are written after what they tell of, by whatever clock.
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
            told."table", told.tracked, told.rows, told.rows as dated, told.first_at, told.last_at,
            coalesce(sum(stored.imported), 0) as imported, coalesce(sum(stored.events), 0) as events,
            coalesce(sum(stored.unfit), 0) as unfit, coalesce(sum(stored.skipped), 0) as skipped
        from jsonb_to_recordset(p_told) as told (
            "table" text, tracked boolean, rows bigint, first_at timestamptz, last_at timestamptz
        )
        left join jsonb_to_recordset(p_stored) as stored (
            table_name text, events bigint, imported bigint, unfit bigint, skipped bigint
        ) on stored.table_name = told."table"
        group by told."table", told.tracked, told.rows, told.first_at, told.last_at
    ) as by_table;

    if was.imported = 0 and (done ->> 'imported')::bigint > 0 and not p_dry_run then
        -- Before it ends, or is killed.
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

-- Records what rows of a tool's table tell of, once, and how far it has been read; or makes the months that they need, and nothing else. p_horizon: all transactions before it had ended when the rows were read.
create function pg_temp.store_import(
    p_import_id integer, p_rows audit.imported_row[], p_horizon xid8, p_dry_run boolean
)
returns jsonb
language plpgsql
volatile
as $$
declare
    state audit.import := (select import from audit.import where id = p_import_id for update);
    -- (Looked up once for each table, not for each row.)
    own_tables text[] := array(
        select concat_ws(' ', told.table_oid, told.table_name)
        from (select distinct seen.table_name, seen.table_oid from unnest(p_rows) as seen offset 0) as told
        where pg_temp.tells_of_pgtrail(told.table_name, told.table_oid)
    );
    dated audit.imported_row[] := array(
        select seen
        from unnest(p_rows) as seen
        where pg_temp.can_be_dated(seen.occurred_at) and concat_ws(' ', seen.table_oid, seen.table_name) <> all (own_tables)
    );
    plan record;
    made integer;
    told jsonb;
    stored jsonb := '[]';
begin
    if exists (select from unnest(p_rows) as seen where seen.key is null or seen.row_id is null) then
        raise not_null_violation using message = 'a row without a key can''t be marked as imported';
    end if;
    if not p_dry_run then
        made := audit.make_past_partitions(array(select occurred_at from unnest(dated)));
        if made > 0 then
            -- Committed first: who reads the log waits for them no longer than they take to make.
            return jsonb_build_object('partitions', made);
        end if;
    end if;
    perform pg_temp.note_import_problem(state.id, seen, true, 'it has no time, or one in the future or before 1970')
    from unnest(p_rows) as seen
    where not pg_temp.can_be_dated(seen.occurred_at);
    perform pg_temp.note_import_problem(state.id, seen, true, 'it tells of pgtrail''s own tables, which only pgtrail does')
    from unnest(p_rows) as seen
    where pg_temp.can_be_dated(seen.occurred_at) and concat_ws(' ', seen.table_oid, seen.table_name) = any (own_tables);

    select * into plan from pg_temp.plan_import(dated, p_dry_run);
    select coalesce(jsonb_agg(by_table), '[]')
    into told
    from (
        select
            plan.names ->> seen.table_name as "table",
            plan.names ->> seen.table_name = any (plan.tracked) as tracked,
            count(*) as rows,
            min(seen.occurred_at) as first_at,
            max(seen.occurred_at) as last_at
        from unnest(dated) as seen
        group by 1, 2
    ) as by_table;
    -- Behind what was ever read nothing can be in the log.
    if p_rows[1].key <= state.high_key then
        dated := array(
            select seen
            from unnest(dated) as seen
            where not exists (
                select
                from audit.event
                where event.occurred_at = seen.occurred_at
                    and event.imported_from = concat_ws(' ', state.tool, state.source, seen.row_id)
            )
        );
    end if;
    if dated <> '{}' then
        select coalesce(jsonb_agg(each_stored), '[]')
        into stored
        from pg_temp.store_imported(state, dated, plan.names, plan.tables, plan.importers, plan.statements, p_dry_run) as each_stored;
    end if;
    return pg_temp.advance_import(state, p_rows, p_horizon, p_dry_run, told, stored);
end
$$;

-- Ends the run in progress, and records it if anything was imported: which table, how many, from when to when.
create function pg_temp.end_import(p_import_id integer, p_dry_run boolean)
returns jsonb
language plpgsql
volatile
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
    -- A run that found nothing new is no event.
    if state.imported > 0 and not p_dry_run then
        perform audit.record('audit.imported', 'import', state.id::text, state.source, null, total);
    end if;
    return total;
end
$$;

-- Reads the next rows of another tool's table (supa_audit, audit_trigger, litellm) and records what they tell of, as audit.import says how far it is: call it until it returns `total`, each time in its own transaction; or, for a rehearsal (p_dry_run), all in one that is rolled back. `partitions`: it made months and read nothing. PT060.
create function pg_temp.import_batch(
    p_tool text, p_source regclass, p_max_rows integer default 5000, p_dry_run boolean default false
)
returns jsonb
language plpgsql
volatile
-- A row that a policy hides would be lost: rather an error.
set row_security = off
as $$
declare
    state audit.import;
    bound bigint;
    horizon xid8;
    read audit.imported_row[];
    place text := pg_temp.hold_for_reading(p_source);
begin
    perform pg_temp.check_source(p_tool, p_source);
    if p_tool <> 'litellm' then
        execute format(
            'select coalesce(max(%I), 0) from %s as log',
            case p_tool when 'supa_audit' then 'id' else 'event_id' end,
            place
        )
        into bound;
    end if;
    state := pg_temp.begin_import(p_tool, p_source, bound);
    horizon := pg_snapshot_xmin(pg_current_snapshot());
    execute concat(
        'select coalesce(array_agg(seen order by (seen).key, (seen).row_id), ''{}'') from (', pg_temp.import_reading(p_tool, p_source, place),
        ') as found (seen)'
    )
    into read
    using state.last_key, state.last_row, p_max_rows, state.bound_key;
    perform pg_temp.let_go(place);
    if read = '{}' then
        return jsonb_build_object('total', pg_temp.end_import(state.id, p_dry_run));
    end if;
    return pg_temp.store_import(state.id, read, horizon, p_dry_run);
end
$$;

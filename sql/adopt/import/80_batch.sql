-- Called by pgtrail import: one batch, read as the caller and stored as audit_owner.

-- Whether a row of another tool's log is about one of pgtrail's own tables, which no other tool has recorded.
create function pg_temp.is_own_table(table_name text, table_oid oid)
returns boolean
language sql
stable
as $$
    -- (Another tool may have had a schema of that name, with other tables.)
    select exists (
        select
        from pg_class
        where pg_class.relnamespace = 'audit'::regnamespace
            and (
                pg_class.oid = table_oid
                -- (However it is quoted.)
                or regexp_replace(lower(table_name collate "C"), '[[:space:]"]', '', 'g') = 'audit.' || pg_class.relname
            )
    )
$$;

-- Whether a time is one at which an event can have been recorded.
create function pg_temp.has_valid_time(moment timestamptz)
returns boolean
language sql
stable
as $$
    select coalesce(moment between '1970-01-01' and now() + interval '1 minute', false)
$$;

-- Records what rows of a tool's table tell of, once, and how far it has been read; or makes the months that they need, and
-- nothing else. p_horizon: all transactions before it had ended when the rows were read.
create function pg_temp.store_import(
    p_import_id integer, p_rows audit.imported_row[], p_horizon xid8, p_dry_run boolean
)
returns jsonb
language plpgsql
as $$
declare
    state audit.import := (select import from audit.import where id = p_import_id for update);
    -- (Looked up once for each table, not for each row.)
    own_tables text[] := array(
        select concat_ws(' ', seen_table.table_oid, seen_table.table_name)
        from (select distinct seen.table_name, seen.table_oid from unnest(p_rows) as seen offset 0) as seen_table
        where pg_temp.is_own_table(seen_table.table_name, seen_table.table_oid)
    );
    dated audit.imported_row[] := array(
        select seen
        from unnest(p_rows) as seen
        where pg_temp.has_valid_time(seen.occurred_at) and concat_ws(' ', seen.table_oid, seen.table_name) <> all (own_tables)
    );
    plan record;
    made integer;
    rows_by_table jsonb;
    stored jsonb := '[]';
begin
    if not p_dry_run then
        made := audit_internal.make_missing_partitions(array(select occurred_at from unnest(dated)));
        if made > 0 then
            -- Committed first, so that readers of the log wait as briefly as possible.
            return jsonb_build_object('partitions', made);
        end if;
    end if;
    perform pg_temp.note_import_problem(state.id, seen, true, 'its time is missing, in the future or before 1970')
    from unnest(p_rows) as seen
    where not pg_temp.has_valid_time(seen.occurred_at);
    perform pg_temp.note_import_problem(state.id, seen, true, 'it is about pgtrail''s own tables, which only pgtrail records')
    from unnest(p_rows) as seen
    where pg_temp.has_valid_time(seen.occurred_at) and concat_ws(' ', seen.table_oid, seen.table_name) = any (own_tables);

    select * into plan from pg_temp.plan_import(dated, p_dry_run);
    select coalesce(jsonb_agg(by_table), '[]')
    into rows_by_table
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
    -- Rows beyond the highest one ever read can't be in the log.
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
    perform pg_temp.drop_importers();
    return pg_temp.advance_import(state, p_rows, p_horizon, p_dry_run, rows_by_table, stored);
end
$$;

-- Reads the next rows of another tool's table (supa_audit, audit_trigger, litellm) and records what they tell of, as
-- audit.import says how far it is: call it until it returns `total`, each time in its own transaction; or, for a rehearsal
-- (p_dry_run), all in one that is rolled back. `partitions`: it made months and read nothing. PT002.
create function pg_temp.import_batch(
    p_tool text, p_source regclass, p_max_rows integer default 5000, p_dry_run boolean default false
)
returns jsonb
language plpgsql
-- An error, rather than losing the rows that a policy hides.
set row_security = off
as $$
declare
    -- The caller reads the tool's table; audit_owner stores.
    caller constant text := current_setting('role');
    state audit.import;
    done jsonb;
    bound bigint;
    horizon xid8;
    read audit.imported_row[];
    source_name text := pg_temp.hold_for_reading(p_source);
begin
    perform pg_temp.check_source(p_tool, p_source);
    if p_tool <> 'litellm' then
        execute format(
            'select coalesce(max(%I), 0) from %s as log',
            case p_tool when 'supa_audit' then 'id' else 'event_id' end,
            source_name
        )
        into bound;
    end if;
    perform set_config('role', 'audit_owner', true);
    state := pg_temp.begin_import(p_tool, p_source, bound);
    horizon := pg_snapshot_xmin(pg_current_snapshot());
    perform set_config('role', caller, true);
    execute concat(
        'select coalesce(array_agg(next order by (next).key, (next).row_id), ''{}'') '
        'from (select row(seen.*)::audit.imported_row from ', pg_temp.import_rows(p_tool, p_source, source_name),
        ' order by seen.key, seen.row_id limit $3) as found (next)'
    )
    into read
    using state.last_key, state.last_row, p_max_rows, state.bound_key;
    perform pg_temp.release_source(source_name);
    perform set_config('role', 'audit_owner', true);
    if read = '{}' then
        done := jsonb_build_object('total', pg_temp.end_import(state.id, p_dry_run));
    else
        done := pg_temp.store_import(state.id, read, horizon, p_dry_run);
    end if;
    perform set_config('role', caller, true);
    return done;
end
$$;

-- The rows of a tracked table as they are, as *.observed events, so that the first change of each has a before.
--
-- No writer waits for it, and the order of a resource's events holds: a batch takes the time and its ids first, then waits
-- for those who are writing to the table, and only then reads. Whoever was writing has an event by then, and its rows are
-- passed over; whoever comes later gets a later id.

create or replace function audit_internal.baseline_rows_sql(tracked audit.tracked_table, leaf regclass)
returns text
language sql
stable
as $$
    select pg_catalog.concat(
        pg_catalog.format('from audit_internal.%I(%L, $1, $2) as new (', audit_internal.read_function(tracked.relation), leaf::oid),
        audit_internal.plain_columns(tracked.relation),
        E')\n        where not exists (\n            select\n            from audit.event\n            where event.resource_hash = hashtextextended(',
        resource_id,
        E', 0)\n                and event.resource_id = ',
        resource_id,
        pg_catalog.format(E'\n                and event.resource_type = %L\n        )', tracked.resource)
    )
    from (select audit_internal.resource_id_sql(tracked, 'new')) as compiled (resource_id)
$$;

comment on function audit_internal.baseline_rows_sql(audit.tracked_table, regclass) is
    'SQL for the rows of a table, between the row addresses $1 and $2, of which the log has no event.';

create or replace function audit_internal.baseline_insert_sql(tracked audit.tracked_table, leaf regclass)
returns text
language sql
stable
as $$
    select pg_catalog.concat_ws(
        E',\n        ',
        'insert into audit.event (
        id, occurred_at, category, action, table_name, org_id, resource_type, resource_id, resource_hash, resource_label,
        actor_type, actor_id, actor_label, actor_ip, user_agent, request_id, reason, after
    )
    select
        taken.id',
        '$4',
        pg_catalog.quote_literal(tracked.category),
        pg_catalog.quote_literal(tracked.resource || '.observed'),
        pg_catalog.quote_literal(audit_internal.qualified_name(tracked.relation)),
        audit_internal.org_sql(tracked, 'new', 'INSERT'),
        pg_catalog.quote_literal(tracked.resource),
        audit_internal.resource_id_sql(tracked, 'new'),
        pg_catalog.concat('hashtextextended(', audit_internal.resource_id_sql(tracked, 'new'), ', 0)'),
        audit_internal.label_sql(tracked, 'new', 'INSERT'),
        'actor.type, actor.id, actor.label, actor.ip, actor.user_agent, actor.request_id, actor.reason',
        audit_internal.row_sql(tracked, 'new') || E'\n    from (\n        select new.*, row_number() over () as "pgtrail number"\n        '
            || audit_internal.baseline_rows_sql(tracked, leaf)
            || E'\n    ) as new\n    join unnest($3) with ordinality as taken (id, number) on taken.number = new."pgtrail number"\n'
            || '    cross join audit.current_actor() as actor'
    )
$$;

comment on function audit_internal.baseline_insert_sql(audit.tracked_table, regclass) is
    'SQL that records those rows as they are, with the ids $3 and the time $4.';

create or replace function audit_internal.wait_for_writers(written_relation regclass)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    patience constant interval := interval '30 s';
    began constant timestamptz := clock_timestamp();
    writers text[] := array(select writer from audit_internal.writers(written_relation) as writer);
begin
    while exists (select from audit_internal.writers(written_relation) as writer where writer = any (writers)) loop
        if clock_timestamp() > began + patience then
            raise exception using
                errcode = 'PT034',
                message = format('%s is in use: a transaction that has written to it stays open', written_relation),
                hint = 'End it (pg_stat_activity says whose it is) and run it again: what it has recorded stays.';
        end if;
        perform pg_sleep(0.005);
    end loop;
end
$$;

comment on function audit_internal.wait_for_writers(regclass) is
    'Waits until every transaction that is writing to a table now has ended, and keeps nobody waiting. PT034 after 30 s.';

create or replace function audit_internal.writers(written_relation regclass)
returns setof text
language sql
as $$
    select pg_locks.virtualtransaction
    from pg_catalog.pg_locks
    where pg_locks.locktype = 'relation'
        and pg_locks.database = (select oid from pg_catalog.pg_database where datname = current_database())
        and pg_locks.relation = written_relation
        and pg_locks.granted
        and pg_locks.pid is distinct from pg_catalog.pg_backend_pid()
        and pg_locks.mode in ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
$$;

comment on function audit_internal.writers(regclass) is 'The transactions, prepared ones too, that hold a lock under which a table is written to.';

create or replace function audit_internal.record_baseline_batch(tracked_relation regclass, leaf regclass, first_block bigint, end_block bigint)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
-- As audit_internal.settings_of_types() has them: values are written as the triggers write them.
set timezone = 'UTC'
set datestyle = 'ISO'
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set lc_monetary = 'C'
set extra_float_digits = 1
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
declare
    tracked audit.tracked_table;
    first_row tid := format('(%s,0)', first_block);
    end_row tid := format('(%s,0)', end_block);
    observed_at timestamptz;
    ids bigint[];
    expected bigint;
    observed bigint := 0;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception using
            errcode = 'PT035',
            message = format('a baseline can''t be recorded in a transaction that is %s', current_setting('transaction_isolation')),
            hint = 'First: set default_transaction_isolation to ''read committed''';
    end if;
    perform audit_internal.check_is_tracked(tracked_relation);
    if leaf not in (select relid from audit_internal.partition_tree(tracked_relation)) then
        perform audit_internal.check_is_tracked(leaf);
        raise invalid_parameter_value using message = format('%s is not a partition of %s', leaf, tracked_relation);
    end if;
    if not has_table_privilege(audit_internal.database_actor_id()::name, leaf, 'select') then
        raise insufficient_privilege using
            message = format('permission denied for table %s', leaf),
            hint = 'Whoever records a baseline must be allowed to read the table.';
    end if;
    select * into tracked from audit.tracked_table where relation = tracked_relation;

    -- Two at once: the second sees what the first has recorded.
    perform pg_advisory_xact_lock('audit.event'::regclass::oid::integer, hashint4(leaf::oid::integer));
    execute 'select count(*) ' || audit_internal.baseline_rows_sql(tracked, leaf) into expected using first_row, end_row;
    if expected > 0 then
        observed_at := clock_timestamp();
        ids := array(select nextval('audit.event_id_seq') from generate_series(1, expected));
        perform audit_internal.wait_for_writers(leaf);
        execute audit_internal.baseline_insert_sql(tracked, leaf) using first_row, end_row, ids, observed_at;
        get diagnostics observed = row_count;
        perform audit_internal.notify_workers();
    end if;
    return observed;
end
$$;

comment on function audit_internal.record_baseline_batch(regclass, regclass, bigint, bigint) is
    'Records the rows in some blocks of a tracked table, or of a partition of it, of which the log has no event: one batch of audit.record_baseline(). How many. PT002, PT034.';

create or replace function audit_internal.record_baseline_end(tracked_relation regclass, observed bigint)
returns bigint
language sql
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
    select audit.record(
        'audit.baseline_recorded', 'tracked_table', audit_internal.qualified_name(tracked_relation),
        audit_internal.qualified_name(tracked_relation), null, pg_catalog.jsonb_build_object('observed', observed)
    )
$$;

comment on function audit_internal.record_baseline_end(regclass, bigint) is 'Records that the baseline of a table is complete. The event''s id.';

create or replace function audit_internal.baseline_batches(tracked_relation regclass)
returns table (leaf regclass, first_block bigint, end_block bigint)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select
        place.relation,
        block,
        block + place.step
    from (
        select
            class.oid::regclass as relation,
            -- Of the size that it has now: what comes later has an event.
            pg_relation_size(class.oid) / current_setting('block_size')::bigint as blocks,
            case
                when class.reltuples > 0 then greatest(1, (1000 * class.relpages / class.reltuples)::bigint)
                -- Nobody has counted them yet.
                else 20
            end as step
        from (
            select relid from pg_partition_tree(tracked_relation) where isleaf union select tracked_relation
        ) as tree
        join pg_class as class on class.oid = tree.relid and class.relkind = 'r'
    ) as place
    cross join lateral generate_series(0, place.blocks - 1, place.step) as block
    order by place.relation, block
$$;

comment on function audit_internal.baseline_batches(regclass) is
    'The blocks of a table and its partitions in batches of about 1,000 rows, by the planner''s statistics.';

-- Without SET clauses, so that it may commit between batches.
create or replace procedure audit.record_baseline(relation regclass, inout observed bigint default 0)
language plpgsql
as $$
declare
    batch record;
begin
    -- Each transaction says so itself, whatever default_transaction_isolation is.
    commit;
    set transaction isolation level read committed;
    perform audit_internal.check_is_tracked(relation);
    for batch in select * from audit_internal.baseline_batches(relation) loop
        observed := observed operator(pg_catalog.+) audit_internal.record_baseline_batch(relation, batch.leaf, batch.first_block, batch.end_block);
        commit;
        set transaction isolation level read committed;
    end loop;
    perform audit_internal.record_baseline_end(relation, observed);
end
$$;

comment on procedure audit.record_baseline(regclass, bigint) is
    'Records the rows of a tracked table of which the log has no event, as they are, as <resource>.observed, in batches each of which commits: call audit.record_baseline(''public.team''). Called again it goes on where it ended. No writer waits for it. observed: how many. PT002, PT034, PT035.';

-- What prevents events from reaching their destinations. See audit.doctor().

create or replace function audit_internal.find_forwarding_problems()
returns setof audit.finding
language sql
stable
as $$
    -- Destinations that were restored from a dump.
    select
        'restored elsewhere',
        destination.name,
        'its cursor is from another cluster, whose transaction ids mean nothing here: nothing is sent; the last delivery was '
            || coalesce(
                pg_catalog.to_char(cursor.last_success_at at time zone 'UTC', '"at" YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'never'
            ),
        pg_catalog.format('pgtrail destination rebase %s --since …', destination.name)
    from audit.destination
    join audit.cursor on cursor.destination_id = destination.id and cursor.replay_id is null
    where cursor.system_identifier <> audit_internal.system_identifier()
    union all
    -- Whether no worker has reported for a minute, where there is something to be forwarded.
    (
        with last_report as (
            select pg_catalog.max(seen_at) as last_at from audit.worker
        )
        select
            'no worker',
            'pgtrail forward',
            coalesce(
                'no worker has reported for ' || pg_catalog.date_trunc('second', pg_catalog.clock_timestamp() - last_report.last_at),
                'no worker is known'
            ) || ': nothing is forwarded',
            'pgtrail forward'
        from last_report
        where coalesce(last_report.last_at, '-infinity') < pg_catalog.clock_timestamp() - interval '1 minute'
            and exists (select from audit.destination where not destination.paused)
    )
    union all
    -- Destinations, and replays to them, that need an operator, have failed for 5 days or can't be served by any worker; and
    -- those that have failed for more than 5 minutes.
    select
        pg_catalog.replace(shown.state, '_', ' '),
        destination.name,
        case
            when cursor.broken is not null then 'no worker can serve it: ' || cursor.broken
            else pg_catalog.format(
                'failing since %s%s: %s',
                pg_catalog.to_char(cursor.failing_since at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                case shown.state when 'retrying' then pg_catalog.format(' (%s attempts)', cursor.failures) end,
                cursor.last_error
            )
        end || coalesce(' (replay ' || cursor.replay_id || ')', ''),
        case shown.state when 'retrying' then 'nothing is lost, and it is retried automatically; ' else '' end || pg_catalog.format(
            'fix the cause of the error, then: pgtrail destination test %1$s && pgtrail destination resume %1$s', destination.name
        )
    from audit.destination
    join audit.cursor on cursor.destination_id = destination.id
    cross join lateral (select audit_internal.cursor_state(cursor)) as shown (state)
    where not destination.paused
        and (
            shown.state in ('needs_attention', 'suspended')
            or shown.state = 'retrying' and cursor.failing_since < pg_catalog.clock_timestamp() - interval '5 minutes'
        )
    union all
    -- As information, destinations that are served and more than 5 minutes behind.
    select
        'information',
        status.name,
        pg_catalog.format(
            'events that wait: %s, the oldest for %s; the last delivery was %s ago',
            status.events_behind,
            pg_catalog.date_trunc('second', pg_catalog.make_interval(secs => status.seconds_behind::double precision)),
            coalesce(pg_catalog.date_trunc('second', pg_catalog.clock_timestamp() - status.last_success_at)::text, 'never')
        ),
        pg_catalog.format('pgtrail destination show %s says whether it catches up', status.name)
    from audit.destination_status as status
    where status.events_behind > 0
        and status.seconds_behind > 300
        and status.state = 'active'
        and status.last_success_at is not null
    union all
    -- Destinations that were paused because of their receiver's response.
    select
        'receiver gone',
        destination.name,
        'its receiver responded 410 Gone, so the destination was paused: its events wait',
        pg_catalog.format('pgtrail destination resume %1$s, or: pgtrail destination remove %1$s', destination.name)
    from audit.destination
    where destination.paused
        and 410 = (
            select attempt.status
            from audit.attempt
            where attempt.destination_id = destination.id
            order by attempt.id desc
            limit 1
        )
    union all
    -- Destinations with events that have waited for more than a minute, while there was no attempt and none was to be
    -- waited for; and those whose filters raise an error.
    (
        with status as materialized (
            select * from audit.destination_status
        )
        select
            'filters fail',
            name,
            last_error || ': nothing is sent to it',
            pg_catalog.format('pgtrail destination remove --now %s, and add it with other filters', name)
        from status
        where events_behind is null
        union all
        select
            'standstill',
            status.name,
            pg_catalog.format(
                'events that wait: %s, the oldest for %s, and no worker sends them',
                status.events_behind,
                pg_catalog.date_trunc('second', pg_catalog.make_interval(secs => status.seconds_behind::double precision))
            ) || coalesce(
                case when status.lease_until > pg_catalog.clock_timestamp() then '; served by ' || status.lease_holder end, ''
            ),
            'start a worker (pgtrail forward), or read the log of the one that runs'
        from status
        join audit.cursor on cursor.destination_id = status.id and cursor.replay_id is null
        where status.events_behind > 0
            and status.seconds_behind > 60
            and status.state <> 'paused'
            and cursor.system_identifier = audit_internal.system_identifier()
            -- A destination that is due now is served at the next poll.
            and coalesce(greatest(status.last_attempt_at, status.retry_at), '-infinity')
                < pg_catalog.clock_timestamp() - interval '1 minute'
    )
    union all
    -- Destinations that are a million transactions behind; a worker moves even an idle one on every thousand.
    select
        'cursor stale',
        destination.name,
        pg_catalog.format(
            'its cursor is %s transactions behind, and each poll reads the events of all of them',
            audit_internal.transactions_between(cursor.batch_from, pg_catalog.pg_current_snapshot())
        ),
        pg_catalog.format(
            'start a worker (pgtrail forward), or remove it: pgtrail destination remove %s', destination.name
        )
    from audit.destination
    join audit.cursor on cursor.destination_id = destination.id and cursor.replay_id is null
    where not destination.paused
        and cursor.system_identifier = audit_internal.system_identifier()
        and audit_internal.transactions_between(cursor.batch_from, pg_catalog.pg_current_snapshot()) > 1000000
    union all
    -- Destinations that refused events which no redrive has delivered since.
    select
        'dead letters',
        destination.name,
        pg_catalog.format('events that it refused: %s, the last one with: %s', refused.events, refused.last_error),
        pg_catalog.format(
            'pgtrail destination show %1$s, then: pgtrail destination redrive %1$s --reason …', destination.name
        )
    from audit.destination
    cross join lateral (
        select
            pg_catalog.count(*) as events,
            (pg_catalog.array_agg(error order by last_at desc, event_id desc))[1] as last_error
        from audit.dead_letter
        where dead_letter.destination_id = destination.id and dead_letter.delivered_at is null
    ) as refused
    where refused.events > 0
    union all
    -- Destinations that were not paused within the last 7 days and are paused.
    select
        'paused for long',
        destination.name,
        'it has been paused for more than 7 days: its events wait, and retention keeps them',
        pg_catalog.format('pgtrail destination resume %1$s, or: pgtrail destination remove %1$s', destination.name)
    from audit.destination
    where destination.paused
        -- The log has the event of the pause; 7 days of it are found by its index.
        and not exists (
            select
            from audit.event
            where event.org_id is null
                and event.occurred_at > pg_catalog.now() - interval '7 days'
                and event.resource_type = 'destination'
                and event.resource_id = destination.id::text
                and 'paused' = any (event.changed)
        )
    union all
    -- audit_internal.notify_workers() does not notify because prepared transactions are enabled, and pgtrail.notify is not set.
    select
        'information',
        'NOTIFY',
        'prepared transactions are enabled, so nothing wakes the worker: it polls every second',
        pg_catalog.format(
            'alter database %I set pgtrail.notify = on where no transaction that writes to tracked tables is prepared, else off',
            pg_catalog.current_database()
        )
    where pg_catalog.current_setting('max_prepared_transactions') <> '0'
        and coalesce(pg_catalog.current_setting('pgtrail.notify', true), '') not in ('on', 'off')
        and exists (select from audit.destination where not destination.paused)
    union all
    -- Sessions that keep writers from notifying: any role can take an advisory lock.
    (
        -- (Read once: between two reads a writer may have ended.)
        with locks as materialized (
            select * from pg_catalog.pg_locks
        )
        select
            'wake-up held',
            coalesce(holder.usename::text, 'a prepared transaction'),
            'it holds the advisory lock of the wake-up without having recorded anything: nobody is notified, '
                'and new events are found by polling alone, a second or two later',
            case
                when held.pid is null then 'look for it in pg_prepared_xacts, then: rollback prepared …'
                else pg_catalog.format('select pg_terminate_backend(%s), and ask whoever uses that role', held.pid)
            end
        from locks as held
        left join pg_catalog.pg_stat_activity as holder on holder.pid = held.pid
        where held.locktype = 'advisory'
            and held.granted
            and held.database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
            and (held.classid::bigint << 32) + held.objid::bigint = audit_internal.notify_lock_key()
            and held.objsubid = 1
            -- A transaction that has recorded an event keeps a lock on the log until it ends.
            and not exists (
                select
                from locks as writing
                join pg_catalog.pg_partition_tree('audit.event') as log on log.relid = writing.relation
                where writing.virtualtransaction = held.virtualtransaction
                    and writing.database = held.database
                    and writing.mode = 'RowExclusiveLock'
            )
            -- A worker holds it for a second at most, and notifies in place of the writers.
            and (holder.usesysid is null or not pg_catalog.pg_has_role(holder.usesysid, 'audit_forwarder', 'member'))
    )
$$;

comment on function audit_internal.find_forwarding_problems() is 'What is wrong with forwarding: destinations, workers, the wake-up.';

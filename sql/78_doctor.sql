-- What is wrong, and what mends it: audit.doctor(). One function finds one kind of thing.

create or replace function audit.find_absent_triggers()
returns table (problem text, subject text, finding text, mend text)
language sql
stable
as $$
    select
        case shown.state
            when 'missing' then 'trigger missing'
            when 'altered' then 'trigger altered'
            else 'trigger disabled'
        end,
        audit.qualified_name(relation),
        pg_catalog.format(
            case shown.state
                when 'missing' then '%s is not there: what it would record is lost'
                when 'altered' then '%s is not as pgtrail created it: what it would record may be lost'
                when 'replica' then '%s fires in replication only: what it would record is lost'
                else '%s is disabled: what it would record is lost'
            end,
            trigger_name
        ),
        pg_catalog.format('select audit.recompile(%L)', audit.qualified_name(root))
    from audit.judged_triggers() as judged
    -- (A function that is not as compiled is found with the table.)
    cross join lateral (
        select audit.trigger_state(judged.state, judged.trigger_altered, false)
    ) as shown (state)
    where kind = 'capture' and shown.state not in ('enabled', 'always')
    union all
    select
        'trigger doubled',
        audit.qualified_name(trigger.tgrelid),
        pg_catalog.format('%s calls a function of pgtrail''s too: what it fires for is recorded twice', trigger.tgname),
        pg_catalog.format('select audit.recompile(%L)', audit.qualified_name(tracked.root))
    from pg_catalog.pg_trigger as trigger
    join pg_catalog.pg_proc as function
        on function.oid = trigger.tgfoid
        and function.pronamespace = 'audit'::pg_catalog.regnamespace
        and pg_catalog.starts_with(function.proname, 'capture ')
    cross join lateral (select audit.tracked_root(trigger.tgrelid)) as tracked (root)
    where trigger.tgname not in ('pgtrail_insert', 'pgtrail_update', 'pgtrail_delete', 'pgtrail_truncate')
        and trigger.tgparentid = 0
        and tracked.root is not null
        -- (One that was renamed has left a gap.)
        and exists (
            select from audit.own_triggers(array[tracked.root]) as present where present.function_oid = function.oid
        )
$$;

comment on function audit.find_absent_triggers() is 'Triggers of tracked tables, and of their partitions, that are gone, don''t fire, or are not what pgtrail created.';

create or replace function audit.find_absent_protection()
returns table (problem text, subject text, finding text, mend text)
language sql
stable
as $$
    select
        'log unprotected',
        audit.qualified_name(relation),
        pg_catalog.format(
            '%s %s: a superuser''s slip can change or remove events',
            trigger_name,
            case shown.state
                when 'missing' then 'is not there'
                when 'altered' then 'is not as pgtrail created it'
                when 'function altered' then 'calls a function that is not as pgtrail installed it'
                when 'replica' then 'fires in replication only'
                else 'is disabled'
            end
        ),
        case
            when shown.state = 'function altered' then
                'restore audit.refuse_change() and audit.erases_a_person() as sql/50_event.sql has them'
            when shown.state not in ('missing', 'altered') then
                pg_catalog.format('alter table %s enable trigger %I', audit.qualified_name(relation), trigger_name)
            when trigger_name = 'refuse_truncate' then
                pg_catalog.format(
                    'create or replace trigger refuse_truncate before truncate on %s for each statement execute function audit.refuse_change()',
                    audit.qualified_name(relation)
                )
            else
                pg_catalog.format(
                    'create or replace trigger refuse_change before update or delete on %s for each row execute function audit.refuse_change()',
                    -- (A partition's is its root's.)
                    audit.qualified_name(case shown.state when 'altered' then root else relation end)
                )
        end
    from audit.judged_triggers() as judged
    cross join lateral (
        select audit.trigger_state(judged.state, judged.trigger_altered, judged.function_altered)
    ) as shown (state)
    where kind = 'protection' and shown.state not in ('enabled', 'always')
$$;

comment on function audit.find_absent_protection() is
    'Triggers that refuse changes of the log and are gone, don''t fire, or are not what pgtrail created.';

create or replace function audit.find_absent_event_triggers()
returns table (problem text, subject text, finding text, mend text)
language sql
stable
as $$
    select
        case when installed.evtname is null then 'event trigger missing' else 'event trigger disabled' end,
        wanted.name,
        'schema changes are not followed, and nobody hears of triggers that are switched off',
        case
            when installed.evtname is null then audit.event_trigger_text(wanted.name)
            else pg_catalog.format('alter event trigger %I enable', wanted.name)
        end
    from (values ('pgtrail_extend_capture'), ('pgtrail_follow_ddl'), ('pgtrail_follow_drop'), ('pgtrail_follow_rewrite')) as wanted (name)
    left join pg_catalog.pg_event_trigger as installed on installed.evtname = wanted.name
    -- Only a superuser can make them, who makes this one beside them.
    where pg_catalog.to_regprocedure('audit.extend_capture()') is not null
        and (installed.evtname is null or installed.evtenabled in ('D', 'R'))
$$;

comment on function audit.find_absent_event_triggers() is 'Event triggers that a superuser installed and that are gone or don''t fire.';

create or replace function audit.find_stale_tables()
returns table (problem text, subject text, finding text, mend text)
language sql
stable
as $$
    -- Materialized: to compile takes a millisecond, so only what is there, and for its own table.
    with installed as materialized (
        select distinct
            relation,
            pg_catalog.upper(pg_catalog.replace(trigger_name, 'pgtrail_', '') collate "C") as operation,
            function_oid
        from audit.capture_triggers()
        where state <> 'missing'
    ),
    compiled as (
        select
            tracked.relation,
            audit.last_column_numbers(tracked) = (
                select coalesce(pg_catalog.jsonb_object_agg(attname, attnum), '{}')
                from pg_catalog.pg_attribute
                where attrelid = tracked.relation and attnum > 0 and not attisdropped
            ) as has_these_columns
        from audit.tracked_table as tracked
        join pg_catalog.pg_class as class on class.oid = tracked.relation
    )
    select
        'compiled out of date',
        audit.qualified_name(compiled.relation),
        case
            when not compiled.has_these_columns then 'its columns have changed since its triggers were compiled'
            else 'its triggers are not what its name, key, settings and rules give'
        end || ': what they record may lack columns, or not hide a secret',
        pg_catalog.format('select audit.recompile(%L)', audit.qualified_name(compiled.relation))
    from compiled
    where not compiled.has_these_columns
        or exists (
            select
            from installed
            where installed.relation = compiled.relation
                and (
                    audit.is_as_compiled(installed.function_oid, installed.relation, installed.operation) is not true
                    or audit.is_executed_by_others(installed.function_oid, installed.relation)
                )
        )
$$;

comment on function audit.find_stale_tables() is
    'Tracked tables whose trigger functions are not what audit.recompile() would write: they were altered where no event trigger follows, or somebody edited the functions.';

create or replace function audit.find_untracked_children()
returns table (problem text, subject text, finding text, mend text)
language sql
stable
as $$
    select
        'child untracked',
        audit.qualified_name(child),
        pg_catalog.format('it inherits from %s: an update of its rows through that is lost', audit.qualified_name(tracked.relation)),
        pg_catalog.format('select audit.track(%L, …)', audit.qualified_name(child))
    from audit.tracked_table as tracked
    cross join lateral audit.untracked_children(tracked.relation) as child
$$;

comment on function audit.find_untracked_children() is 'Tables that inherit from tracked ones and are not tracked themselves.';

create or replace function audit.find_broken_rules()
returns table (problem text, subject text, finding text, mend text)
language sql
stable
as $$
    select
        'rule broken',
        audit.qualified_name(rule.relation),
        pg_catalog.format('the rule %s names nothing any more: %s', rule.action, rule.problem),
        pg_catalog.format(
            'select audit.rule(%1$L, %2$L, %3$L, %4$L, …) with another condition, or select audit.drop_rule(%1$L, %2$L, %4$L)',
            audit.qualified_name(rule.relation), rule.action, rule.category, rule.operation
        )
    from audit.rule
    join pg_catalog.pg_class as class on class.oid = rule.relation
    where rule.problem is not null
$$;

comment on function audit.find_broken_rules() is 'Rules whose condition a change of the table has made invalid.';

create or replace function audit.find_gone_tables()
returns table (problem text, subject text, finding text, mend text)
language sql
stable
as $$
    select
        'table gone',
        tracked.relation::oid::text,
        pg_catalog.format('the table of resource "%s" was dropped and is still listed as tracked', tracked.resource),
        'select audit.recompile()'
    from audit.tracked_table as tracked
    where not exists (select from pg_catalog.pg_class as class where class.oid = tracked.relation)
$$;

comment on function audit.find_gone_tables() is 'Tracked tables that were dropped; the subject is what their oid was.';

create or replace function audit.find_replaced_tables()
returns table (problem text, subject text, finding text, mend text)
language sql
stable
as $$
    with lost as (
        select tracked.name, null as event_name, true as was_gone
        from audit.tracked_table as tracked
        where not exists (select from pg_catalog.pg_class as class where class.oid = tracked.relation)
        union all
        (
            -- (The key of a table that is there is its name; of one that is not, a number.)
            select distinct on (event.before ->> 'name')
                event.before ->> 'name', audit.event_name(event), event.resource_id ~ '^[0-9]+$'
            from audit.event
            where event.category = 'audit'
                and event.action = 'audit.table_untracked'
                and event.node is null
                and event.imported_from is null
            order by event.before ->> 'name', event.occurred_at desc, event.id desc
        )
    ),
    replaced as (
        select present.relation, pg_catalog.max(lost.event_name) as event_name
        from lost
        cross join lateral (select pg_catalog.parse_ident(lost.name)) as parsed (names)
        join pg_catalog.pg_namespace as namespace on namespace.nspname = parsed.names[1]
        join pg_catalog.pg_class as class
            on class.relnamespace = namespace.oid and class.relname = parsed.names[2] and class.relkind in ('r', 'p')
        cross join lateral (select class.oid::pg_catalog.regclass) as present (relation)
        where lost.was_gone and audit.tracked_root(present.relation) is null
        group by present.relation
    )
    select
        'table replaced',
        audit.qualified_name(relation),
        'a tracked table of this name was dropped, and the one that is there now is not tracked: nothing of it is recorded',
        pg_catalog.format('select audit.track(%L, …)', audit.qualified_name(relation))
            || coalesce(' with the settings that pgtrail show ' || event_name || ' has', '')
            || ', and its rules; if it is not to be recorded, then audit.untrack() it'
    from replaced
$$;

comment on function audit.find_replaced_tables() is
    'Tables that are not tracked and have the name of one that was, until it was dropped. As long as the log has the event that says so.';

create or replace function audit.find_missing_partitions()
returns table (problem text, subject text, finding text, mend text)
language sql
stable
as $$
    select
        'partition missing',
        'audit.event',
        pg_catalog.format('there is no partition for %s', pg_catalog.to_char(month.begins, 'YYYY-MM')),
        'select audit.make_partitions()'
    from pg_catalog.generate_series(0, 1) as ahead
    cross join lateral (
        -- Months begin at midnight UTC.
        select pg_catalog.date_trunc('month', pg_catalog.now() at time zone 'UTC') + pg_catalog.make_interval(months => ahead)
    ) as month (begins)
    where not audit.overlaps_partition(
        month.begins at time zone 'UTC', (month.begins + interval '1 month') at time zone 'UTC'
    )
$$;

comment on function audit.find_missing_partitions() is
    'This month and the next, where no partition is made for them: the worker makes them hourly, so none may be running.';

create or replace function audit.find_spilled_events()
returns table (problem text, subject text, finding text, mend text)
language sql
stable
as $$
    with spilled as (
        select
            pg_catalog.date_trunc('month', pg_catalog.min(occurred_at) at time zone 'UTC') as first_month,
            pg_catalog.date_trunc('month', pg_catalog.max(occurred_at) at time zone 'UTC') as last_month
        from audit.event_default
    ),
    judged as (
        select
            pg_catalog.to_char(first_month, 'YYYY-MM') as first_month,
            pg_catalog.to_char(last_month, 'YYYY-MM') as last_month,
            audit.overlaps_partition(
                first_month at time zone 'UTC', (last_month + interval '1 month') at time zone 'UTC'
            ) as stays
        from spilled
        where first_month is not null
    )
    select
        case when stays then 'information' else 'default partition filled' end,
        'audit.event_default',
        pg_catalog.format('it holds events of %s to %s', first_month, last_month)
            || case when stays then ', between which other months have partitions: it can''t become one' else '' end,
        case
            when stays then 'nothing has to be done: they are read and forwarded like the others'
            else 'select audit.make_partitions()'
        end
    from judged
$$;

comment on function audit.find_spilled_events() is
    'Events that no partition was made for. Information where audit.make_partitions() can''t turn the default partition into one.';

create or replace function audit.find_foreign_cursors()
returns table (problem text, subject text, finding text, mend text)
language sql
stable
as $$
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
    where cursor.system_identifier <> audit.system_identifier()
$$;

comment on function audit.find_foreign_cursors() is 'Destinations that a restored dump brought along.';

create or replace function audit.find_absent_workers()
returns table (problem text, subject text, finding text, mend text)
language sql
stable
as $$
    with heard as (
        select pg_catalog.max(seen_at) as last_at from audit.worker
    )
    select
        'no worker',
        'pgtrail forward',
        coalesce(
            'no worker was heard of for ' || pg_catalog.date_trunc('second', pg_catalog.clock_timestamp() - heard.last_at),
            'no worker is known'
        ) || ': nothing is forwarded',
        'pgtrail forward'
    from heard
    where coalesce(heard.last_at, '-infinity') < pg_catalog.clock_timestamp() - interval '1 minute'
        and exists (select from audit.destination where not destination.paused)
$$;

comment on function audit.find_absent_workers() is
    'Whether no worker was heard of for a minute, where there is something to be forwarded.';

create or replace function audit.find_held_destinations()
returns table (problem text, subject text, finding text, mend text)
language sql
stable
as $$
    select
        pg_catalog.replace(audit.cursor_state(cursor), '_', ' '),
        destination.name,
        case
            when cursor.broken is not null then 'no worker can serve it: ' || cursor.broken
            else pg_catalog.format(
                'failing since %s: %s',
                pg_catalog.to_char(cursor.failing_since at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                cursor.last_error
            )
        end || coalesce(' (replay ' || cursor.replay_id || ')', ''),
        pg_catalog.format(
            'see to what the error says, then: pgtrail destination test %1$s && pgtrail destination resume %1$s',
            destination.name
        )
    from audit.destination
    join audit.cursor on cursor.destination_id = destination.id
    where not destination.paused
        and audit.cursor_state(cursor) in ('needs_attention', 'suspended')
$$;

comment on function audit.find_held_destinations() is
    'Destinations, and replays to them, whose receiver wants an operator or has failed for 5 days, and those that no worker can serve.';

create or replace function audit.find_late_destinations()
returns table (problem text, subject text, finding text, mend text)
language sql
stable
as $$
    select
        'retrying',
        destination.name,
        pg_catalog.format(
            'failing since %s (%s attempts): %s',
            pg_catalog.to_char(cursor.failing_since at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
            cursor.failures,
            cursor.last_error
        ) || coalesce(' (replay ' || cursor.replay_id || ')', ''),
        pg_catalog.format(
            'nothing is lost, and it is tried again by itself; see to what the error says, then: pgtrail destination test %1$s && pgtrail destination resume %1$s',
            destination.name
        )
    from audit.destination
    join audit.cursor on cursor.destination_id = destination.id
    where not destination.paused
        and audit.cursor_state(cursor) = 'retrying'
        and cursor.failing_since < pg_catalog.clock_timestamp() - interval '5 minutes'
    union all
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
$$;

comment on function audit.find_late_destinations() is
    'Destinations, and replays to them, that have failed for more than 5 minutes; as information those that are served and more than 5 minutes behind.';

create or replace function audit.find_closed_receivers()
returns table (problem text, subject text, finding text, mend text)
language sql
stable
as $$
    select
        'receiver gone',
        destination.name,
        'its receiver answered 410 Gone, by which the destination was paused: its events wait',
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
$$;

comment on function audit.find_closed_receivers() is 'Destinations that no operator paused, but their receiver.';

create or replace function audit.find_standstills()
returns table (problem text, subject text, finding text, mend text)
language sql
stable
as $$
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
            'events that wait: %s, the oldest for %s, and nobody tries to send them',
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
        and cursor.system_identifier = audit.system_identifier()
        -- Whoever is due now is tried at the next look.
        and coalesce(greatest(status.last_attempt_at, status.retry_at), '-infinity')
            < pg_catalog.clock_timestamp() - interval '1 minute'
$$;

comment on function audit.find_standstills() is
    'Destinations with events that have waited for more than a minute, while there was no attempt and none was to be waited for; and those whose filters raise an error.';

create or replace function audit.find_stale_cursors()
returns table (problem text, subject text, finding text, mend text)
language sql
stable
as $$
    select
        'cursor stale',
        destination.name,
        pg_catalog.format(
            'its cursor is %s transactions behind, and each look at what it lacks reads the events of all of them',
            audit.transactions_between(cursor.batch_from, pg_catalog.pg_current_snapshot())
        ),
        pg_catalog.format(
            'start a worker (pgtrail forward), or give it up: pgtrail destination remove %s', destination.name
        )
    from audit.destination
    join audit.cursor on cursor.destination_id = destination.id and cursor.replay_id is null
    where not destination.paused
        and cursor.system_identifier = audit.system_identifier()
        and audit.transactions_between(cursor.batch_from, pg_catalog.pg_current_snapshot()) > 1000000
$$;

comment on function audit.find_stale_cursors() is
    'Destinations that are a million transactions behind; a worker moves even an idle one on every thousand.';

create or replace function audit.find_dead_letters()
returns table (problem text, subject text, finding text, mend text)
language sql
stable
as $$
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
$$;

comment on function audit.find_dead_letters() is 'Destinations that refused events which no redrive has delivered since.';

create or replace function audit.find_long_pauses()
returns table (problem text, subject text, finding text, mend text)
language sql
stable
as $$
    select
        'paused for long',
        destination.name,
        'it has been paused for more than 7 days: its events wait, and retention keeps them',
        pg_catalog.format('pgtrail destination resume %1$s, or: pgtrail destination remove %1$s', destination.name)
    from audit.destination
    where destination.paused
        -- The log says when; what it holds of 7 days is found by its index.
        and not exists (
            select
            from audit.event
            where event.org_id is null
                and event.occurred_at > pg_catalog.now() - interval '7 days'
                and event.resource_type = 'destination'
                and event.resource_id = destination.id::text
                and 'paused' = any (event.changed)
        )
$$;

comment on function audit.find_long_pauses() is 'Destinations that were not paused within the last 7 days and are paused.';

create or replace function audit.find_silenced_wakeups()
returns table (problem text, subject text, finding text, mend text)
language sql
stable
as $$
    select
        'information',
        'NOTIFY',
        'prepared transactions are enabled, so nothing wakes the worker: it looks every second',
        pg_catalog.format(
            'alter database %I set pgtrail.notify = on where no transaction that writes to tracked tables is prepared, else off',
            pg_catalog.current_database()
        )
    where pg_catalog.current_setting('max_prepared_transactions') <> '0'
        and coalesce(pg_catalog.current_setting('pgtrail.notify', true), '') not in ('on', 'off')
        and exists (select from audit.destination where not destination.paused)
$$;

comment on function audit.find_silenced_wakeups() is
    'Whether audit.wake() notifies nobody because prepared transactions are enabled, and nobody chose that.';

create or replace function audit.find_held_wakeups()
returns table (problem text, subject text, finding text, mend text)
language sql
stable
as $$
    -- (Seen once: between two looks a writer may have ended.)
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
        and (held.classid::bigint << 32) + held.objid::bigint = audit.wake_key()
        and held.objsubid = 1
        -- Whoever has recorded an event keeps a lock on the log until the transaction ends.
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
$$;

comment on function audit.find_held_wakeups() is
    'Sessions that keep writers from notifying: any role can take an advisory lock.';

create or replace function audit.find_silent_nodes()
returns table (problem text, subject text, finding text, mend text)
language sql
stable
as $$
    select
        'node not followed',
        name,
        case state
            when 'disabled' then 'its subscription is disabled: its events wait there'
            when 'stopped' then 'its subscription does not run: it failed, and the server''s log says why'
            else 'its subscription is gone, and what it records does not arrive'
        end,
        case state
            when 'disabled' then pg_catalog.format('alter subscription %I enable', audit.subscription_name(name))
            when 'stopped' then 'pgtrail status'
            else pg_catalog.format('pgtrail hub remove %1$s, then pgtrail hub add %1$s', name)
        end
    from audit.node_state()
    where state not in ('streaming', 'copying', 'removed')
    union all
    select
        'node rewritten',
        name,
        pg_catalog.format('seal %s does not follow what had arrived: its history was rewritten, or it was restored from a backup', broken_seal),
        'pgtrail verify --node ' || name
    from audit.node
    where broken_seal is not null and removed_at is null
    union all
    select
        'hub moved',
        name,
        'this hub was restored or promoted since it was added: what it had confirmed to the node may be missing here',
        pg_catalog.format('pgtrail hub remove %1$s, then pgtrail hub add %1$s: what is here already is not copied again', name)
    from audit.node_state()
    where hub_moved and state <> 'removed'
$$;

comment on function audit.find_silent_nodes() is 'Nodes of this hub that nothing comes from, or that have rewritten their history.';

create or replace function audit.find_unread_slots()
returns table (problem text, subject text, finding text, mend text)
language sql
stable
as $$
    select
        'hub does not read',
        slot.slot_name::text,
        case slot.wal_status
            when 'lost' then 'its slot was given up for max_slot_wal_keep_size: what is recorded does not reach the hub'
            else pg_catalog.format('nobody reads its slot, which holds %s of the write-ahead log', pg_catalog.pg_size_pretty(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), slot.restart_lsn)))
        end,
        pg_catalog.format('at the hub: pgtrail status; if there is none any more: select %s(%L)', case when pg_catalog.starts_with(slot.slot_name, 'pgtrail_') then 'audit.unpublish' else 'pg_drop_replication_slot' end, slot.slot_name)
    from pg_catalog.pg_replication_slots as slot
    where slot.database = pg_catalog.current_database()
        and slot.plugin = 'pgoutput'
        -- (Of a copy that was given up, too.)
        and (pg_catalog.starts_with(slot.slot_name, 'pgtrail_') or slot.slot_name ~ '^pg_[0-9]+_sync_[0-9]+_[0-9]+$')
        and not slot.active
        and not slot.temporary
        and not pg_catalog.pg_is_in_recovery()
$$;

comment on function audit.find_unread_slots() is 'Slots of hubs at this node that nobody reads: they keep the write-ahead log.';

create or replace function audit.find_unidentified_tables()
returns table (problem text, subject text, finding text, mend text)
language sql
stable
as $$
    with covered as (
        select distinct tree.relid as relation, publication.pubname
        from pg_catalog.pg_publication as publication
        cross join lateral pg_catalog.pg_get_publication_tables(publication.pubname::text) as member
        cross join lateral (
            select member.relid
            union
            select part.relid from pg_catalog.pg_partition_tree(member.relid) as part
        ) as tree
        where publication.pubupdate or publication.pubdelete
    )
    select
        'publication blocks',
        audit.qualified_name(class.oid),
        pg_catalog.format(
            'publication %s has it, and it has no replica identity: erasure and retention fail at it',
            pg_catalog.string_agg(pg_catalog.quote_ident(covered.pubname), ', ' order by covered.pubname)
        ),
        pg_catalog.format('alter table %s replica identity %s', audit.qualified_name(class.oid), case when keys.is_there then 'default' else 'full' end)
    from covered
    join pg_catalog.pg_class as class on class.oid = covered.relation and class.relkind = 'r'
    cross join lateral (
        select exists (
            select from pg_catalog.pg_index where indrelid = class.oid and indisprimary and indisvalid
        )
    ) as keys (is_there)
    where class.relnamespace = 'audit'::pg_catalog.regnamespace
        and case class.relreplident
            when 'n' then true
            when 'd' then not keys.is_there
            when 'i' then not exists (select from pg_catalog.pg_index where indrelid = class.oid and indisreplident and indisvalid)
            else false
        end
    group by class.oid, keys.is_there
$$;

comment on function audit.find_unidentified_tables() is
    'Tables of the log that a publication has and whose rows have no replica identity: Postgres refuses each update and delete of them.';

create or replace function audit.find_circumstances()
returns table (problem text, subject text, finding text, mend text)
language sql
stable
as $$
    select
        'information',
        'event triggers',
        'pgtrail was installed without a superuser, so schema changes are followed when audit.recompile() is called, and not before: '
            'until then new columns are not recorded, new partitions lack their TRUNCATE, a renamed or dropped table is not noticed, '
            'and no event says that a trigger was switched off or a table altered',
        'call audit.recompile() at the end of each of your migrations; or run pgtrail migrate as a superuser, once'
    where pg_catalog.to_regprocedure('audit.extend_capture()') is null
    union all
    select
        'information',
        'standby',
        pg_catalog.format(
            'this server is a standby, which had last replayed a commit of %s: what stands here was so on the primary then. '
            'It records nothing, seals nothing and notifies nobody',
            coalesce(
                pg_catalog.to_char(pg_catalog.pg_last_xact_replay_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                'an unknown time'
            )
        ),
        'ask the primary for what is wrong there; pgtrail log, show, page and verify work here too'
    where pg_catalog.pg_is_in_recovery()
$$;

comment on function audit.find_circumstances() is
    'What is not wrong, and limits what pgtrail does: installed without a superuser; a standby.';

create or replace function audit.doctor()
returns table (problem text, subject text, finding text, mend text)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
-- Many small queries: to compile them takes seconds, to run them milliseconds.
set jit = off
as $$
    select found.problem, found.subject, found.finding, found.mend
    from (
        -- What is lost, then what is not forwarded, then what can wait.
        select 1 as place, * from audit.find_absent_triggers()
        union all
        select 2, * from audit.find_absent_protection()
        union all
        select 3, * from audit.find_absent_event_triggers()
        union all
        select 4, * from audit.find_untracked_children()
        union all
        select 5, * from audit.find_replaced_tables()
        union all
        select 5, * from audit.find_stale_tables()
        union all
        select 6, * from audit.find_foreign_cursors()
        union all
        select 7, * from audit.find_absent_workers()
        union all
        select 8, * from audit.find_held_destinations()
        union all
        select 9, * from audit.find_late_destinations()
        union all
        select 9, * from audit.find_closed_receivers()
        union all
        select 10, * from audit.find_standstills()
        union all
        select 11, * from audit.find_stale_cursors()
        union all
        select 12, * from audit.find_dead_letters()
        union all
        select 13, * from audit.find_missing_partitions()
        union all
        select 14, * from audit.find_spilled_events()
        union all
        select 15, * from audit.find_broken_rules()
        union all
        select 16, * from audit.find_long_pauses()
        union all
        select 17, * from audit.find_gone_tables()
        union all
        select 18, * from audit.find_silenced_wakeups()
        union all
        select 18, * from audit.find_held_wakeups()
        union all
        select 19, * from audit.find_silent_nodes()
        union all
        select 20, * from audit.find_unread_slots()
        union all
        select 21, * from audit.find_unidentified_tables()
        union all
        select 22, * from audit.find_circumstances()
    ) as found
    order by found.problem = 'information', found.place, found.subject, found.finding
$$;

comment on function audit.doctor() is
    'What is wrong with this installation, the most urgent first, each with what mends it; no row: nothing is. Problem `information`: nothing is wrong, but worth knowing. What only a client can see (whether LISTEN works) `pgtrail doctor` adds.';

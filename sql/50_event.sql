-- The log itself: nothing of it changes, its partitions are made ahead, and whoever listens is woken.

create or replace function audit.refuse_change()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The one way: inside audit.erase_actor(), and no other field than those that tell of a person.
    if tg_op = 'UPDATE' and tg_table_name like 'event%' then
        if audit.erases_a_person(old, new) then
            return new;
        end if;
    end if;
    raise exception using
        errcode = 'PT008',
        message = pg_catalog.format('%s on %I.%I is refused: the audit log is append-only', tg_op, tg_table_schema, tg_table_name),
        hint = 'Retention drops whole partitions; nothing else removes events.';
end
$$;

comment on function audit.refuse_change() is
    'Refuses whatever fires it, but for what audit.erase_actor() does to the personal fields of an event. PT008.';

create or replace function audit.erases_a_person(was audit.event, becomes audit.event)
returns boolean
language plpgsql
stable
as $$
begin
    if not exists (
        select
        from audit.erasure
        where erasure.xid = pg_catalog.pg_current_xact_id_if_assigned() and erasure.erased_at >= pg_catalog.now()
    )
    then
        return false;
    end if;
    becomes.actor_id := was.actor_id;
    becomes.actor_label := was.actor_label;
    becomes.actor_ip := was.actor_ip;
    becomes.user_agent := was.user_agent;
    becomes.resource_label := was.resource_label;
    becomes.before := was.before;
    becomes.after := was.after;
    return was *= becomes;
end
$$;

comment on function audit.erases_a_person(audit.event, audit.event) is
    'Whether this transaction is an erasure, and nothing but personal fields is to change.';

create or replace trigger refuse_change
    before update or delete on audit.event
    for each row execute function audit.refuse_change();

create or replace trigger refuse_truncate
    before truncate on audit.event
    for each statement execute function audit.refuse_change();

create or replace trigger refuse_truncate
    before truncate on audit.event_default
    for each statement execute function audit.refuse_change();

create or replace function audit.wake_key()
returns bigint
language sql
immutable
parallel safe
as $$
    -- 'pgtrail' in ASCII.
    select 31638947224447340
$$;

comment on function audit.wake_key() is
    'The advisory lock of the wake-up: who finds it taken need not notify, since whoever has it will look, or have others look, once it is free.';

create or replace function audit.takes_the_wake()
returns boolean
language sql
volatile
as $$
    -- NOTIFY takes a lock of the whole cluster until after the commit's flush; so one transaction at a time
    -- notifies. Who finds the lock taken is in flight already, and the worker that wakes sees that it is.
    -- A transaction that has notified can't be prepared: where prepared transactions are enabled, polling serves.
    select case pg_catalog.current_setting('max_prepared_transactions')
            when '0' then true
            else coalesce(pg_catalog.current_setting('pgtrail.notify', true) = 'on', false)
        end
        and pg_catalog.pg_try_advisory_xact_lock(audit.wake_key())
$$;

comment on function audit.takes_the_wake() is
    'Whether this transaction is the one to notify. Where max_prepared_transactions is above 0 none does, since a transaction that has notified can''t be prepared, unless the setting pgtrail.notify is on.';

create or replace function audit.wake()
returns void
language plpgsql
volatile
as $$
begin
    if audit.takes_the_wake() then
        notify pgtrail;
    end if;
end
$$;

comment on function audit.wake() is
    'Wakes the listeners of channel pgtrail: empty payload, a hint and no more. Compiled functions do it by themselves, which costs a third of a call.';

create or replace function audit.record(
    action text, resource_type text, resource_id text, resource_label text, before jsonb, after jsonb,
    org_id text default null
)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    actor audit.actor := case
        when audit.actor_is_claimed() and audit.speaks_for_others() then audit.current_actor()
        else audit.database_actor()
    end;
    event_id bigint;
begin
    insert into audit.event (
        org_id, category, action, resource_type, resource_id, resource_hash, resource_label, before, after,
        actor_type, actor_id, actor_label, actor_ip, user_agent, request_id, reason
    )
    values (
        org_id, 'audit', action, resource_type, resource_id, hashtextextended(resource_id, 0), resource_label, before, after,
        actor.type, actor.id, actor.label, actor.ip, actor.user_agent, actor.request_id, actor.reason
    )
    returning id into event_id;
    perform audit.wake();
    return event_id;
end
$$;

comment on function audit.record(text, text, text, text, jsonb, jsonb, text) is
    'Records an event of pgtrail''s own that is no change of a tracked table. Its actor is the database role, unless audit.speaks_for_others(). Its id.';

create or replace function audit.note_failure(p_table text, p_operation text, p_sqlstate text)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Without the error's text, which may quote what must not be in the log.
    perform audit.record(
        'audit.recording_failed', 'tracked_table', p_table, p_table, null,
        jsonb_build_object('operation', p_operation, 'sqlstate', p_sqlstate)
    );
exception
    when others then
        raise warning 'pgtrail: % on % was not recorded (%)', p_operation, p_table, p_sqlstate;
end
$$;

comment on function audit.note_failure(text, text, text) is
    'Records that a change went through and was not recorded in full; where even that fails, the server''s log has it.';

create or replace function audit.record_export(p_filters jsonb, p_events bigint)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    claimed audit.actor := audit.current_actor();
begin
    if jsonb_typeof(p_filters) is distinct from 'object' or length(p_filters::text) > 10000 then
        raise exception using
            errcode = 'PT029',
            message = 'the filters of an export are a JSON object of at most 10,000 characters',
            hint = 'Choose fewer: --category, --action, --org, --actor, --resource, --since, --until.';
    end if;
    return audit.record(
        'audit.exported', 'export', null, null, null,
        jsonb_build_object('filters', jsonb_strip_nulls(p_filters), 'events', p_events)
            || case
                when claimed.type <> 'database' and not audit.speaks_for_others() then
                    jsonb_build_object('claimed', jsonb_build_object('type', claimed.type, 'id', claimed.id))
                else '{}'
            end,
        -- Who is confined to one organization takes out that one's events, and its admins see it.
        case when current_setting('role') = 'audit_org_reader' then nullif(current_setting('pgtrail.org', true), '') end
    );
end
$$;

comment on function audit.record_export(jsonb, bigint) is
    'Records that somebody takes events out, before they do: which (the filters), and how many; a reader who claims to be somebody else is recorded as the role that it is, with `claimed` beside it. The event''s id. PT029.';

create or replace function audit.system_identifier()
returns bigint
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select system_identifier from pg_catalog.pg_control_system()
$$;

comment on function audit.system_identifier() is 'The identity of this cluster; a restored dump lives in another.';

create or replace function audit.make_partitions(months_ahead integer default 3)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
-- Months begin at midnight UTC, whoever makes them.
set timezone = 'UTC'
as $$
declare
    first_month timestamptz;
    month_begins timestamptz;
    made integer := 0;
begin
    -- Two at once: the second finds everything made.
    lock table audit.event_default in share update exclusive mode;
    perform audit.adopt_default_partition();

    first_month := date_trunc('month', now());
    for month_begins in
        select generate_series(first_month, first_month + make_interval(months => months_ahead), interval '1 month')
    loop
        continue when audit.overlaps_partition(month_begins, month_begins + interval '1 month');
        perform audit.make_partition(month_begins);
        made := made + 1;
    end loop;
    return made;
end
$$;

comment on function audit.make_partitions(integer) is
    'Makes the partitions of this month and the months ahead that are missing, and turns a default partition that has filled into one. How many it made. The worker and `pgtrail migrate` call it.';

create or replace function audit.make_partition(month_begins timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    month_name text := 'event_' || to_char(month_begins at time zone 'UTC', 'YYYY_MM');
    partition_name text := month_name;
    again integer := 1;
begin
    -- A month that retention has dropped can come back by an import, and be dropped again.
    while to_regclass(format('audit.%I', partition_name)) is not null
        or exists (select from audit.dropped_partition where name = format('audit.%I', partition_name))
    loop
        again := again + 1;
        partition_name := format('%s_%s', month_name, again);
    end loop;
    execute format(
        'create table audit.%1$I (like audit.event including defaults including constraints)', partition_name
    );
    perform audit.attach_partition(partition_name, month_begins, month_begins + interval '1 month');
end
$$;

comment on function audit.make_partition(timestamptz) is 'Makes the partition of the month that begins then.';

create or replace function audit.attach_partition(partition_name text, begins timestamptz, ends timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
-- (A zone's abbreviation, as other styles write it, may be read as another zone's.)
set datestyle = 'ISO'
as $$
begin
    execute format(
        'create or replace trigger refuse_truncate before truncate on audit.%I '
        'for each statement execute function audit.refuse_change()',
        partition_name
    );
    -- Attached, not created in place: that takes no lock that a writer would wait for.
    execute format('alter table audit.event attach partition audit.%I for values from (%L) to (%L)', partition_name, begins, ends);
    perform audit.keep_out_of_statistics(format('audit.%I', partition_name)::regclass);
    execute format('comment on table audit.%I is %L', partition_name, format('Events from %s to before %s.', begins, ends));
end
$$;

comment on function audit.attach_partition(text, timestamptz, timestamptz) is
    'Makes a table of the right shape the partition of audit.event for [begins, ends).';

create or replace function audit.keep_out_of_statistics(relation regclass)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    changes text := (
        select string_agg(distinct format('alter column %I set statistics 0', attname), ', ')
        from pg_attribute
        where attrelid in (select relid from pg_partition_tree(relation) union select relation)
            and attnum > 0
            and not attisdropped
            and attstattarget is distinct from 0
            -- How many events there are, and when, is no secret; the plans of a page and of a batch need it.
            and attname not in ('id', 'xid', 'occurred_at')
    );
begin
    if changes is not null then
        execute format('alter table %s %s', audit.qualified_name(relation), changes);
    end if;
end
$$;

comment on function audit.keep_out_of_statistics(regclass) is
    'Has ANALYZE look at no value of a table and its partitions but ids and times. Row-level security does not stand before statistics: EXPLAIN would tell a reader which values other organizations have.';

create or replace function audit.partition_bounds()
returns table (partition regclass, begins timestamptz, ends timestamptz)
language sql
stable
set search_path = pg_catalog, pg_temp
-- (A zone's abbreviation, as other styles write it, may be read as another zone's.)
set datestyle = 'ISO'
as $$
    select
        child.oid::regclass,
        bound.parts[1]::timestamptz,
        bound.parts[2]::timestamptz
    from pg_catalog.pg_inherits as inherits
    join pg_catalog.pg_class as child on child.oid = inherits.inhrelid
    cross join lateral (
        select pg_catalog.regexp_match(
            pg_catalog.pg_get_expr(child.relpartbound, child.oid), $re$FROM \('([^']+)'\) TO \('([^']+)'\)$re$
        ) as parts
    ) as bound
    where inherits.inhparent = 'audit.event'::pg_catalog.regclass
        and bound.parts is not null
$$;

comment on function audit.partition_bounds() is 'The partitions of audit.event with their bounds [begins, ends), without the default one.';

create or replace function audit.overlaps_partition(from_time timestamptz, to_time timestamptz)
returns boolean
language sql
stable
as $$
    select exists (
        select from audit.partition_bounds() as bounds where bounds.begins < to_time and bounds.ends > from_time
    )
$$;

comment on function audit.overlaps_partition(timestamptz, timestamptz) is 'Whether a partition holds any moment of [from_time, to_time).';

create or replace function audit.adopt_default_partition()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    begins timestamptz;
    ends timestamptz;
    partition_name text;
begin
    select date_trunc('month', min(occurred_at)), date_trunc('month', max(occurred_at)) + interval '1 month'
    into begins, ends
    from audit.event_default;

    -- Where it spans months that have a partition, its rows stay: they are read and forwarded all the same.
    if begins is null or audit.overlaps_partition(begins, ends) then
        return;
    end if;

    partition_name := 'event_' || to_char(begins, 'YYYY_MM')
        || case when ends > begins + interval '1 month' then '_to_' || to_char(ends - interval '1 month', 'YYYY_MM') else '' end;
    -- Its protection does not end where nobody looks: it has another name in a moment.
    delete from audit.own_trigger where relation = 'audit.event_default'::regclass;
    -- No row is moved: the table itself changes its place.
    alter table audit.event detach partition audit.event_default;
    execute format('alter table audit.event_default rename to %I', partition_name);
    perform audit.attach_partition(partition_name, begins, ends);
    create table audit.event_default partition of audit.event default;
    perform audit.keep_out_of_statistics('audit.event_default');
    create trigger refuse_truncate
        before truncate on audit.event_default
        for each statement execute function audit.refuse_change();
    comment on table audit.event_default is
        'Catches events of months that have no partition yet; audit.make_partitions() turns it into one.';
end
$$;

comment on function audit.adopt_default_partition() is
    'Turns a default partition that holds rows into the partition of their months, and makes an empty one.';

select audit.keep_out_of_statistics('audit.event');
select audit.keep_out_of_statistics('audit.org_grant');

-- Before anything is recorded, so that the default partition stays empty.
select audit.make_partitions();

create or replace function audit.make_past_partitions(p_times timestamptz[])
returns integer
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
    month_begins timestamptz;
    made integer := 0;
begin
    for month_begins in
        select distinct date_trunc('month', moment) as month
        from unnest(p_times) as moment
        order by month
    loop
        continue when audit.overlaps_partition(month_begins, month_begins + interval '1 month');
        if made = 0 then
            -- Two at once: the second finds everything made.
            lock table audit.event_default in share update exclusive mode;
            perform audit.adopt_default_partition();
        end if;
        -- Where rows of that month are in the default partition, there they stay, and the others with them.
        continue when audit.overlaps_partition(month_begins, month_begins + interval '1 month')
            or exists (
                select from audit.event_default
                where occurred_at >= month_begins and occurred_at < month_begins + interval '1 month'
            );
        perform audit.make_partition(month_begins);
        made := made + 1;
    end loop;
    return made;
end
$$;

comment on function audit.make_past_partitions(timestamptz[]) is 'Makes the partitions of the months of some times that are missing. How many it made.';

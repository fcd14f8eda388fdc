-- Delivery: what the worker asks for, and what it says became of it.

create or replace function audit.next_batch(
    p_cursor_id bigint,
    p_worker text,
    p_lease interval default '30 seconds',
    p_after bigint default null,
    p_max_events integer default 2000,
    p_max_bytes bigint default 2097152,
    out lease_token bigint,
    out event_ids bigint[],
    out event_uids text[],
    out resource_keys integer[],
    out sizes integer[],
    out body bytea,
    out failures integer,
    out failing_seconds double precision,
    out dead_in_row integer,
    out in_flight boolean,
    out waiting boolean
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
declare
    -- Taken before this transaction has an id of its own.
    present pg_snapshot := pg_current_snapshot();
    destination audit.destination;
    reached audit.cursor;
begin
    event_ids := '{}';
    resource_keys := '{}';
    sizes := '{}';
    body := '';
    waiting := false;
    in_flight := exists (select from pg_snapshot_xip(present));

    select served.*
    into destination
    from audit.destination as served
    join audit.cursor on cursor.destination_id = served.id
    where cursor.id = p_cursor_id and not served.paused;
    if not found then
        return;
    end if;
    if p_after is null then
        reached := audit.hold_lease(p_cursor_id, p_worker, p_lease);
    else
        select * into reached from audit.cursor where id = p_cursor_id and lease_holder = p_worker;
    end if;
    lease_token := reached.lease_token;
    failures := reached.failures;
    failing_seconds := extract(epoch from clock_timestamp() - reached.failing_since);
    dead_in_row := reached.dead_in_row;
    waiting := coalesce(reached.retry_at > clock_timestamp(), false);
    if lease_token is null or waiting then
        return;
    end if;

    if reached.replay_id is null and p_after is null then
        reached := audit.begin_batch(reached, destination, present);
        -- It has grown with each batch, so that what is said late of an earlier one moves nothing.
        lease_token := reached.lease_token;
        if lease_token is null then
            return;
        end if;
        if reached.batch_to is null and pg_visible_in_snapshot(destination.leaving, present) then
            -- It has got its own removal, or never will.
            perform audit.forget_destination(destination.id);
            lease_token := null;
            return;
        end if;
        -- The log is long, and it was not looked through to its end.
        in_flight := in_flight or reached.batch_to is null and audit.transactions_between(reached.batch_from, present) > 1000;
    end if;

    select rendered.event_ids, rendered.event_uids, rendered.resource_keys, rendered.sizes, rendered.body
    into event_ids, event_uids, resource_keys, sizes, body
    from audit.render_unsent(reached, destination, coalesce(p_after, reached.last_sent_id), p_max_events, p_max_bytes)
        as rendered;
    if event_ids <> '{}' then
        -- To send it may take as long as a lease lasts.
        perform audit.renew_lease(p_cursor_id, lease_token, p_lease);
    elsif reached.replay_id is not null and p_after is null then
        perform audit.finish_replay(reached);
    end if;
end
$$;

comment on function audit.next_batch(bigint, text, interval, bigint, integer, bigint) is
    'The next events of a cursor for this worker, rendered, in the order of their ids; the same again until audit.settle() has moved the cursor, or those after p_after, which moves nothing. lease_token null: paused, gone, held by another worker, or more than this one''s share. No events and a token: nothing to send now. event_uids: what events are called outside, where a node''s are among them; null: evt_ and the id. resource_keys: events with the same number may be of one resource. body: the events, with the format''s separator between them; sizes: the bytes of each. failures, failing_seconds: failed attempts since the last success, and since when. dead_in_row: dead letters since the last delivery. in_flight: a writing transaction is open, look again soon. waiting: the next attempt is not due. PT013.';

create or replace function audit.hold_lease(p_cursor_id bigint, p_worker text, p_lease interval)
returns audit.cursor
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    held audit.cursor;
    share bigint := audit.fair_share(p_lease);
    holds bigint;
begin
    select * into held from audit.cursor where id = p_cursor_id;
    if held.system_identifier <> audit.system_identifier() then
        raise exception using
            errcode = 'PT013',
            message = format(
                'the cursor of destination "%s" is from another cluster',
                (select name from audit.destination where id = held.destination_id)
            ),
            hint = 'Transaction ids mean nothing in a restored database. Begin anew: pgtrail destination rebase NAME --since …';
    end if;

    -- Renewed when half of it is over: an idle destination costs a write every now and then only.
    if held.lease_holder = p_worker and held.lease_until > clock_timestamp() + p_lease / 2 then
        return held;
    end if;

    select count(*)
    into holds
    from audit.cursor
    where lease_holder = p_worker and lease_until > clock_timestamp();
    if held.lease_holder = p_worker and holds > share then
        perform audit.release_lease(p_cursor_id, held.lease_token);
        return null;
    end if;
    update audit.cursor
    set
        lease_holder = p_worker,
        lease_until = clock_timestamp() + p_lease,
        lease_token = cursor.lease_token + case when cursor.lease_holder is distinct from p_worker then 1 else 0 end
    where id = p_cursor_id
        and (
            lease_holder = p_worker
            or ((lease_holder is null or lease_until < clock_timestamp()) and holds < share)
        )
    returning * into held;
    if not found then
        held := null;
    end if;
    return held;
end
$$;

comment on function audit.hold_lease(bigint, text, interval) is
    'A cursor if this worker holds its lease, or can take it; else null. A worker with more than its share gives one back when it would renew it. PT013.';

create or replace function audit.fair_share(p_lease interval)
returns bigint
language sql
volatile
as $$
    select pg_catalog.ceil(
        (
            select count(*)
            from audit.cursor
            join audit.destination on destination.id = cursor.destination_id and not destination.paused
        )::numeric
        / greatest(
            (select count(*) from audit.worker where seen_at > pg_catalog.clock_timestamp() - p_lease),
            1
        )
    )::bigint
$$;

comment on function audit.fair_share(interval) is
    'How many cursors a worker may hold: as many as any other that was heard of within a lease.';

create or replace function audit.worker_is_here(p_worker text, p_lease interval)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from audit.worker where name = p_worker and seen_at > clock_timestamp() - p_lease / 3) then
        insert into audit.worker (name)
        values (p_worker)
        on conflict (name) do update set seen_at = clock_timestamp();
    end if;
end
$$;

comment on function audit.worker_is_here(text, interval) is
    'A worker''s sign of life: call it more often than its lease is long.';

create or replace function audit.worker_leaves(p_worker text)
returns void
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    delete from audit.worker where name = p_worker
$$;

comment on function audit.worker_leaves(text) is 'Lets the other workers share among themselves at once.';

create or replace function audit.renew_lease(p_cursor_id bigint, p_lease_token bigint, p_lease interval)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update audit.cursor
    set lease_until = clock_timestamp() + p_lease
    where id = p_cursor_id and lease_token = p_lease_token and lease_holder is not null;
    return found;
end
$$;

comment on function audit.renew_lease(bigint, bigint, interval) is
    'Keeps a lease for as long again. False: it was lost.';

create or replace function audit.release_lease(p_cursor_id bigint, p_lease_token bigint)
returns void
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    update audit.cursor
    set lease_holder = null, lease_until = null
    where id = p_cursor_id and lease_token = p_lease_token
$$;

comment on function audit.release_lease(bigint, bigint) is 'Gives a lease back, so that another worker need not wait for its end.';

create or replace function audit.begin_batch(reached audit.cursor, destination audit.destination, present pg_snapshot)
returns audit.cursor
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
-- A plan that is kept knows no snapshot: it would read the whole index of transactions, from the sixth look on.
set plan_cache_mode = force_custom_plan
as $$
declare
    gives_up_at timestamptz := clock_timestamp() + interval '5 seconds';
begin
    loop
        if reached.batch_to is not null then
            if exists (select from audit.unsent(reached, destination, reached.last_sent_id, 1)) then
                return reached;
            end if;
            reached := audit.end_batch(reached);
            if reached.lease_token is null then
                return reached;
            end if;
        end if;

        -- The lowest id of the new batch, by transaction id; from there on it is read in the order of ids.
        reached.batch_to := audit.snapshot_after(reached.batch_from, present);
        reached.batch_last_id := null;
        if reached.takes_foreign then
            reached.last_sent_id := 0;
        else
            -- (+ 0: by transaction id, not by the primary keys of all partitions.)
            select min(event.id + 0) - 1, max(event.id + 0)
            into reached.last_sent_id, reached.batch_last_id
            from audit.batch(reached.batch_from, reached.batch_to) as event
            where audit.is_news_for(event, destination)
                and event.id > reached.foreign_id;
        end if;
        if reached.last_sent_id is not null then
            reached.lease_token := audit.move_cursor(reached);
            continue when reached.lease_token is not null;
            return reached;
        end if;

        -- Nothing for it. Without a step now and then the batch would span an ever longer range.
        if audit.transactions_between(reached.batch_from, reached.batch_to) > 1000
            or exists (select from audit.batch(reached.batch_from, reached.batch_to) offset 1000)
        then
            reached := audit.end_batch(reached);
        else
            reached.batch_to := null;
            return reached;
        end if;
        if reached.lease_token is null or clock_timestamp() > gives_up_at then
            return reached;
        end if;
    end loop;
end
$$;

comment on function audit.begin_batch(audit.cursor, audit.destination, pg_snapshot) is
    'The cursor with a batch in progress that has something left, or (batch_to null) with none.';

create or replace function audit.end_batch(reached audit.cursor)
returns audit.cursor
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    reached.batch_from := reached.batch_to;
    reached.batch_to := null;
    reached.last_sent_id := 0;
    reached.sent_ahead := '{}';
    reached.takes_foreign := false;
    reached.batch_last_id := null;
    reached.lease_token := audit.move_cursor(reached);
    return reached;
end
$$;

comment on function audit.end_batch(audit.cursor) is 'The cursor after its batch in progress, of which nothing is left; stored.';

create or replace function audit.move_cursor(moved audit.cursor)
returns bigint
language sql
volatile
as $$
    update audit.cursor
    set
        batch_from = moved.batch_from,
        batch_to = moved.batch_to,
        batch_last_id = moved.batch_last_id,
        last_sent_id = moved.last_sent_id,
        sent_ahead = moved.sent_ahead,
        takes_foreign = moved.takes_foreign,
        lease_token = cursor.lease_token + 1
    where id = moved.id and lease_token = moved.lease_token
    returning lease_token
$$;

comment on function audit.move_cursor(audit.cursor) is
    'Stores where a batch begins and ends. The new fencing token; null: the lease was lost.';

create or replace function audit.transactions_between(from_snapshot pg_snapshot, to_snapshot pg_snapshot)
returns numeric
language sql
immutable
as $$
    select pg_catalog.pg_snapshot_xmax(to_snapshot)::text::numeric - pg_catalog.pg_snapshot_xmax(from_snapshot)::text::numeric
$$;

comment on function audit.transactions_between(pg_snapshot, pg_snapshot) is 'How many transactions began between two snapshots.';

create or replace function audit.snapshot_after(from_snapshot pg_snapshot, present pg_snapshot)
returns pg_snapshot
language sql
immutable
as $$
    -- Of what is visible at present all that lies below a transaction id.
    select case
        when audit.transactions_between(from_snapshot, present) <= 100000 then present
        else (
            select pg_catalog.format('%s:%s:%s', coalesce(min(running.xid), bound.xmax), bound.xmax, string_agg(running.xid::text, ',' order by running.xid))
            from (select pg_catalog.pg_snapshot_xmax(from_snapshot)::text::numeric + 100000 as xmax) as bound
            left join lateral (
                select xip::text::numeric as xid from pg_catalog.pg_snapshot_xip(present) as xip
            ) as running on running.xid < bound.xmax
            group by bound.xmax
        )::pg_snapshot
    end
$$;

comment on function audit.snapshot_after(pg_snapshot, pg_snapshot) is
    'A snapshot that sees no more than the present one and at most 100,000 transactions beyond an earlier one: what lies between them is found in a bounded time.';

create or replace function audit.unsent(
    reached audit.cursor, destination audit.destination, after_id bigint, max_events integer
)
returns setof audit.event
language plpgsql
stable
set search_path = pg_catalog, pg_temp
-- (As in audit.begin_batch().)
set plan_cache_mode = force_custom_plan
as $$
declare
    replay audit.replay;
begin
    if reached.replay_id is not null then
        select * into replay from audit.replay where id = reached.replay_id;
        -- The replay says since when.
        destination.since := null;
        return query
        select event.*
        from audit.event
        where event.id > after_id
            and event.id <> all (reached.sent_ahead)
            and (event.id <= reached.foreign_id or pg_visible_in_snapshot(event.xid, reached.batch_to))
            and event.occurred_at >= coalesce(replay.since, '-infinity')
            and event.occurred_at < coalesce(replay.until, 'infinity')
            and (replay.event_ids is null or event.id = any (replay.event_ids))
            and audit.is_for(event, destination)
        order by event.id
        limit max_events;
    elsif reached.takes_foreign and after_id < reached.foreign_id then
        -- They come first, and by themselves.
        return query
        select event.*
        from audit.event
        where event.id > after_id
            and event.id <= reached.foreign_id
            and event.id <> all (reached.sent_ahead)
            and audit.is_news_for(event, destination)
        order by event.id
        limit max_events;
    end if;
    if not found and reached.replay_id is null then
        -- The planner can't know how many there are: it would sort a hundred thousand to take ten.
        if (
            select count(*) > 5000
            from (select from audit.batch(reached.batch_from, reached.batch_to) limit 5001) as first
        ) then
            return query select * from audit.unsent_of_many(reached, destination, after_id, max_events);
        else
            return query
            select event.*
            from audit.batch(reached.batch_from, reached.batch_to) as event
            where event.id > greatest(after_id, reached.foreign_id)
                and (reached.batch_last_id is null or event.id <= reached.batch_last_id)
                and event.id <> all (reached.sent_ahead)
                and audit.is_news_for(event, destination)
            order by event.id
            limit max_events;
        end if;
    end if;
end
$$;

comment on function audit.unsent(audit.cursor, audit.destination, bigint, integer) is
    'The first events of the batch in progress, or of the replay, beyond an id, that were not sent; in the order of their ids.';

create or replace function audit.unsent_of_many(
    reached audit.cursor, destination audit.destination, after_id bigint, max_events integer
)
returns setof audit.event
language plpgsql
stable
set search_path = pg_catalog, pg_temp
-- In the order of the primary key, and no further than it takes.
set enable_sort = off
set enable_bitmapscan = off
as $$
begin
    return query
    select event.*
    from audit.event
    where event.id > greatest(after_id, reached.foreign_id)
        and event.id <= coalesce(reached.batch_last_id, 9223372036854775807)
        and event.id <> all (reached.sent_ahead)
        and (
            event.xid = any (array(select pg_snapshot_xip(reached.batch_from)))
            or event.xid >= pg_snapshot_xmax(reached.batch_from)
        )
        and pg_visible_in_snapshot(event.xid, reached.batch_to)
        and audit.is_news_for(event, destination)
    order by event.id
    limit max_events;
end
$$;

comment on function audit.unsent_of_many(audit.cursor, audit.destination, bigint, integer) is
    'audit.unsent() of a batch that is large: read by id, where a small one is read by transaction and sorted.';

create or replace function audit.render_unsent(
    reached audit.cursor,
    destination audit.destination,
    after_id bigint,
    max_events integer,
    max_bytes bigint,
    out event_ids bigint[],
    out event_uids text[],
    out resource_keys integer[],
    out sizes integer[],
    out body bytea
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    format audit.format;
begin
    event_ids := '{}';
    resource_keys := '{}';
    sizes := '{}';
    body := '';
    if reached.batch_to is null then
        return;
    end if;
    select * into format from audit.format as known where known.name = destination.format;
    execute pg_catalog.format(
        $query$
            -- Materialized: otherwise each mention of piece would render it once more.
            with whole as materialized (
                select
                    event.id,
                    case when event.node is not null then audit.event_uid(event) end as uid,
                    hashtext(event.resource_type || ':' || coalesce(event.resource_id, '')) as resource_key,
                    convert_to(audit.%I(event), 'UTF8') as piece
                from audit.unsent($1, $2, $3, $4) as event
            ),
            fitting as materialized (
                select
                    id,
                    uid,
                    resource_key,
                    case when octet_length(piece) > $6 then audit.shortened($7, id, $6) else piece end as piece
                from whole
            ),
            measured as (
                select
                    *,
                    sum(octet_length(piece)) over (order by id rows between unbounded preceding and 1 preceding) as bytes_before
                from fitting
            )
            select
                coalesce(array_agg(id order by id), '{}'),
                case when count(uid) > 0 then array_agg(coalesce(uid, 'evt_' || id) order by id) end,
                coalesce(array_agg(resource_key order by id), '{}'),
                coalesce(array_agg(octet_length(piece) order by id), '{}'),
                coalesce(string_agg(piece, $8 order by id), '')
            from measured
            where bytes_before is null or bytes_before + octet_length(piece) <= $5
        $query$,
        'render_' || destination.format
    )
    into event_ids, event_uids, resource_keys, sizes, body
    using
        reached, destination, after_id, max_events, max_bytes, format.max_event_bytes, reached.id,
        convert_to(format.separator, 'UTF8');
end
$$;

comment on function audit.render_unsent(audit.cursor, audit.destination, bigint, integer, bigint) is
    'What audit.unsent() gives as the destination gets it, until there are too many bytes; see audit.next_batch().';

create or replace function audit.shortened(p_cursor_id bigint, p_event_id bigint, p_max_bytes integer)
returns bytea
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
    select audit.render_within(event, destination.format, p_max_bytes)
    from audit.event
    join audit.cursor on cursor.id = p_cursor_id
    join audit.destination on destination.id = cursor.destination_id
    where event.id = p_event_id
$$;

comment on function audit.shortened(bigint, bigint, integer) is
    'An event that a receiver finds too large, shortened to so many bytes where it can be; see audit.render_within().';

create or replace function audit.finish_replay(reached audit.cursor)
returns void
language sql
volatile
as $$
    with ended as (
        delete from audit.cursor
        where id = reached.id and lease_token = reached.lease_token
        returning replay_id
    )
    update audit.replay
    set finished_at = pg_catalog.clock_timestamp()
    where id = (select replay_id from ended)
$$;

comment on function audit.finish_replay(audit.cursor) is 'Ends a replay of which nothing is left, and its cursor.';

create or replace function audit.settle(
    p_cursor_id bigint,
    p_lease_token bigint,
    p_delivered bigint[],
    p_through bigint,
    p_dead_ids bigint[] default '{}',
    p_dead_statuses integer[] default '{}',
    p_dead_errors text[] default '{}',
    p_dead_in_row integer default 0,
    p_failed bigint default null,
    p_status integer default null,
    p_error text default null,
    p_retry_in interval default null,
    p_hold text default null
)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    retry_time timestamptz := case when p_failed is not null then clock_timestamp() + p_retry_in end;
    before audit.cursor;
    after audit.cursor;
begin
    select * into before from audit.cursor where id = p_cursor_id and cursor.lease_token = p_lease_token for update;
    if not found then
        return false;
    end if;
    update audit.cursor
    set
        last_sent_id = greatest(last_sent_id, p_through),
        sent_ahead = array(
            select id
            from unnest(sent_ahead || p_delivered || p_dead_ids) as id
            where id > greatest(last_sent_id, p_through)
            order by id
        ),
        failures = case when p_failed is null then 0 when p_delivered = '{}' then failures + 1 else 1 end,
        failing_since = case
            when p_failed is null then null
            when p_delivered = '{}' then coalesce(failing_since, clock_timestamp())
            else clock_timestamp()
        end,
        needs_attention = coalesce(p_hold = 'attention', false),
        dead_in_row = p_dead_in_row,
        retry_at = retry_time,
        last_attempt_at = clock_timestamp(),
        last_success_at = case when p_delivered = '{}' then last_success_at else clock_timestamp() end,
        last_error = p_error
    where id = p_cursor_id
    returning * into after;

    insert into audit.attempt (
        destination_id, replay_id, worker, delivered, first_event_id, last_event_id, dead_letters, failed_event_id, status,
        error, retry_at
    )
    select
        after.destination_id, after.replay_id, coalesce(after.lease_holder, ''), cardinality(p_delivered), min(id), max(id),
        cardinality(p_dead_ids), p_failed, p_status, p_error, retry_time
    from unnest(p_delivered) as id;

    insert into audit.dead_letter as known (destination_id, event_id, status, error)
    select after.destination_id, dead.event_id, dead.status, dead.error
    from unnest(p_dead_ids, p_dead_statuses, p_dead_errors) as dead (event_id, status, error)
    on conflict (destination_id, event_id) do update
    set
        status = excluded.status,
        error = excluded.error,
        attempts = known.attempts + 1,
        last_at = now(),
        delivered_at = null;
    if after.replay_id is not null then
        update audit.dead_letter
        set delivered_at = clock_timestamp()
        where destination_id = after.destination_id and event_id = any (p_delivered) and delivered_at is null;
    end if;

    perform audit.note_state(before, after, p_hold);
    return true;
end
$$;

comment on function audit.settle(
    bigint, bigint, bigint[], bigint, bigint[], integer[], text[], integer, bigint, integer, text, interval, text
) is
    'Records what became of events that audit.next_batch() gave, and moves the cursor, in one transaction. p_delivered: what the receiver has; p_through: everything handed out to this id is delivered or dead; p_dead_…: what it refuses; p_dead_in_row: dead letters since the last delivery; p_failed: the first event that has to be sent again, with p_status, p_error, p_retry_in, and p_hold: `attention`, or `gone`, which pauses the destination. False: the lease was lost, nothing is moved or recorded.';

create or replace function audit.note_state(before audit.cursor, after audit.cursor, hold text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    old_state text := audit.cursor_state(before);
    new_state text := audit.cursor_state(after);
    destination_name text := (select name from audit.destination where id = after.destination_id);
begin
    if hold = 'gone' then
        update audit.destination set paused = true where id = after.destination_id and not paused;
    elsif old_state = new_state or not array[old_state, new_state] && '{needs_attention,suspended}' then
        return;
    end if;
    perform audit.record(
        case new_state
            when 'needs_attention' then 'audit.destination_needs_attention'
            when 'suspended' then 'audit.destination_suspended'
            when 'active' then 'audit.destination_recovered'
            else 'audit.destination_retrying'
        end,
        'destination',
        after.destination_id::text,
        destination_name,
        jsonb_build_object('state', old_state),
        jsonb_build_object('state', new_state, 'error', coalesce(after.broken, after.last_error))
    );
end
$$;

comment on function audit.note_state(audit.cursor, audit.cursor, text) is
    'Records that a destination is held or suspended, or has come back, so that somebody notices; pauses one that is gone.';

create or replace function audit.note_broken(p_cursor_id bigint, p_worker text, p_error text)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    before audit.cursor;
    after audit.cursor;
begin
    select *
    into before
    from audit.cursor
    where id = p_cursor_id
        and broken is distinct from left(p_error, 1000)
        -- Another worker may well be able to serve it.
        and (lease_holder = p_worker or lease_holder is null or lease_until < clock_timestamp())
        and system_identifier = audit.system_identifier()
    for update;
    if not found then
        return;
    end if;
    update audit.cursor set broken = left(p_error, 1000) where id = p_cursor_id returning * into after;
    perform audit.note_state(before, after, null);
end
$$;

comment on function audit.note_broken(bigint, text, text) is
    'A worker''s word that it can''t serve a cursor, without anything of an event, or (null) that it can again. Ignored while another worker holds the lease.';

create or replace function audit.maintain()
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
begin
    perform audit.make_partitions();
    for step in 1..100 loop
        exit when not audit.file_events();
    end loop;
    delete from audit.attempt where attempted_at < now() - interval '30 days';
    delete from audit.worker where seen_at < now() - interval '1 day';
end
$$;

comment on function audit.maintain() is
    'What has to be done now and then: partitions made ahead, events filed by actor and action, attempts older than 30 days and workers not seen for a day forgotten. The worker calls it hourly; pg_cron can.';

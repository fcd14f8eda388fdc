-- Filing: where an actor's events are, and an action's, written down some time after they were recorded, thousands at a time.
--
-- A write pays for every index of the log; for this it does not. What is not filed yet is read as it is: audit.unfiled().

create or replace function audit.unfiled()
returns table (id bigint, occurred_at timestamptz, org_id text, category text, action text, actor_id text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
-- A plan that is kept knows no snapshot, and would read all of an index.
set plan_cache_mode = force_custom_plan
as $$
declare
    head audit.filing;
begin
    -- (First: joined with that row, no plan knows the snapshot either.)
    select * into strict head from audit.filing;
    if head.foreign_filed < head.foreign_id then
        return query
        select event.id, event.occurred_at, event.org_id, event.category, event.action, event.actor_id
        from audit.event
        where event.id > head.foreign_filed and event.id <= head.foreign_id;
    end if;
    return query
    select event.id, event.occurred_at, event.org_id, event.category, event.action, event.actor_id
    from audit.event
    -- (As in audit.batch(), but by one range of transactions: with two, planning takes three times as long.)
    where event.xid >= pg_snapshot_xmin(head.to_snapshot)
        and event.xid < pg_snapshot_xmax(pg_current_snapshot())
        and not pg_visible_in_snapshot(event.xid, head.to_snapshot)
        and pg_visible_in_snapshot(event.xid, pg_current_snapshot())
        and event.id > head.foreign_id;
end
$$;

comment on function audit.unfiled() is 'The events that audit.file_events() has not filed yet, as far as the present role sees them.';

create or replace function audit.restart_filing(head audit.filing)
returns audit.filing
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from audit.filed;
    head.system_identifier := audit.system_identifier();
    head.to_snapshot := audit.first_snapshot('-infinity');
    head.foreign_id := audit.foreign_id();
    head.foreign_filed := 0;
    return head;
end
$$;

comment on function audit.restart_filing(audit.filing) is
    'Forgets what was filed, in a database that was restored into another cluster or never filed anything. From where to go on.';

create or replace function audit.file_events(p_least integer default 1000, p_apart integer default 100000)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
-- (As in audit.unfiled().)
set plan_cache_mode = force_custom_plan
as $$
declare
    -- Of one actor or action in one row: who reads of a row reads it whole.
    most_in_row constant integer := 1024;
    -- Rows of more are not merged: it would save less than a tenth of them.
    few_in_row constant integer := 32;
    most_by_id constant integer := 100000;
    head audit.filing;
    present pg_snapshot;
    next_snapshot pg_snapshot;
    next_foreign bigint;
    is_last boolean := false;
    merging boolean;
begin
    -- Two at once: the second leaves it to the first.
    select * into head from audit.filing for update skip locked;
    if not found then
        return false;
    end if;
    if head.system_identifier is distinct from audit.system_identifier() then
        head := audit.restart_filing(head);
        update audit.filing
        set
            system_identifier = head.system_identifier,
            to_snapshot = head.to_snapshot,
            foreign_id = head.foreign_id,
            foreign_filed = head.foreign_filed;
    end if;
    present := pg_current_snapshot();
    next_snapshot := head.to_snapshot;
    next_foreign := head.foreign_id;
    if head.foreign_filed < head.foreign_id then
        select coalesce(max(foreign_event.id), head.foreign_id)
        into next_foreign
        from (
            select event.id
            from audit.event
            where event.id > head.foreign_filed and event.id <= head.foreign_id
            order by event.id
            limit most_by_id
        ) as foreign_event;
    else
        next_snapshot := audit.snapshot_after(head.to_snapshot, present);
        is_last := audit.transactions_between(next_snapshot, present) = 0;
        if is_last
            and p_least > (
                select count(*)
                from (
                    select
                    from audit.batch(head.to_snapshot, next_snapshot) as event
                    where event.id > head.foreign_id
                    limit p_least
                ) as waiting
            )
        then
            return false;
        end if;
    end if;
    merging := (select coalesce(max(number), 0) from audit.filed) - head.merged >= p_apart;
    with given as materialized (
        select event.id, event.occurred_at, event.org_id, event.category, event.action, event.actor_id
        from audit.event
        where event.id > head.foreign_filed and event.id <= next_foreign
        union all
        select event.id, event.occurred_at, event.org_id, event.category, event.action, event.actor_id
        from audit.batch(head.to_snapshot, next_snapshot) as event
        where event.id > head.foreign_id
    ),
    -- Among a thousand events few are of the same actor: the rows of many calls are filed anew, together.
    taken as (
        delete from audit.filed where merging and number > head.merged and events <= few_in_row returning *
    ),
    entry as (
        select category, action, null::bigint as actor_hash, null::text as org_id, id, occurred_at
        from given
        union all
        select null, null, hashtextextended(actor_id, 0), org_id, id, occurred_at
        from given
        where actor_id is not null
        union all
        select taken.category, taken.action, taken.actor_hash, taken.org_id, found.id, found.occurred_at
        from taken
        cross join unnest(taken.ids, taken.times) as found (id, occurred_at)
    ),
    placed as (
        select
            entry.*,
            (row_number() over (partition by category, action, actor_hash, org_id order by occurred_at, id) - 1) / most_in_row as row
        from entry
    )
    insert into audit.filed (category, action, actor_hash, org_id, first_time, last_time, events, ids, times)
    select
        category, action, actor_hash, org_id, min(occurred_at), max(occurred_at), count(*),
        array_agg(id order by occurred_at, id), array_agg(occurred_at order by occurred_at, id)
    from placed
    group by category, action, actor_hash, org_id, row;
    update audit.filing
    set
        to_snapshot = next_snapshot,
        foreign_filed = next_foreign,
        merged = case when merging then (select max(number) from audit.filed) else merged end;
    return not is_last;
end
$$;

comment on function audit.file_events(integer, integer) is
    'Files events by actor and by action, once so many (p_least) wait for it: those of at most 100,000 transactions; and merges what was filed in more rows than p_apart. Whether there are more. The worker calls it, and audit.maintain().';

create or replace function audit.unfile(p_begins timestamptz, p_ends timestamptz)
returns void
language sql
volatile
as $$
    delete from audit.filed where first_time >= p_begins and last_time < p_ends;
    -- What reaches beyond that time keeps the rest. (None of it may be left: then it goes as well.)
    with split as (
        delete from audit.filed where first_time < p_ends and last_time >= p_begins returning *
    )
    insert into audit.filed (category, action, actor_hash, org_id, first_time, last_time, events, ids, times)
    select
        split.category, split.action, split.actor_hash, split.org_id, min(entry.occurred_at), max(entry.occurred_at), count(*),
        array_agg(entry.id order by entry.place), array_agg(entry.occurred_at order by entry.place)
    from split
    cross join unnest(split.ids, split.times) with ordinality as entry (id, occurred_at, place)
    where entry.occurred_at < p_begins or entry.occurred_at >= p_ends
    group by split.category, split.action, split.actor_hash, split.org_id, split.ids, split.times
$$;

comment on function audit.unfile(timestamptz, timestamptz) is 'Forgets where the events of a time [begins, ends) are, as these go.';

create or replace function audit.rename_filed(p_actor_ids text[], p_pseudonym text)
returns void
language sql
volatile
as $$
    update audit.filed
    set actor_hash = pg_catalog.hashtextextended(p_pseudonym, 0)
    where actor_hash in (select pg_catalog.hashtextextended(actor_id, 0) from unnest(p_actor_ids) as actor_id)
$$;

comment on function audit.rename_filed(text[], text) is 'What was filed under ids of an actor is from now on filed under a pseudonym.';

create or replace function audit.filed_kinds()
returns table (category text, action text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set enable_sort = off
set enable_bitmapscan = off
set jit = off
as $$
begin
    -- From each pair to the next one in the index, however many rows lie between them.
    return query
    with recursive kind as (
        (
            select filed.category, filed.action
            from audit.filed
            where filed.action is not null
            order by filed.category, filed.action
            limit 1
        )
        union all
        select following.category, following.action
        from kind
        cross join lateral (
            select filed.category, filed.action
            from audit.filed
            where filed.action is not null and (filed.category, filed.action) > (kind.category, kind.action)
            order by filed.category, filed.action
            limit 1
        ) as following
    )
    select kind.category, kind.action
    from kind;
end
$$;

comment on function audit.filed_kinds() is 'The categories and actions of which an event is filed.';

create or replace function audit.filed_events(
    p_actor_id text, p_org_id text, p_category text, p_action text,
    p_since timestamptz, before_time timestamptz, before_id bigint, most integer
)
returns table (id bigint, occurred_at timestamptz)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
-- In the order of an index, and no further than it takes. (What is switched off costs, on paper, more than compiling would.)
set enable_sort = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    found bigint := 0;
    since timestamptz;
    part record;
begin
    -- How far back there are enough …
    for part in
        select
            filed.first_time,
            case
                when filed.last_time < before_time then filed.events
                else coalesce(array_position(filed.times, before_time) - 1, width_bucket(before_time, filed.times))
            end as events
        from audit.filed
        where (p_actor_id is null or filed.actor_hash = hashtextextended(p_actor_id, 0))
            and (p_org_id is null or filed.org_id = p_org_id)
            and (p_action is null or (filed.category = p_category and filed.action = p_action))
            and filed.last_time >= p_since
            and filed.first_time <= before_time
        order by filed.last_time desc
    loop
        found := found + part.events;
        since := least(since, part.first_time);
        exit when found >= most;
    end loop;
    since := case when found >= most then greatest(since, p_since) else p_since end;
    -- … and the newest of these: of each row the last ones. (At the cursor's own time, its id decides.)
    return query
    select entry.id, entry.occurred_at
    from (
        select
            filed.ids, filed.times, width_bucket(before_time, filed.times) as last,
            coalesce(array_position(filed.times, before_time) - 1, width_bucket(before_time, filed.times)) as below
        from audit.filed
        where (p_actor_id is null or filed.actor_hash = hashtextextended(p_actor_id, 0))
            and (p_org_id is null or filed.org_id = p_org_id)
            and (p_action is null or (filed.category = p_category and filed.action = p_action))
            and filed.last_time >= since
            and filed.first_time <= before_time
    ) as row
    cross join lateral unnest(
        row.ids[coalesce(row.below - most + 1, 1):row.last], row.times[coalesce(row.below - most + 1, 1):row.last]
    ) as entry (id, occurred_at)
    where entry.occurred_at >= since and (entry.occurred_at, entry.id) < (before_time, before_id)
    order by entry.occurred_at desc, entry.id desc
    limit most;
end
$$;

comment on function audit.filed_events(text, text, text, text, timestamptz, timestamptz, bigint, integer) is
    'The newest events of an actor (in an organization, or (null) in all), or (null) of an action, that are filed: since a time, and before an event; most null: all.';

create or replace function audit.newest_filed(wanted audit.filter, before_time timestamptz, before_id bigint, most integer)
returns table (id bigint, occurred_at timestamptz)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
set enable_sort = on
as $$
declare
    since constant timestamptz := coalesce(wanted.since, '-infinity');
    -- (Row-level security decides; this leads past what others' organizations have of an actor.)
    orgs constant text[] := audit.visible_orgs();
begin
    if before_time is null or wanted.until <= before_time then
        -- (All ids are above 0, and below the greatest bigint.)
        before_time := coalesce(wanted.until, 'infinity');
        before_id := case when wanted.until is null then 9223372036854775807 else 0 end;
    end if;
    return query
    select found.id, found.occurred_at
    from (
        select filed.id, filed.occurred_at
        from unnest(coalesce(wanted.orgs, orgs, array[null])) as org
        cross join lateral audit.filed_events(wanted.actor_id, org, null, null, since, before_time, before_id, most) as filed
        where wanted.actor_id is not null
        union all
        select filed.id, filed.occurred_at
        from audit.filed_kinds() as kind
        cross join lateral audit.filed_events(null, null, kind.category, kind.action, since, before_time, before_id, most) as filed
        where wanted.actor_id is null
            and (wanted.categories is null or kind.category = any (wanted.categories))
            and (wanted.actions is null or kind.action ~ audit.glob(wanted.actions))
        union all
        select unfiled.id, unfiled.occurred_at
        from audit.unfiled() as unfiled
        where unfiled.occurred_at >= since
            and (unfiled.occurred_at, unfiled.id) < (before_time, before_id)
            and case
                when wanted.actor_id is not null then unfiled.actor_id = wanted.actor_id and (wanted.orgs is null or unfiled.org_id = any (wanted.orgs))
                else (wanted.categories is null or unfiled.category = any (wanted.categories))
                    and (wanted.actions is null or unfiled.action ~ audit.glob(wanted.actions))
            end
    ) as found
    order by found.occurred_at desc, found.id desc
    limit most;
end
$$;

comment on function audit.newest_filed(audit.filter, timestamptz, bigint, integer) is
    'The newest events of the filter''s actor in its organizations, or else of its categories and actions over all organizations, in its time, before an event where one is given; most null: all.';

select audit.keep_out_of_statistics('audit.filed');

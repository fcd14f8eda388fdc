-- Writing the search index: audit.search_index lists the events of each actor and of each action. It is written some
-- time after they were recorded, thousands at a time.
--
-- Each write pays for every index of the log, but not for this one. Events that are not in it yet are read from the log:
-- audit_internal.unindexed_events().

create or replace function audit_internal.unindexed_events()
returns table (id bigint, occurred_at timestamptz, org_id text, category text, action text, actor_id text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
-- A generic plan doesn't know the snapshot, and would read all of an index.
set plan_cache_mode = force_custom_plan
as $$
declare
    head audit.search_index_head;
begin
    -- (A separate query: in a join, the plan doesn't know the snapshot either.)
    select * into strict head from audit.search_index_head;
    if head.restored_indexed < head.restored_id then
        return query
        select event.id, event.occurred_at, event.org_id, event.category, event.action, event.actor_id
        from audit.event
        where event.id > head.restored_indexed and event.id <= head.restored_id;
    end if;
    return query
    select event.id, event.occurred_at, event.org_id, event.category, event.action, event.actor_id
    from audit.event
    -- (As in audit_internal.events_between(), but by one range of transactions: with two, planning takes three times as long.)
    where event.xid >= pg_snapshot_xmin(head.to_snapshot)
        and event.xid < pg_snapshot_xmax(pg_current_snapshot())
        and not pg_visible_in_snapshot(event.xid, head.to_snapshot)
        and pg_visible_in_snapshot(event.xid, pg_current_snapshot())
        and event.id > head.restored_id;
end
$$;

comment on function audit_internal.unindexed_events() is 'Returns the events that audit_internal.index_events() has not indexed yet and the present role may see.';

create or replace function audit_internal.index_events(p_min_events integer default 1000, p_max_unmerged integer default 100000)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
-- (As in audit_internal.unindexed_events().)
set plan_cache_mode = force_custom_plan
as $$
declare
    -- Events of one actor or action in one row, which is always read whole.
    max_in_row constant integer := 1024;
    -- Rows with more events are not merged: that would save less than a tenth of them.
    min_full_row constant integer := 32;
    max_foreign_events constant integer := 100000;
    head audit.search_index_head;
    present pg_snapshot;
    next_snapshot pg_snapshot;
    next_restored bigint;
    is_last boolean := false;
    merging boolean;
begin
    -- Two at once: the second returns.
    select * into head from audit.search_index_head for update skip locked;
    if not found then
        return false;
    end if;
    if head.system_identifier is distinct from audit_internal.system_identifier() then
        -- The first time, or restored into another cluster.
        delete from audit.search_index;
        update audit.search_index_head
        set
            system_identifier = audit_internal.system_identifier(),
            to_snapshot = audit_internal.first_snapshot('-infinity'),
            restored_id = audit_internal.restored_id(),
            restored_indexed = 0
        returning * into head;
    end if;
    present := audit_internal.current_snapshot();
    next_snapshot := head.to_snapshot;
    next_restored := head.restored_id;
    if head.restored_indexed < head.restored_id then
        select coalesce(max(restored_event.id), head.restored_id)
        into next_restored
        from (
            select event.id
            from audit.event
            where event.id > head.restored_indexed and event.id <= head.restored_id
            order by event.id
            limit max_foreign_events
        ) as restored_event;
    else
        next_snapshot := audit_internal.bounded_snapshot(head.to_snapshot, present);
        is_last := audit_internal.transactions_between(next_snapshot, present) = 0;
        if is_last
            and p_min_events > (
                select count(*)
                from (
                    select
                    from audit_internal.events_between(head.to_snapshot, next_snapshot) as event
                    where event.id > head.restored_id
                    limit p_min_events
                ) as waiting
            )
        then
            return false;
        end if;
    end if;
    merging := (select coalesce(max(number), 0) from audit.search_index) - head.merged >= p_max_unmerged;
    with new_event as materialized (
        select event.id, event.occurred_at, event.org_id, event.category, event.action, event.actor_id
        from audit.event
        where event.id > head.restored_indexed and event.id <= next_restored
        union all
        select event.id, event.occurred_at, event.org_id, event.category, event.action, event.actor_id
        from audit_internal.events_between(head.to_snapshot, next_snapshot) as event
        where event.id > head.restored_id
    ),
    -- Few of a thousand events have the same actor, so the rows of many calls are merged.
    unmerged as (
        delete from audit.search_index where merging and number > head.merged and events <= min_full_row returning *
    ),
    entry as (
        select category, action, null::bigint as actor_hash, null::text as org_id, id, occurred_at
        from new_event
        union all
        select null, null, hashtextextended(actor_id, 0), org_id, id, occurred_at
        from new_event
        where actor_id is not null
        union all
        select unmerged.category, unmerged.action, unmerged.actor_hash, unmerged.org_id, found.id, found.occurred_at
        from unmerged
        cross join unnest(unmerged.ids, unmerged.times) as found (id, occurred_at)
    ),
    numbered as (
        select
            entry.*,
            (row_number() over (partition by category, action, actor_hash, org_id order by occurred_at, id) - 1) / max_in_row as row
        from entry
    )
    insert into audit.search_index (category, action, actor_hash, org_id, first_time, last_time, events, ids, times)
    select
        category, action, actor_hash, org_id, min(occurred_at), max(occurred_at), count(*),
        array_agg(id order by occurred_at, id), array_agg(occurred_at order by occurred_at, id)
    from numbered
    group by category, action, actor_hash, org_id, row;
    update audit.search_index_head
    set
        to_snapshot = next_snapshot,
        restored_indexed = next_restored,
        merged = case when merging then (select max(number) from audit.search_index) else merged end;
    return not is_last;
end
$$;

comment on function audit_internal.index_events(integer, integer) is
    'Indexes events by actor and by action, once at least p_min_events wait: those of at most 100,000 transactions; merges the rows once there are p_max_unmerged. Returns whether there are more. The worker calls it, and audit.maintain().';

create or replace function audit_internal.remove_from_search_index(p_begins timestamptz, p_ends timestamptz)
returns void
language sql
as $$
    delete from audit.search_index where first_time >= p_begins and last_time < p_ends;
    -- A row that extends beyond that time keeps the rest, if any.
    with split as (
        delete from audit.search_index where first_time < p_ends and last_time >= p_begins returning *
    )
    insert into audit.search_index (category, action, actor_hash, org_id, first_time, last_time, events, ids, times)
    select
        split.category, split.action, split.actor_hash, split.org_id, min(entry.occurred_at), max(entry.occurred_at), count(*),
        array_agg(entry.id order by entry.number), array_agg(entry.occurred_at order by entry.number)
    from split
    cross join unnest(split.ids, split.times) with ordinality as entry (id, occurred_at, number)
    where entry.occurred_at < p_begins or entry.occurred_at >= p_ends
    group by split.category, split.action, split.actor_hash, split.org_id, split.ids, split.times
$$;

comment on function audit_internal.remove_from_search_index(timestamptz, timestamptz) is 'Removes the events of a time [begins, ends) from audit.search_index, as they are dropped.';

create or replace function audit_internal.rename_in_search_index(p_actor_ids text[], p_pseudonym text)
returns void
language sql
as $$
    update audit.search_index
    set actor_hash = pg_catalog.hashtextextended(p_pseudonym, 0)
    where actor_hash in (select pg_catalog.hashtextextended(actor_id, 0) from unnest(p_actor_ids) as actor_id)
$$;

comment on function audit_internal.rename_in_search_index(text[], text) is 'Moves the events of these actor ids to a pseudonym in audit.search_index.';

select audit_internal.disable_statistics('audit.search_index');

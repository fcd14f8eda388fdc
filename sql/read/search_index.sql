-- Reading audit.search_index: the events of an actor, or of an action.

create or replace function audit_internal.indexed_actions()
returns table (category text, action text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set enable_sort = off
set enable_bitmapscan = off
set jit = off
as $$
begin
    -- A loose index scan: from each pair to the next one, however many rows are between them.
    return query
    with recursive kind as (
        (
            select entry.category, entry.action
            from audit.search_index as entry
            where entry.action is not null
            order by entry.category, entry.action
            limit 1
        )
        union all
        select following.category, following.action
        from kind
        cross join lateral (
            select entry.category, entry.action
            from audit.search_index as entry
            where entry.action is not null and (entry.category, entry.action) > (kind.category, kind.action)
            order by entry.category, entry.action
            limit 1
        ) as following
    )
    select kind.category, kind.action
    from kind;
end
$$;

comment on function audit_internal.indexed_actions() is 'Returns the categories and actions of indexed events.';

create or replace function audit_internal.may_contain(entry audit.search_index, wanted audit.filter, org text, kind_category text, kind_action text)
returns boolean
language sql
immutable
as $$
    select (wanted.actor_id is null or entry.actor_hash = pg_catalog.hashtextextended(wanted.actor_id, 0))
        and (org is null or entry.org_id = org)
        and (kind_action is null or (entry.category = kind_category and entry.action = kind_action))
        and entry.last_time >= wanted.since
        and entry.first_time <= wanted.before_time
$$;

comment on function audit_internal.may_contain(audit.search_index, audit.filter, text, text, text) is
    'Whether an entry may hold events of the filter''s actor (in an organization, or (null) in all), or (null) of an action, since its time and before an event.';

create or replace function audit_internal.indexed_events(wanted audit.filter, org text, kind_category text, kind_action text, max_events integer)
returns table (id bigint, occurred_at timestamptz)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
-- Read in the order of an index, until the limit. (The estimated cost of disabled plans would trigger JIT compilation.)
set enable_sort = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    found bigint := 0;
    since timestamptz;
    part record;
begin
    -- How far back there are enough events …
    for part in
        select
            entry.first_time,
            case
                when entry.last_time < wanted.before_time then entry.events
                else coalesce(array_position(entry.times, wanted.before_time) - 1, width_bucket(wanted.before_time, entry.times))
            end as events
        from audit.search_index as entry
        where audit_internal.may_contain(entry, wanted, org, kind_category, kind_action)
        order by entry.last_time desc
    loop
        found := found + part.events;
        since := least(since, part.first_time);
        exit when found >= max_events;
    end loop;
    if found >= max_events then
        wanted.since := greatest(since, wanted.since);
    end if;
    -- … and the newest of these: of each row the last ones. (At before_time itself, before_id decides.)
    return query
    select event.id, event.occurred_at
    from (
        select
            entry.ids, entry.times, width_bucket(wanted.before_time, entry.times) as last,
            coalesce(array_position(entry.times, wanted.before_time) - 1, width_bucket(wanted.before_time, entry.times)) as below
        from audit.search_index as entry
        where audit_internal.may_contain(entry, wanted, org, kind_category, kind_action)
    ) as row
    cross join lateral unnest(
        row.ids[coalesce(row.below - max_events + 1, 1):row.last], row.times[coalesce(row.below - max_events + 1, 1):row.last]
    ) as event (id, occurred_at)
    where audit_internal.is_in_range(event.occurred_at, event.id, wanted)
    order by event.occurred_at desc, event.id desc
    limit max_events;
end
$$;

comment on function audit_internal.indexed_events(audit.filter, text, text, text, integer) is
    'The newest events of the filter''s actor (in an organization, or (null) in all), or (null) of an action, that are indexed, in the filter''s range, of which since and before_time are given; max_events null: all.';

create or replace function audit_internal.newest_indexed(wanted audit.filter, max_events integer)
returns table (id bigint, occurred_at timestamptz)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
set enable_sort = on
as $$
declare
    -- (Row-level security decides; this skips an actor's events in other organizations.)
    orgs constant text[] := audit_internal.visible_orgs();
begin
    wanted.since := greatest(wanted.since, wanted.from_time, '-infinity');
    if wanted.before_time is null or wanted.until <= wanted.before_time then
        -- (All ids are above 0, and below the greatest bigint.)
        wanted.before_time := coalesce(wanted.until, 'infinity');
        wanted.before_id := case when wanted.until is null then 9223372036854775807 else 0 end;
    end if;
    return query
    select found.id, found.occurred_at
    from (
        select indexed.id, indexed.occurred_at
        from unnest(coalesce(wanted.orgs, orgs, array[null])) as org
        cross join lateral audit_internal.indexed_events(wanted, org, null, null, max_events) as indexed
        where wanted.actor_id is not null
        union all
        select indexed.id, indexed.occurred_at
        from audit_internal.indexed_actions() as kind
        cross join lateral audit_internal.indexed_events(wanted, null, kind.category, kind.action, max_events) as indexed
        where wanted.actor_id is null
            and (wanted.categories is null or kind.category = any (wanted.categories))
            and (wanted.actions is null or kind.action ~ audit_internal.glob(wanted.actions))
        union all
        select unindexed.id, unindexed.occurred_at
        from audit_internal.unindexed_events() as unindexed
        where audit_internal.is_in_range(unindexed.occurred_at, unindexed.id, wanted)
            and case
                when wanted.actor_id is not null then unindexed.actor_id = wanted.actor_id and (wanted.orgs is null or unindexed.org_id = any (wanted.orgs))
                else (wanted.categories is null or unindexed.category = any (wanted.categories))
                    and (wanted.actions is null or unindexed.action ~ audit_internal.glob(wanted.actions))
            end
    ) as found
    order by found.occurred_at desc, found.id desc
    limit max_events;
end
$$;

comment on function audit_internal.newest_indexed(audit.filter, integer) is
    'The newest events of the filter''s actor in its organizations, or else of its categories and actions over all organizations, in its range; max_events null: all.';

-- Searching: the newest events that pass a filter, without reading the whole log for a page of them.

create or replace function audit_internal.can_scan_by_org(wanted audit.filter)
returns boolean
language sql
immutable
as $$
    select wanted.resource_id is null and (wanted.actor_id is null or wanted.actor_type is not distinct from 'database')
$$;

comment on function audit_internal.can_scan_by_org(audit.filter) is
    'Whether the index of organizations suits the filter: a resource belongs to one organization, and an actor to few, unless it is a database role.';

create or replace function audit_internal.can_scan_by_actor(wanted audit.filter)
returns boolean
language sql
immutable
as $$
    select wanted.actor_id is not null and wanted.resource_id is null and (wanted.orgs is null or not audit_internal.can_scan_by_org(wanted))
$$;

comment on function audit_internal.can_scan_by_actor(audit.filter) is 'Whether the actor''s rows of audit.search_index suit the filter.';

create or replace function audit_internal.has_suitable_index(wanted audit.filter)
returns boolean
language sql
immutable
as $$
    select pg_catalog.num_nonnulls(wanted.actors, wanted.nodes, wanted.resources, wanted.words) = 0
        and case
            when pg_catalog.num_nonnulls(wanted.resource_id, wanted.actor_id) > 0 then
                pg_catalog.num_nonnulls(wanted.resource_id, wanted.actor_id, wanted.orgs, wanted.categories, wanted.actions) = 1
            else wanted.orgs is null or pg_catalog.num_nonnulls(wanted.categories, wanted.actions) = 0
        end
$$;

comment on function audit_internal.has_suitable_index(audit.filter) is
    'Whether an index or audit.search_index leads to the newest events that pass, however rare they are: one actor or one resource and nothing else, categories and actions over all organizations, or time and organizations only.';

create or replace function audit_internal.search_horizon(wanted audit.filter, scan_limit integer, out occurred_at timestamptz, out id bigint)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
-- Read in the order of an index, until the limit: without statistics the planner would read and sort everything.
set enable_sort = off
set enable_bitmapscan = off
-- (The estimated cost of disabled plans would trigger JIT compilation.)
set jit = off
as $$
begin
    if scan_limit is null then
        return;
    end if;
    if wanted.resource_id is not null then
        -- (With both a resource and an actor, by the resource, which usually has fewer events.)
        select event.occurred_at, event.id
        into occurred_at, id
        from audit.event
        where event.resource_hash = hashtextextended(wanted.resource_id, 0)
            and event.resource_hash between hashtextextended(wanted.resource_id, 0) and hashtextextended(wanted.resource_id, 0)
            and audit_internal.is_in_range(event.occurred_at, event.id, wanted)
        order by event.occurred_at desc, event.id desc
        offset scan_limit
        limit 1;
    elsif audit_internal.can_scan_by_actor(wanted) then
        select indexed.occurred_at, indexed.id
        into occurred_at, id
        from audit_internal.newest_indexed(wanted, scan_limit + 1) as indexed
        order by indexed.occurred_at desc, indexed.id desc
        offset scan_limit
        limit 1;
    elsif wanted.orgs is null then
        select event.occurred_at, event.id
        into occurred_at, id
        from audit.event
        where audit_internal.is_in_range(event.occurred_at, event.id, wanted)
        order by event.occurred_at desc, event.id desc
        offset scan_limit
        limit 1;
    else
        select reached.occurred_at, reached.id
        into occurred_at, id
        from unnest(wanted.orgs) as org
        cross join lateral (
            select event.occurred_at, event.id
            from audit.event
            where event.org_id = org
                and audit_internal.is_in_range(event.occurred_at, event.id, wanted)
            order by event.occurred_at desc, event.id desc
            offset scan_limit / greatest(cardinality(wanted.orgs), 1)
            limit 1
        ) as reached
        order by reached.occurred_at desc, reached.id desc
        limit 1;
    end if;
end
$$;

comment on function audit_internal.search_horizon(audit.filter, integer) is
    'Returns how far back a scan of scan_limit events (null: unlimited) reaches: of one resource or actor, or else by time and organization only; nulls: to the end.';

create or replace function audit_internal.newest_by_filing(wanted audit.filter, max_events integer)
returns table (id bigint, occurred_at timestamptz, category text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
-- (audit_internal.newest_events() switches it off, for reading in the order of an index.)
set enable_sort = on
as $$
declare
    -- (Above a horizon there are not many.)
    step integer := case when wanted.from_time is null then coalesce(max_events, 1000000) else 1000000 end;
    looked_at integer;
    ids bigint[];
    times timestamptz[];
    first_time timestamptz;
    last_time timestamptz;
    passing integer;
begin
    loop
        -- The indexed events of the actor or action, of which often all pass, so that one step is enough.
        select
            count(*), array_agg(indexed.id order by indexed.occurred_at desc, indexed.id desc),
            array_agg(indexed.occurred_at order by indexed.occurred_at desc, indexed.id desc),
            min(indexed.occurred_at), max(indexed.occurred_at)
        into looked_at, ids, times, first_time, last_time
        from audit_internal.newest_indexed(wanted, step) as indexed;
        return query
        select found.id, found.occurred_at, stored.category
        from unnest(ids, times) with ordinality as found (id, occurred_at, number)
        -- (OFFSET 0: one by one, by the primary key. Otherwise the planner would scan an organization's whole range of time.
        -- The range of times limits planning to the partitions of those months.)
        cross join lateral (
            select event.category
            from audit.event
            where event.id = found.id
                and event.occurred_at = found.occurred_at
                and event.occurred_at >= first_time
                and event.occurred_at <= last_time
                and audit.matches_filter(event, wanted)
            offset 0
        ) as stored
        order by found.number
        limit max_events;
        get diagnostics passing = row_count;
        max_events := max_events - passing;
        exit when looked_at < step or max_events <= 0;
        wanted.before_time := times[looked_at];
        wanted.before_id := ids[looked_at];
        step := least(step * 4, 1000000);
    end loop;
end
$$;

comment on function audit_internal.newest_by_filing(audit.filter, integer) is
    'audit_internal.newest_events() by the search index: of an actor, or of categories and actions.';

create or replace function audit_internal.newest_events(wanted audit.filter, max_events integer)
returns table (id bigint, occurred_at timestamptz, category text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
-- Read in the order of an index, until the limit: without statistics the planner would read and sort everything.
set enable_sort = off
set enable_bitmapscan = off
-- (The estimated cost of disabled plans would trigger JIT compilation.)
set jit = off
as $$
declare
    within_org audit.filter := wanted;
begin
    if wanted.orgs is not null and audit_internal.can_scan_by_org(wanted) then
        within_org.orgs := null;
        return query
        select found.id, found.occurred_at, found.category
        from unnest(wanted.orgs) as org
        cross join lateral (
            select event.id, event.occurred_at, event.category
            from audit.event
            where event.org_id = org
                and audit.matches_filter(event, within_org)
            order by event.occurred_at desc, event.id desc
            limit max_events
        ) as found
        order by found.occurred_at desc, found.id desc
        limit max_events;
    elsif audit_internal.can_scan_by_actor(wanted)
        or (
            audit_internal.has_suitable_index(wanted)
            and wanted.resource_id is null
            and (wanted.categories is not null or wanted.actions is not null)
            and audit_internal.visible_orgs() is null
        )
    then
        return query
        select found.id, found.occurred_at, found.category
        from audit_internal.newest_by_filing(wanted, max_events) as found;
    else
        return query
        select event.id, event.occurred_at, event.category
        from audit.event
        where audit.matches_filter(event, wanted)
        order by event.occurred_at desc, event.id desc
        limit max_events;
    end if;
end
$$;

comment on function audit_internal.newest_events(audit.filter, integer) is
    'Returns the newest events that pass (max_events null: all), newest first, by the index that suits the filter.';

create or replace function audit.search(p_filter jsonb, max_events integer default 50, scan_limit integer default null)
returns table (event audit.event, summary jsonb)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    wanted audit.filter := audit_internal.restrict_to_visible(audit.filter(p_filter));
    horizon record;
    ids bigint[];
    times timestamptz[];
    first_time timestamptz;
    last_time timestamptz;
begin
    horizon := audit_internal.search_horizon(wanted, case when not audit_internal.has_suitable_index(wanted) then scan_limit end);
    wanted.from_time := horizon.occurred_at;
    wanted.from_id := horizon.id;
    select array_agg(newest.id), array_agg(newest.occurred_at), min(newest.occurred_at), max(newest.occurred_at)
    into ids, times, first_time, last_time
    from audit_internal.newest_events(wanted, max_events) as newest;
    return query
    select stored.event, null::jsonb
    from unnest(ids, times) as found (id, occurred_at)
    -- (As in audit_internal.newest_by_filing().)
    cross join lateral (
        select event
        from audit.event
        where event.id = found.id
            and event.occurred_at = found.occurred_at
            and event.occurred_at >= first_time
            and event.occurred_at <= last_time
        offset 0
    ) as stored
    order by found.occurred_at desc, found.id desc;
    event := null;
    summary := jsonb_build_object(
        'visible_from',
        (select coalesce(jsonb_agg(visible), '[]') from audit_internal.visible_from(wanted) as visible),
        'horizon',
        case when horizon.id is not null and coalesce(cardinality(ids), 0) < max_events then
            jsonb_build_object('occurred_at', horizon.occurred_at, 'id', horizon.id)
        end
    );
    return next;
end
$$;

comment on function audit.search(jsonb, integer, integer) is
    'The newest events that pass a filter (audit.filter() says what is in one), newest first. Without a suitable index only scan_limit events are scanned. Its last row has no event but a summary: horizon (how far back it scanned, if there is more) and visible_from (audit_internal.visible_from()).';

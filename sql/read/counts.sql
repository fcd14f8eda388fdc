-- Counting the events that pass a filter, for a chart.

create or replace function audit_internal.count_events(p_filter jsonb, unit text, max_events integer)
returns table (begins date, category text, events bigint, counted_from timestamptz)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
    wanted audit.filter := audit_internal.restrict_to_visible(audit.filter(p_filter));
    horizon record;
begin
    -- Where every event that is read passes (by time alone, or of one actor), max_events alone limits the scan. (Of a large
    -- organization the planner would rather read and sort everything.)
    if not audit_internal.has_suitable_index(wanted)
        or wanted.resource_id is not null
        or wanted.actor_id is null and num_nonnulls(wanted.categories, wanted.actions, wanted.orgs) > 0
    then
        horizon := audit_internal.search_horizon(wanted, max_events);
        wanted.from_time := horizon.occurred_at;
        wanted.from_id := horizon.id;
    end if;
    return query
    with days as (
        -- (By day first: for each event a cast to date costs a third of date_trunc().)
        select newest.occurred_at::date as day, newest.category, count(*) as events, min(newest.occurred_at) as first
        from audit_internal.newest_events(wanted, max_events) as newest
        group by 1, 2
    ),
    counts as (
        select date_trunc(unit, days.day)::date as begins, days.category, sum(days.events)::bigint as events, min(days.first) as first
        from days
        group by 1, 2
    ),
    reach as (
        select coalesce(wanted.from_time, case when sum(counts.events) = max_events then min(counts.first) end) as reached
        from counts
    )
    select counts.begins, counts.category, counts.events, reach.reached
    from reach
    left join counts on true
    where counts.category is not null or reach.reached is not null
    order by 1, 2;
end
$$;

comment on function audit_internal.count_events(jsonb, text, integer) is
    'Counts the events that pass a filter, by day, week or month of the session''s time zone and by category. At most max_events of the newest are counted: counted_from then says how far back, if need be in a row without a category.';

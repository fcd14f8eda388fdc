-- Counting what passes a filter, for a chart.

create or replace function audit_internal.is_of_time_alone(wanted audit.filter)
returns boolean
language sql
immutable
as $$
    select audit_internal.has_index_of_its_own(wanted)
        and wanted.categories is null
        and wanted.actions is null
        and wanted.resource_id is null
        and wanted.actor_id is null
        -- (Of a large organization the planner would rather read and sort all.)
        and wanted.orgs is null
$$;

comment on function audit_internal.is_of_time_alone(audit.filter) is
    'Whether nothing but time narrows it: then an index has all that passes in a row.';

create or replace function audit_internal.counted(p_filter jsonb, unit text, max_events integer)
returns table (begins date, category text, events bigint, counted_from timestamptz)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
    wanted audit.filter := audit_internal.narrowed(audit.filter(p_filter));
    horizon record;
begin
    -- (Where all that is looked at passes, the limit alone says how far.)
    if not (audit_internal.is_of_time_alone(wanted) or (audit_internal.goes_by_actor(wanted) and audit_internal.has_index_of_its_own(wanted))) then
        horizon := audit_internal.horizon(wanted, max_events);
        wanted.from_time := horizon.occurred_at;
        wanted.from_id := horizon.id;
    end if;
    return query
    with days as (
        -- (By day first: a cast to date costs a third of date_trunc(), for each event.)
        select newest.occurred_at::date as day, newest.category, count(*) as events, min(newest.occurred_at) as first
        from audit_internal.newest(wanted, max_events) as newest
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

comment on function audit_internal.counted(jsonb, text, integer) is
    'How many events pass a filter, by day, week or month of the session''s time zone and by category; of the newest ones only, where there are more than so many: then counted_from says how far back, if need be in a row of no category.';

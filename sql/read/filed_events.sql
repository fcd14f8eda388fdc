-- Reading audit.filed: the events of an actor, or of an action.

create or replace function audit_internal.filed_actions()
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

comment on function audit_internal.filed_actions() is 'Returns the categories and actions of filed events.';

create or replace function audit_internal.may_contain(filed audit.filed, wanted audit.filter, org text, kind_category text, kind_action text)
returns boolean
language sql
immutable
as $$
    select (wanted.actor_id is null or filed.actor_hash = pg_catalog.hashtextextended(wanted.actor_id, 0))
        and (org is null or filed.org_id = org)
        and (kind_action is null or (filed.category = kind_category and filed.action = kind_action))
        and filed.last_time >= wanted.since
        and filed.first_time <= wanted.before_time
$$;

comment on function audit_internal.may_contain(audit.filed, audit.filter, text, text, text) is
    'Whether a row of what is filed may hold events of the filter''s actor (in an organization, or (null) in all), or (null) of an action, since its time and before an event.';

create or replace function audit_internal.filed_events(wanted audit.filter, org text, kind_category text, kind_action text, max_events integer)
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
            filed.first_time,
            case
                when filed.last_time < wanted.before_time then filed.events
                else coalesce(array_position(filed.times, wanted.before_time) - 1, width_bucket(wanted.before_time, filed.times))
            end as events
        from audit.filed
        where audit_internal.may_contain(filed, wanted, org, kind_category, kind_action)
        order by filed.last_time desc
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
    select entry.id, entry.occurred_at
    from (
        select
            filed.ids, filed.times, width_bucket(wanted.before_time, filed.times) as last,
            coalesce(array_position(filed.times, wanted.before_time) - 1, width_bucket(wanted.before_time, filed.times)) as below
        from audit.filed
        where audit_internal.may_contain(filed, wanted, org, kind_category, kind_action)
    ) as row
    cross join lateral unnest(
        row.ids[coalesce(row.below - max_events + 1, 1):row.last], row.times[coalesce(row.below - max_events + 1, 1):row.last]
    ) as entry (id, occurred_at)
    where audit_internal.is_in_range(entry.occurred_at, entry.id, wanted)
    order by entry.occurred_at desc, entry.id desc
    limit max_events;
end
$$;

comment on function audit_internal.filed_events(audit.filter, text, text, text, integer) is
    'The newest events of the filter''s actor (in an organization, or (null) in all), or (null) of an action, that are filed, in the filter''s range, of which since and before_time are given; max_events null: all.';

create or replace function audit_internal.newest_filed(wanted audit.filter, max_events integer)
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
        select filed.id, filed.occurred_at
        from unnest(coalesce(wanted.orgs, orgs, array[null])) as org
        cross join lateral audit_internal.filed_events(wanted, org, null, null, max_events) as filed
        where wanted.actor_id is not null
        union all
        select filed.id, filed.occurred_at
        from audit_internal.filed_actions() as kind
        cross join lateral audit_internal.filed_events(wanted, null, kind.category, kind.action, max_events) as filed
        where wanted.actor_id is null
            and (wanted.categories is null or kind.category = any (wanted.categories))
            and (wanted.actions is null or kind.action ~ audit_internal.glob(wanted.actions))
        union all
        select unfiled.id, unfiled.occurred_at
        from audit_internal.unfiled_events() as unfiled
        where audit_internal.is_in_range(unfiled.occurred_at, unfiled.id, wanted)
            and case
                when wanted.actor_id is not null then unfiled.actor_id = wanted.actor_id and (wanted.orgs is null or unfiled.org_id = any (wanted.orgs))
                else (wanted.categories is null or unfiled.category = any (wanted.categories))
                    and (wanted.actions is null or unfiled.action ~ audit_internal.glob(wanted.actions))
            end
    ) as found
    order by found.occurred_at desc, found.id desc
    limit max_events;
end
$$;

comment on function audit_internal.newest_filed(audit.filter, integer) is
    'The newest events of the filter''s actor in its organizations, or else of its categories and actions over all organizations, in its range; max_events null: all.';

-- Searching: the newest events that pass a filter, without ever reading the whole log for a page of them.

create or replace function audit_internal.goes_by_org(wanted audit.filter)
returns boolean
language sql
immutable
as $$
    select wanted.resource_id is null and (wanted.actor_id is null or wanted.actor_type is not distinct from 'database')
$$;

comment on function audit_internal.goes_by_org(audit.filter) is
    'Whether organizations lead to the events that pass, where they are known: a resource is of one, and an actor of few, unless it is a database role.';

create or replace function audit_internal.goes_by_actor(wanted audit.filter)
returns boolean
language sql
immutable
as $$
    select wanted.actor_id is not null and wanted.resource_id is null and (wanted.orgs is null or not audit_internal.goes_by_org(wanted))
$$;

comment on function audit_internal.goes_by_actor(audit.filter) is 'Whether what is filed of the actor leads to the events that pass.';

create or replace function audit_internal.has_index_of_its_own(wanted audit.filter)
returns boolean
language sql
immutable
as $$
    select wanted.actors is null
        and wanted.nodes is null
        and wanted.resources is null
        and wanted.words is null
        and (
            case
                when wanted.resource_id is not null or wanted.actor_id is not null then
                    (wanted.resource_id is null or wanted.actor_id is null)
                    and wanted.orgs is null
                    and wanted.categories is null
                    and wanted.actions is null
                else wanted.orgs is null or (wanted.categories is null and wanted.actions is null)
            end
        )
$$;

comment on function audit_internal.has_index_of_its_own(audit.filter) is
    'Whether an index, or what is filed, leads to the newest events that pass, however rare they are: one actor or one resource and nothing else, categories and actions over all organizations, or nothing but time and organizations.';

create or replace function audit_internal.horizon(wanted audit.filter, look_at integer, out occurred_at timestamptz, out id bigint)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
-- In the order of an index, and no further than it takes: without statistics the planner would rather read and sort all.
set enable_sort = off
set enable_bitmapscan = off
-- (What is switched off costs, on paper, more than compiling would.)
set jit = off
as $$
begin
    if look_at is null then
        return;
    end if;
    if wanted.resource_id is not null then
        -- (Of a resource and an actor, the one that has fewer events in general.)
        select event.occurred_at, event.id
        into occurred_at, id
        from audit.event
        where event.resource_hash = hashtextextended(wanted.resource_id, 0)
            and event.resource_hash between hashtextextended(wanted.resource_id, 0) and hashtextextended(wanted.resource_id, 0)
            and audit_internal.is_in_range(event.occurred_at, event.id, wanted)
        order by event.occurred_at desc, event.id desc
        offset look_at
        limit 1;
    elsif audit_internal.goes_by_actor(wanted) then
        select filed.occurred_at, filed.id
        into occurred_at, id
        from audit_internal.newest_filed(wanted, look_at + 1) as filed
        order by filed.occurred_at desc, filed.id desc
        offset look_at
        limit 1;
    elsif wanted.orgs is null then
        select event.occurred_at, event.id
        into occurred_at, id
        from audit.event
        where audit_internal.is_in_range(event.occurred_at, event.id, wanted)
        order by event.occurred_at desc, event.id desc
        offset look_at
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
            offset look_at / greatest(cardinality(wanted.orgs), 1)
            limit 1
        ) as reached
        order by reached.occurred_at desc, reached.id desc
        limit 1;
    end if;
end
$$;

comment on function audit_internal.horizon(audit.filter, integer) is
    'How far back a look at so many events reaches (null: at all): at those of one resource or actor, or else by time and organization alone; nulls: to the end.';

create or replace function audit_internal.newest_of_filed(wanted audit.filter, max_events integer)
returns table (id bigint, occurred_at timestamptz, category text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
-- (audit_internal.newest() has it off, for what it reads in the order of an index.)
set enable_sort = on
as $$
declare
    -- (Down to a horizon there are not many.)
    step integer := case when wanted.from_time is null then coalesce(max_events, 1000000) else 1000000 end;
    looked_at integer;
    ids bigint[];
    times timestamptz[];
    first_time timestamptz;
    last_time timestamptz;
    passing integer;
begin
    loop
        -- What is filed under the actor or the action, and of it what passes: often all, so that one step will do.
        select
            count(*), array_agg(filed.id order by filed.occurred_at desc, filed.id desc),
            array_agg(filed.occurred_at order by filed.occurred_at desc, filed.id desc),
            min(filed.occurred_at), max(filed.occurred_at)
        into looked_at, ids, times, first_time, last_time
        from audit_internal.newest_filed(wanted, step) as filed;
        return query
        select found.id, found.occurred_at, stored.category
        from unnest(ids, times) with ordinality as found (id, occurred_at, place)
        -- (Offset: one by one, by the primary key. All of them at once the planner looks for in an organization's whole time.
        -- With their times at hand, only the partitions of those months are planned for.)
        cross join lateral (
            select event.category
            from audit.event
            where event.id = found.id
                and event.occurred_at = found.occurred_at
                and event.occurred_at >= first_time
                and event.occurred_at <= last_time
                and audit.passes(event, wanted)
            offset 0
        ) as stored
        order by found.place
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

comment on function audit_internal.newest_of_filed(audit.filter, integer) is
    'audit_internal.newest() by what is filed under an actor, or under categories and actions.';

create or replace function audit_internal.newest(wanted audit.filter, max_events integer)
returns table (id bigint, occurred_at timestamptz, category text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
-- In the order of an index, and no further than it takes: without statistics the planner would rather read and sort all.
set enable_sort = off
set enable_bitmapscan = off
-- (What is switched off costs, on paper, more than compiling would.)
set jit = off
as $$
declare
    within_org audit.filter := wanted;
begin
    if wanted.orgs is not null and audit_internal.goes_by_org(wanted) then
        within_org.orgs := null;
        return query
        select found.id, found.occurred_at, found.category
        from unnest(wanted.orgs) as org
        cross join lateral (
            select event.id, event.occurred_at, event.category
            from audit.event
            where event.org_id = org
                and audit.passes(event, within_org)
            order by event.occurred_at desc, event.id desc
            limit max_events
        ) as found
        order by found.occurred_at desc, found.id desc
        limit max_events;
    elsif audit_internal.goes_by_actor(wanted)
        or (
            audit_internal.has_index_of_its_own(wanted)
            and wanted.resource_id is null
            and (wanted.categories is not null or wanted.actions is not null)
            and audit_internal.visible_orgs() is null
        )
    then
        return query
        select found.id, found.occurred_at, found.category
        from audit_internal.newest_of_filed(wanted, max_events) as found;
    else
        return query
        select event.id, event.occurred_at, event.category
        from audit.event
        where audit.passes(event, wanted)
        order by event.occurred_at desc, event.id desc
        limit max_events;
    end if;
end
$$;

comment on function audit_internal.newest(audit.filter, integer) is
    'The newest events that pass (null: all), newest first, by the index that suits the filter.';

create or replace function audit.search(p_filter jsonb, max_events integer default 50, look_at integer default null)
returns table (event audit.event, summary jsonb)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    wanted audit.filter := audit_internal.narrowed(audit.filter(p_filter));
    horizon record;
    ids bigint[];
    times timestamptz[];
    first_time timestamptz;
    last_time timestamptz;
begin
    horizon := audit_internal.horizon(wanted, case when not audit_internal.has_index_of_its_own(wanted) then look_at end);
    wanted.from_time := horizon.occurred_at;
    wanted.from_id := horizon.id;
    select array_agg(newest.id), array_agg(newest.occurred_at), min(newest.occurred_at), max(newest.occurred_at)
    into ids, times, first_time, last_time
    from audit_internal.newest(wanted, max_events) as newest;
    return query
    select stored.event, null::jsonb
    from unnest(ids, times) as found (id, occurred_at)
    -- (As in audit_internal.newest_of_filed().)
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
    'The newest events that pass a filter (audit.filter() says what is in one), newest first. Without an index that leads to them, only the next so many are looked at (look_at). Its last row has no event but a summary: horizon (how far back it looked, if there is more) and visible_from (audit_internal.visible_from()).';

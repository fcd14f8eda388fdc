-- Searching: the newest events that pass a filter, without ever reading the whole log for a page of them.
--
-- Beside each comparison of (occurred_at, id) stands what follows from it for occurred_at alone: by that the planner leaves
-- out whole months, which it does not by a comparison of rows. And a hash is compared twice: without statistics (see
-- audit.keep_out_of_statistics()) the planner would otherwise take an organization to be as rare as one resource.

create or replace function audit.passes(event audit.event, wanted audit.filter)
returns boolean
language sql
immutable
parallel safe
as $$
    -- Without a subquery, so that the planner sees through it.
    select audit.matches(event, wanted.categories, wanted.actions, wanted.orgs, wanted.since, wanted.until)
        -- (What this database did itself is of no node.)
        and (wanted.nodes is null or coalesce(event.node, '-') = any (wanted.nodes))
        and (
            wanted.actors is null
            or event.actor_id ~* audit.glob(wanted.actors)
            or event.actor_label ~* audit.glob(wanted.actors)
        )
        and (
            wanted.resources is null
            or event.resource_id ~* audit.glob(wanted.resources)
            or event.resource_label ~* audit.glob(wanted.resources)
        )
        and (
            wanted.actor_id is null
            or (
                event.actor_id = wanted.actor_id
                and (wanted.actor_type is null or event.actor_type = wanted.actor_type)
            )
        )
        and (
            wanted.resource_id is null
            or (
                event.resource_hash = pg_catalog.hashtextextended(wanted.resource_id, 0)
                and event.resource_hash between pg_catalog.hashtextextended(wanted.resource_id, 0) and pg_catalog.hashtextextended(wanted.resource_id, 0)
                and event.resource_id = wanted.resource_id
                and (wanted.resource_type is null or event.resource_type = wanted.resource_type)
            )
        )
        and (
            wanted.words is null
            or pg_catalog.strpos(
                pg_catalog.lower(
                    event.action
                    || pg_catalog.chr(10) || coalesce(event.actor_label, '')
                    || pg_catalog.chr(10) || coalesce(event.actor_id, '')
                    || pg_catalog.chr(10) || coalesce(event.resource_label, '')
                    || pg_catalog.chr(10) || coalesce(event.resource_id, '')
                    || pg_catalog.chr(10) || coalesce(event.reason, '')
                    || pg_catalog.chr(10) || coalesce(event.request_id, '')
                    || pg_catalog.chr(10) || coalesce(event.before::text, '')
                    || pg_catalog.chr(10) || coalesce(event.after::text, '')
                ),
                pg_catalog.lower(wanted.words)
            ) > 0
        )
$$;

comment on function audit.passes(audit.event, audit.filter) is
    'Whether an event passes a filter. The text is looked for whatever its case in action, actor, resource, reason, request id and the rows before and after.';

create or replace function audit.visible_orgs()
returns text[]
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select case
        -- As row-level security itself has it: who is under no policy (an owner of the log, BYPASSRLS), or under another than
        -- those two that go by organization, is narrowed by none.
        when not row_security_active('audit.event'::regclass::oid)
            or exists (
                select
                from pg_policy
                where polrelid = 'audit.event'::regclass
                    and polpermissive
                    and polcmd in ('r', '*')
                    and polname not in ('granted_orgs', 'named_org')
                    and exists (
                        select from unnest(polroles) as role (oid) where role.oid = 0 or pg_has_role(role.oid, 'usage')
                    )
            )
            then null
        else array(
            select org_grant.org_id
            from audit.org_grant
            union
            select nullif(current_setting('pgtrail.org', true), '')
            where pg_has_role('audit_org_reader', 'usage') and current_setting('pgtrail.org', true) <> ''
        )
    end
$$;

comment on function audit.visible_orgs() is 'The organizations whose events the present role may see; null: all.';

create or replace function audit.goes_by_org(wanted audit.filter)
returns boolean
language sql
immutable
as $$
    select wanted.resource_id is null and (wanted.actor_id is null or wanted.actor_type is not distinct from 'database')
$$;

comment on function audit.goes_by_org(audit.filter) is
    'Whether organizations lead to the events that pass, where they are known: a resource is of one, and an actor of few, unless it is a database role.';

create or replace function audit.goes_by_actor(wanted audit.filter)
returns boolean
language sql
immutable
as $$
    select wanted.actor_id is not null and wanted.resource_id is null and (wanted.orgs is null or not audit.goes_by_org(wanted))
$$;

comment on function audit.goes_by_actor(audit.filter) is 'Whether what is filed of the actor leads to the events that pass.';

create or replace function audit.narrowed(wanted audit.filter)
returns audit.filter
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    visible text[] := audit.visible_orgs();
begin
    -- Row-level security decides; this lets the planner go by organization. (Not where it should go by one resource or
    -- actor: an organization that is named twice is taken for a small one.)
    if visible is not null and audit.goes_by_org(wanted) then
        wanted.orgs := array(
            select org from unnest(visible) as org where wanted.orgs is null or org = any (wanted.orgs)
        );
    end if;
    return wanted;
end
$$;

comment on function audit.narrowed(audit.filter) is 'The filter with the organizations that the present role may see.';

create or replace function audit.removed_until()
returns timestamptz
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select max(ends) from audit.dropped_partition
$$;

comment on function audit.removed_until() is 'The end of the last month that retention, or an archive, has taken out of the log; null: none was.';

create or replace function audit.visible_from(wanted audit.filter, out moment timestamptz, out reason text)
returns setof record
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    orgs text[] := audit.visible_orgs();
begin
    moment := audit.removed_until();
    if moment > coalesce(wanted.since, '-infinity') then
        reason := 'months before that were dropped by retention, or moved to an archive';
        return next;
    end if;
    if orgs is null then
        return;
    end if;
    moment := (
        select min(earliest.occurred_at)
        from unnest(orgs) as org
        cross join lateral (
            select event.occurred_at
            from audit.event
            where event.org_id = org
            order by event.occurred_at, event.id
            limit 1
        ) as earliest
    );
    if moment is null then
        reason := case
            when orgs = '{}' then
                format('%s may see no organization''s events: audit.grant_org() grants them, audit_auditor sees all', quote_ident(current_user))
            else 'there is no event of the organizations that this role may see'
        end;
        return next;
    elsif moment > coalesce(wanted.since, '-infinity') then
        reason := 'that is the first event of the organizations that this role may see; what belonged to none, or to another, is not shown';
        return next;
    end if;
end
$$;

comment on function audit.visible_from(audit.filter) is
    'From when on what a filter asks for is visible to the present role, where it asks for more: months may be gone, and organizations'' events begin some time. No row: all of it is. A null moment: none of it.';

create or replace function audit.kinds()
returns table (category text, action text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if audit.visible_orgs() is not null then
        return query
        select distinct event.category, event.action
        from audit.event
        order by 1, 2;
        return;
    end if;
    return query
    select kind.category, kind.action
    from audit.filed_kinds() as kind
    union
    select unfiled.category, unfiled.action
    from audit.unfiled() as unfiled
    order by 1, 2;
end
$$;

comment on function audit.kinds() is
    'The categories and actions of which there is an event. Quick for who sees every organization; for others it reads their whole log.';

create or replace function audit.known_orgs(most integer)
returns table (org_id text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- From each to the next one in the index, however many events lie between them.
    return query
    with recursive known as (
        (
            select event.org_id, 1 as place
            from audit.event
            where event.org_id is not null
            order by event.org_id
            limit 1
        )
        union all
        select following.org_id, known.place + 1
        from known
        cross join lateral (
            select event.org_id
            from audit.event
            where event.org_id > known.org_id
            order by event.org_id
            limit 1
        ) as following
        where known.place < most
    )
    select known.org_id
    from known;
end
$$;

comment on function audit.known_orgs(integer) is 'The organizations of which the present role sees events, in their order, and no more than so many.';

create or replace function audit.visible_nodes(look_at integer)
returns table (name text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    orgs text[] := audit.visible_orgs();
begin
    if orgs is null and has_table_privilege('audit.node', 'select') then
        return query
        select node.name
        from audit.node
        union all
        values ('-');
    else
        -- (A node may be called by whose it is: of others not even the names.)
        return query
        select distinct coalesce(newest.node, '-')
        from unnest(orgs) as org
        cross join lateral (
            select event.node
            from audit.event
            where event.org_id = org
            order by event.occurred_at desc, event.id desc
            limit greatest(look_at / cardinality(orgs), 1)
        ) as newest;
    end if;
end
$$;

comment on function audit.visible_nodes(integer) is
    'The nodes that a filter can take, `-` for this database itself; for who sees only some organizations those alone of whose newest events (look_at in all) there are some.';

create or replace function audit.unmatched(wanted audit.filter)
returns table (setting text, value text, known text[])
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select 'organization', org, array(select known.org_id from audit.known_orgs(1000) as known)
    from unnest(wanted.orgs) as org
    where not exists (select from audit.event where event.org_id = org)
    union all
    select 'action', pattern, array(select distinct kind.action from audit.kinds() as kind order by 1)
    from unnest(wanted.actions) as pattern
    where not exists (select from audit.kinds() as kind where kind.action ~ audit.glob(array[pattern]))
    union all
    select 'node', node, array(select visible.name from audit.visible_nodes(10000) as visible order by 1)
    from unnest(wanted.nodes) as node
    where not exists (select from audit.visible_nodes(10000) as visible where visible.name = node)
$$;

comment on function audit.unmatched(audit.filter) is
    'What a filter names and no event has, so that it lets nothing through by it: organizations, patterns of actions, nodes; and what there is instead.';

create or replace function audit.horizon(
    wanted audit.filter, before_time timestamptz, before_id bigint, most integer,
    out occurred_at timestamptz, out id bigint
)
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
    if most is null then
        return;
    end if;
    if wanted.resource_id is not null then
        -- (Of a resource and an actor, the one that has fewer events in general.)
        select event.occurred_at, event.id
        into occurred_at, id
        from audit.event
        where event.resource_hash = hashtextextended(wanted.resource_id, 0)
            and event.resource_hash between hashtextextended(wanted.resource_id, 0) and hashtextextended(wanted.resource_id, 0)
            and (wanted.since is null or event.occurred_at >= wanted.since)
            and (wanted.until is null or event.occurred_at < wanted.until)
            and (before_time is null or event.occurred_at <= before_time)
            and (before_time is null or (event.occurred_at, event.id) < (before_time, before_id))
        order by event.occurred_at desc, event.id desc
        offset most
        limit 1;
    elsif audit.goes_by_actor(wanted) then
        select filed.occurred_at, filed.id
        into occurred_at, id
        from audit.newest_filed(wanted, before_time, before_id, most + 1) as filed
        order by filed.occurred_at desc, filed.id desc
        offset most
        limit 1;
    elsif wanted.orgs is null then
        select event.occurred_at, event.id
        into occurred_at, id
        from audit.event
        where (wanted.since is null or event.occurred_at >= wanted.since)
            and (wanted.until is null or event.occurred_at < wanted.until)
            and (before_time is null or event.occurred_at <= before_time)
            and (before_time is null or (event.occurred_at, event.id) < (before_time, before_id))
        order by event.occurred_at desc, event.id desc
        offset most
        limit 1;
    else
        select reached.occurred_at, reached.id
        into occurred_at, id
        from unnest(wanted.orgs) as org
        cross join lateral (
            select event.occurred_at, event.id
            from audit.event
            where event.org_id = org
                and (wanted.since is null or event.occurred_at >= wanted.since)
                and (wanted.until is null or event.occurred_at < wanted.until)
                and (before_time is null or event.occurred_at <= before_time)
                and (before_time is null or (event.occurred_at, event.id) < (before_time, before_id))
            order by event.occurred_at desc, event.id desc
            offset most / greatest(cardinality(wanted.orgs), 1)
            limit 1
        ) as reached
        order by reached.occurred_at desc, reached.id desc
        limit 1;
    end if;
end
$$;

comment on function audit.horizon(audit.filter, timestamptz, bigint, integer) is
    'How far back a look at so many events reaches (null: at all) before an event, or from the newest one: at those of one resource or actor, or else by time and organization alone; nulls: to the end.';

create or replace function audit.has_index_of_its_own(wanted audit.filter)
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

comment on function audit.has_index_of_its_own(audit.filter) is
    'Whether an index, or what is filed, leads to the newest events that pass, however rare they are: one actor or one resource and nothing else, categories and actions over all organizations, or nothing but time and organizations.';

create or replace function audit.newest_of_filed(
    wanted audit.filter, before_time timestamptz, before_id bigint, horizon_time timestamptz, horizon_id bigint, most integer
)
returns table (id bigint, occurred_at timestamptz, category text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
-- (audit.newest() has it off, for what it reads in the order of an index.)
set enable_sort = on
as $$
declare
    -- (Down to a horizon there are not many.)
    step integer := case when horizon_time is null then coalesce(most, 1000000) else 1000000 end;
    looked_at integer;
    ids bigint[];
    times timestamptz[];
    first_time timestamptz;
    last_time timestamptz;
    passing integer;
begin
    if horizon_time is not null then
        wanted.since := greatest(wanted.since, horizon_time);
    end if;
    loop
        -- What is filed under the actor or the action, and of it what passes: often all, so that one step will do.
        select
            count(*), array_agg(filed.id order by filed.occurred_at desc, filed.id desc),
            array_agg(filed.occurred_at order by filed.occurred_at desc, filed.id desc),
            min(filed.occurred_at), max(filed.occurred_at)
        into looked_at, ids, times, first_time, last_time
        from audit.newest_filed(wanted, before_time, before_id, step) as filed;
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
        where horizon_time is null or (found.occurred_at, found.id) >= (horizon_time, horizon_id)
        order by found.place
        limit most;
        get diagnostics passing = row_count;
        most := most - passing;
        exit when looked_at < step or most <= 0;
        before_time := times[looked_at];
        before_id := ids[looked_at];
        step := least(step * 4, 1000000);
    end loop;
end
$$;

comment on function audit.newest_of_filed(audit.filter, timestamptz, bigint, timestamptz, bigint, integer) is
    'audit.newest() by what is filed under an actor, or under categories and actions; with their categories.';

create or replace function audit.newest(
    wanted audit.filter, before_time timestamptz, before_id bigint, horizon_time timestamptz, horizon_id bigint, most integer
)
returns table (id bigint, occurred_at timestamptz)
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
    if wanted.orgs is not null and audit.goes_by_org(wanted) then
        within_org.orgs := null;
        return query
        select found.id, found.occurred_at
        from unnest(wanted.orgs) as org
        cross join lateral (
            select event.id, event.occurred_at
            from audit.event
            where event.org_id = org
                and audit.passes(event, within_org)
                and (before_time is null or event.occurred_at <= before_time)
                and (before_time is null or (event.occurred_at, event.id) < (before_time, before_id))
                and (horizon_time is null or event.occurred_at >= horizon_time)
                and (horizon_time is null or (event.occurred_at, event.id) >= (horizon_time, horizon_id))
            order by event.occurred_at desc, event.id desc
            limit most
        ) as found
        order by found.occurred_at desc, found.id desc
        limit most;
    elsif audit.goes_by_actor(wanted)
        or (
            audit.has_index_of_its_own(wanted)
            and wanted.resource_id is null
            and (wanted.categories is not null or wanted.actions is not null)
            and audit.visible_orgs() is null
        )
    then
        return query
        select found.id, found.occurred_at
        from audit.newest_of_filed(wanted, before_time, before_id, horizon_time, horizon_id, most) as found;
    else
        return query
        select event.id, event.occurred_at
        from audit.event
        where audit.passes(event, wanted)
            and (before_time is null or event.occurred_at <= before_time)
            and (before_time is null or (event.occurred_at, event.id) < (before_time, before_id))
            and (horizon_time is null or event.occurred_at >= horizon_time)
            and (horizon_time is null or (event.occurred_at, event.id) >= (horizon_time, horizon_id))
        order by event.occurred_at desc, event.id desc
        limit most;
    end if;
end
$$;

comment on function audit.newest(audit.filter, timestamptz, bigint, timestamptz, bigint, integer) is
    'The newest events that pass, newest first: before an event, and not beyond a horizon, where these are given. By the index that suits the filter.';

drop function if exists audit.newest_as_planned(audit.filter, timestamptz, bigint, timestamptz, bigint, integer);
drop function if exists audit.newest_in_order(audit.filter, timestamptz, bigint, timestamptz, bigint, integer);

create or replace function audit.newest_events(
    wanted audit.filter, before_time timestamptz, before_id bigint, look_at integer, most integer
)
returns setof audit.event
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
    horizon record;
    ids bigint[];
    times timestamptz[];
    first_time timestamptz;
    last_time timestamptz;
begin
    horizon := audit.horizon(
        wanted, before_time, before_id, case when not audit.has_index_of_its_own(wanted) then look_at end
    );
    select array_agg(newest.id), array_agg(newest.occurred_at), min(newest.occurred_at), max(newest.occurred_at)
    into ids, times, first_time, last_time
    from audit.newest(wanted, before_time, before_id, horizon.occurred_at, horizon.id, most) as newest;
    return query
    select stored.*
    from unnest(ids, times) as found (id, occurred_at)
    -- (As in audit.newest_of_filed().)
    cross join lateral (
        select event.*
        from audit.event
        where event.id = found.id
            and event.occurred_at = found.occurred_at
            and event.occurred_at >= first_time
            and event.occurred_at <= last_time
        offset 0
    ) as stored
    order by found.occurred_at desc, found.id desc;
end
$$;

comment on function audit.newest_events(audit.filter, timestamptz, bigint, integer, integer) is
    'The newest events that pass, newest first, before an event where one is given; without an index that leads to them, of the next so many (look_at) alone: how far that is audit.horizon() says.';

create or replace function audit.neighbours(
    p_node text, p_resource_type text, p_resource_id text, p_time timestamptz, p_id bigint,
    out previous bigint, out following bigint
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
set enable_sort = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    hash bigint := hashtextextended(p_resource_id, 0);
begin
    previous := (
        select event.id
        from audit.event
        where event.resource_hash = hash
            and event.resource_hash between hash and hash
            and event.resource_id = p_resource_id
            and event.resource_type = p_resource_type
            and event.node is not distinct from p_node
            and event.occurred_at <= p_time
            and (event.occurred_at, event.id) < (p_time, p_id)
        order by event.occurred_at desc, event.id desc
        limit 1
    );
    following := (
        select event.id
        from audit.event
        where event.resource_hash = hash
            and event.resource_hash between hash and hash
            and event.resource_id = p_resource_id
            and event.resource_type = p_resource_type
            and event.node is not distinct from p_node
            and event.occurred_at >= p_time
            and (event.occurred_at, event.id) > (p_time, p_id)
        order by event.occurred_at, event.id
        limit 1
    );
end
$$;

comment on function audit.neighbours(text, text, text, timestamptz, bigint) is
    'The ids of the events before and after one, of the same resource: where it is, for another node''s may have the same id.';

create or replace function audit.is_of_time_alone(wanted audit.filter)
returns boolean
language sql
immutable
as $$
    select audit.has_index_of_its_own(wanted)
        and wanted.categories is null
        and wanted.actions is null
        and wanted.resource_id is null
        and wanted.actor_id is null
        -- (Of a large organization the planner would rather read and sort all.)
        and wanted.orgs is null
$$;

comment on function audit.is_of_time_alone(audit.filter) is
    'Whether nothing but time narrows it: then an index has all that passes in a row.';

create or replace function audit.counted(wanted audit.filter, unit text, most integer)
returns table (begins date, category text, events bigint, counted_from timestamptz)
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
    by_org boolean := wanted.orgs is not null and audit.goes_by_org(wanted);
    by_actor boolean := audit.goes_by_actor(wanted);
    -- (Where all that is looked at passes, the limit alone says how far.)
    all_pass boolean := audit.is_of_time_alone(wanted) or (by_actor and audit.has_index_of_its_own(wanted));
    horizon record := audit.horizon(wanted, null, null, case when not all_pass then most end);
    within_org audit.filter := wanted;
begin
    within_org.orgs := null;
    return query
    with considered as (
        (
            select found.occurred_at, found.category
            from audit.newest_of_filed(wanted, null, null, horizon.occurred_at, horizon.id, most) as found
            where by_actor
        )
        union all
        (
            select event.occurred_at, event.category
            from audit.event
            where not by_org
                and not by_actor
                and audit.passes(event, wanted)
                and (horizon.occurred_at is null or event.occurred_at >= horizon.occurred_at)
                and (horizon.occurred_at is null or (event.occurred_at, event.id) >= (horizon.occurred_at, horizon.id))
            order by event.occurred_at desc, event.id desc
            limit most
        )
        union all
        (
            select found.occurred_at, found.category
            from unnest(case when by_org then wanted.orgs end) as org
            cross join lateral (
                select event.occurred_at, event.id, event.category
                from audit.event
                where event.org_id = org
                    and audit.passes(event, within_org)
                    and (horizon.occurred_at is null or event.occurred_at >= horizon.occurred_at)
                    and (horizon.occurred_at is null or (event.occurred_at, event.id) >= (horizon.occurred_at, horizon.id))
                order by event.occurred_at desc, event.id desc
                limit most
            ) as found
            order by found.occurred_at desc, found.id desc
            limit most
        )
    ),
    days as (
        -- (By day first: a cast to date costs a third of date_trunc(), for each event.)
        select considered.occurred_at::date as day, considered.category, count(*) as events, min(considered.occurred_at) as first
        from considered
        group by 1, 2
    ),
    counts as (
        select date_trunc(unit, days.day)::date as begins, days.category, sum(days.events)::bigint as events, min(days.first) as first
        from days
        group by 1, 2
    ),
    reach as (
        select coalesce(horizon.occurred_at, case when sum(counts.events) = most then min(counts.first) end) as reached
        from counts
    )
    select counts.begins, counts.category, counts.events, reach.reached
    from reach
    left join counts on true
    where counts.category is not null or reach.reached is not null
    order by 1, 2;
end
$$;

comment on function audit.counted(audit.filter, text, integer) is
    'How many events pass, by day, week or month of the session''s time zone and by category; of the newest ones only, where there are more than so many: then counted_from says how far back, if need be in a row of no category.';

drop function if exists audit.export_where(text);
drop function if exists audit.export_statement(audit.filter);

create or replace function audit.export_statement(wanted audit.filter, by_field boolean default false)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$
    -- The view's own text, with the condition before its order: so the index of time gives the rows, and nothing is sorted.
    select format(
        'copy (%s) to stdout with (format csv, header)',
        case
            when wanted is null then format('select * from %s', source.name)
            else format(
                E'%s\nwhere audit.passes(event, %L::audit.filter)\norder by event.occurred_at, event.id',
                regexp_replace(pg_get_viewdef(source.name::regclass), E'\\s+ORDER BY (event[.])?occurred_at, (event[.])?id;$', ''),
                wanted
            )
        end
    )
    from (select case when by_field then 'audit.export_fields' else 'audit.export' end as name) as source
$$;

comment on function audit.export_statement(audit.filter, boolean) is
    'The COPY that writes the CSV of audit.export (by_field: of audit.export_fields), oldest first, of the events that pass. It is text for the caller to run, as who they are.';

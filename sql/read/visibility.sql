-- What a reader may see: which organizations, since when, and which categories, actions and nodes there are.

create or replace function audit_internal.visible_orgs()
returns text[]
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select case
        -- As row-level security decides: a role without a policy (the owner of the log, BYPASSRLS), or with one besides
        -- the two by organization, may see all of them.
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

comment on function audit_internal.visible_orgs() is 'Returns the organizations whose events the present role may see; null: all.';

create or replace function audit_internal.restrict_to_visible(wanted audit.filter)
returns audit.filter
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    visible text[] := audit_internal.visible_orgs();
begin
    -- Row-level security decides; this lets the planner use the index of organizations. (Not where it should use one resource or
    -- actor: with two conditions on an organization the planner takes it for a small one.)
    if visible is not null and audit_internal.can_scan_by_org(wanted) then
        wanted.orgs := array(
            select org from unnest(visible) as org where wanted.orgs is null or org = any (wanted.orgs)
        );
    end if;
    return wanted;
end
$$;

comment on function audit_internal.restrict_to_visible(audit.filter) is 'Returns the filter restricted to the organizations that the present role may see.';

create or replace function audit_internal.dropped_until()
returns timestamptz
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select max(ends) from audit.dropped_partition
$$;

comment on function audit_internal.dropped_until() is 'Returns the end of the last month that retention or an archive has removed from the log; null if none was.';

create or replace function audit_internal.visible_from(wanted audit.filter, out moment timestamptz, out reason text)
returns setof record
language plpgsql
stable
set search_path = pg_catalog, pg_temp
-- (As in audit_internal.newest_events().)
set plan_cache_mode = force_custom_plan
set enable_sort = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    orgs text[] := audit_internal.visible_orgs();
begin
    moment := audit_internal.dropped_until();
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

comment on function audit_internal.visible_from(audit.filter) is
    'Returns since when events are visible to the present role, if the filter asks for earlier ones: months may be dropped, and an organization''s events begin at some time. No row: all are visible. A null moment: none is.';

create or replace function audit_internal.known_actions()
returns table (category text, action text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if audit_internal.visible_orgs() is not null then
        return query
        select distinct event.category, event.action
        from audit.event
        order by 1, 2;
        return;
    end if;
    return query
    select kind.category, kind.action
    from audit_internal.indexed_actions() as kind
    union
    select unindexed.category, unindexed.action
    from audit_internal.unindexed_events() as unindexed
    order by 1, 2;
end
$$;

comment on function audit_internal.known_actions() is
    'Returns the categories and actions of all events. Fast for roles that may see every organization; for others it reads their whole log.';

create or replace function audit_internal.known_orgs(max_orgs integer)
returns table (org_id text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- A loose index scan: from each organization to the next one, however many events are between them.
    return query
    with recursive known as (
        (
            select event.org_id, 1 as number
            from audit.event
            where event.org_id is not null
            order by event.org_id
            limit 1
        )
        union all
        select following.org_id, known.number + 1
        from known
        cross join lateral (
            select event.org_id
            from audit.event
            where event.org_id > known.org_id
            order by event.org_id
            limit 1
        ) as following
        where known.number < max_orgs
    )
    select known.org_id
    from known;
end
$$;

comment on function audit_internal.known_orgs(integer) is 'Returns the organizations whose events the present role may see, in order, at most max_orgs.';

create or replace function audit_internal.visible_nodes(scan_limit integer)
returns table (name text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    orgs text[] := audit_internal.visible_orgs();
begin
    if orgs is null and has_table_privilege('audit.node', 'select') then
        return query
        select node.name
        from audit.node
        union all
        values ('-');
    else
        -- (A node's name may be a customer's, so others' are not shown.)
        return query
        select distinct coalesce(newest.node, '-')
        from unnest(orgs) as org
        cross join lateral (
            select event.node
            from audit.event
            where event.org_id = org
            order by event.occurred_at desc, event.id desc
            limit greatest(scan_limit / cardinality(orgs), 1)
        ) as newest;
    end if;
end
$$;

comment on function audit_internal.visible_nodes(integer) is
    'Returns the nodes that a filter can name, `-` for this database itself; for roles that may see only some organizations, those among their newest events (scan_limit in all).';

create or replace function audit_internal.unmatched_filter_values(wanted audit.filter)
returns table (setting text, value text, known text[])
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select 'organization', org, array(select known.org_id from audit_internal.known_orgs(1000) as known)
    from unnest(wanted.orgs) as org
    where not exists (select from audit.event where event.org_id = org)
    union all
    select 'action', pattern, array(select distinct kind.action from audit_internal.known_actions() as kind order by 1)
    from unnest(wanted.actions) as pattern
    where not exists (select from audit_internal.known_actions() as kind where kind.action ~ audit_internal.glob(array[pattern]))
    union all
    select 'node', node, array(select visible.name from audit_internal.visible_nodes(10000) as visible order by 1)
    from unnest(wanted.nodes) as node
    where not exists (select from audit_internal.visible_nodes(10000) as visible where visible.name = node)
$$;

comment on function audit_internal.unmatched_filter_values(audit.filter) is
    'Returns the values of a filter that no event has (organizations, patterns of actions, nodes), with those that there are.';

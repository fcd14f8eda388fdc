-- What a reader sees: which organizations, since when, which categories, actions and nodes there are.

create or replace function audit_internal.visible_orgs()
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

comment on function audit_internal.visible_orgs() is 'The organizations whose events the present role may see; null: all.';

create or replace function audit_internal.narrowed(wanted audit.filter)
returns audit.filter
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    visible text[] := audit_internal.visible_orgs();
begin
    -- Row-level security decides; this lets the planner go by organization. (Not where it should go by one resource or
    -- actor: an organization that is named twice is taken for a small one.)
    if visible is not null and audit_internal.goes_by_org(wanted) then
        wanted.orgs := array(
            select org from unnest(visible) as org where wanted.orgs is null or org = any (wanted.orgs)
        );
    end if;
    return wanted;
end
$$;

comment on function audit_internal.narrowed(audit.filter) is 'The filter with the organizations that the present role may see.';

create or replace function audit_internal.removed_until()
returns timestamptz
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select max(ends) from audit.dropped_partition
$$;

comment on function audit_internal.removed_until() is 'The end of the last month that retention, or an archive, has taken out of the log; null: none was.';

create or replace function audit_internal.visible_from(wanted audit.filter, out moment timestamptz, out reason text)
returns setof record
language plpgsql
stable
set search_path = pg_catalog, pg_temp
-- (As in audit_internal.newest().)
set plan_cache_mode = force_custom_plan
set enable_sort = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    orgs text[] := audit_internal.visible_orgs();
begin
    moment := audit_internal.removed_until();
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
    'From when on what a filter asks for is visible to the present role, where it asks for more: months may be gone, and organizations'' events begin some time. No row: all of it is. A null moment: none of it.';

create or replace function audit_internal.kinds()
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
    from audit_internal.filed_kinds() as kind
    union
    select unfiled.category, unfiled.action
    from audit_internal.unfiled() as unfiled
    order by 1, 2;
end
$$;

comment on function audit_internal.kinds() is
    'The categories and actions of which there is an event. Quick for who sees every organization; for others it reads their whole log.';

create or replace function audit_internal.known_orgs(max_orgs integer)
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
        where known.place < max_orgs
    )
    select known.org_id
    from known;
end
$$;

comment on function audit_internal.known_orgs(integer) is 'The organizations of which the present role sees events, in their order, and no more than so many.';

create or replace function audit_internal.visible_nodes(look_at integer)
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

comment on function audit_internal.visible_nodes(integer) is
    'The nodes that a filter can take, `-` for this database itself; for who sees only some organizations those alone of whose newest events (look_at in all) there are some.';

create or replace function audit_internal.unmatched(wanted audit.filter)
returns table (setting text, value text, known text[])
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select 'organization', org, array(select known.org_id from audit_internal.known_orgs(1000) as known)
    from unnest(wanted.orgs) as org
    where not exists (select from audit.event where event.org_id = org)
    union all
    select 'action', pattern, array(select distinct kind.action from audit_internal.kinds() as kind order by 1)
    from unnest(wanted.actions) as pattern
    where not exists (select from audit_internal.kinds() as kind where kind.action ~ audit_internal.glob(array[pattern]))
    union all
    select 'node', node, array(select visible.name from audit_internal.visible_nodes(10000) as visible order by 1)
    from unnest(wanted.nodes) as node
    where not exists (select from audit_internal.visible_nodes(10000) as visible where visible.name = node)
$$;

comment on function audit_internal.unmatched(audit.filter) is
    'What a filter names and no event has, so that it lets nothing through by it: organizations, patterns of actions, nodes; and what there is instead.';

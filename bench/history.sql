-- What bench/history.py fills a month with: the events of some numbers.
insert into audit.{table} (
    id, xid, occurred_at, org_id, category, action, operation, table_name, resource_type, resource_id, resource_label,
    resource_hash, actor_type, actor_id, actor_label, before, after, changed
)
select
    {first_id} + n,
    ({first_id} + n)::text::xid8,
    %(start)s + n * %(step)s,
    {prefix} || 'org_' || org,
    category, action, operation, 'nemo.' || kind, kind, coalesce(known, {prefix} || 'res_' || resource), 'name ' || coalesce(known, resource::text),
    hashtextextended(coalesce(known, {prefix} || 'res_' || resource), 0),
    'user', 'usr_' || actor, 'person_' || actor || '@acme.example',
    case operation
        when 'UPDATE' then '{{"rpm_limit": 60}}'::jsonb
        when 'DELETE' then jsonb_build_object('id', n, 'name', 'name', 'rpm_limit', 60, 'models', '["gpt-6", "claude-5"]'::jsonb, 'note', repeat('x', 200))
    end,
    case when operation <> 'DELETE' then
        jsonb_build_object('id', n, 'name', 'name', 'rpm_limit', 120, 'models', '["gpt-6", "claude-5"]'::jsonb, 'note', repeat('x', 200))
    end,
    case when operation = 'UPDATE' then '{{rpm_limit}}'::text[] end
from (
    select
        n,
        known,
        category,
        case category when 'api_keys' then 'key' else category end as kind,
        -- (Each is one organization's; those that are known are the largest one's.)
        case when known is null then hashint8(n) & ({resources} - 1) end as resource,
        (hashint8extended(n, 2) & 16777215) / 16777216.0::float8 as who,
        -- A tenth comes, a twentieth goes.
        case
            when category in ('organization', 'password', 'plan') then 19
            else n / 10 %% 20
        end as phase
    from (
        select
            n,
            case when n %% %(every)s = 5 then {long} when n = any (%(short)s) then {short} end as known,
            case
                when n %% %(every)s = 5 or n = any (%(short)s) then 'api_keys'
                when n %% 500000 = 7 then 'organization'
                when n %% 50021 = 3 then 'password'
                when n %% 5003 = 3 then 'plan'
                when n %% 10 < 6 then 'api_keys'
                when n %% 10 < 8 then 'members'
                when n %% 10 = 8 then 'teams'
                else 'budgets'
            end as category
        from generate_series(%(first)s::bigint, %(last)s::bigint) as n
        offset 0
    ) as chosen
    offset 0
) as told
cross join lateral (
    select coalesce(1 + floor({orgs} * power((hashint8extended(resource, 1) & 16777215) / 16777216.0::float8, 4))::int, 1) as org
    offset 0
) as belonging
cross join lateral (
    -- A fifth is done by three services, which act in all organizations; the rest by an organization's own, a few of them often.
    select case
        when who < 0.2 then 1 + floor(15 * who)::int
        else 4 + ((hashint8(org) & 1048575) + floor(greatest(5, 4000 / org) * power((who - 0.2) / 0.8, 3))::int) %% ({actors} - 4)
    end as actor
    offset 0
) as did
cross join lateral (
    select
        case category
            when 'organization' then 'organization.deleted'
            when 'password' then 'password.changed'
            when 'plan' then 'plan.changed'
            when 'api_keys' then
                case when n %% 997 = 0 then 'key.rotated' when phase < 2 then 'key.created' when phase = 2 then 'key.revoked' else 'key.updated' end
            when 'members' then case when phase < 2 then 'member.invited' when phase = 2 then 'member.removed' else 'member.updated' end
            when 'teams' then case when phase < 2 then 'team.created' when phase = 2 then 'team.deleted' else 'team.updated' end
            else case when phase < 2 then 'budget.created' else 'budget.updated' end
        end as action
    offset 0
) as acted
cross join lateral (
    select case
        when action in ('key.created', 'member.invited', 'team.created', 'budget.created') then 'INSERT'
        when action in ('organization.deleted', 'member.removed', 'team.deleted') then 'DELETE'
        else 'UPDATE'
    end as operation
    offset 0
) as done

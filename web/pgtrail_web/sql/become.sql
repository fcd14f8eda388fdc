-- The actor first: one organization's reader may set it too, but nobody forgets it here.
select
    case when %(actor)s::text is not null then
        audit.set_actor(%(actor)s::text, null, 'user', %(ip)s::inet, %(user_agent)s::text)
    end,
    set_config('statement_timeout', %(milliseconds)s, true),
    set_config('pgtrail.org', coalesce(%(org)s::text, ''), true),
    case when %(org)s::text is not null then set_config('role', 'audit_org_reader', true) end

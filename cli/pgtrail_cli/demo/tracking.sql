-- How the reference application's tables are tracked: every action of the catalogue.

select audit.track('nemo.organization', 'organization', 'organization', org => 'id', label => 'name',
    ignore => '{updated_at}');
select audit.rule('nemo.organization', 'plan.changed', 'plan', 'UPDATE',
    'new.plan_tier is distinct from old.plan_tier');
select audit.rule('nemo.organization', 'organization.updated', 'organization', 'UPDATE',
    'to_jsonb(new) - ''{plan_tier,updated_at}''::text[] is distinct from to_jsonb(old) - ''{plan_tier,updated_at}''::text[]');

select audit.track('nemo.profile', 'profile', 'profile', org => 'org_id', label => 'email',
    ignore => '{updated_at}');
select audit.rule('nemo.profile', 'password.changed', 'password', 'UPDATE',
    'new.password_hash is distinct from old.password_hash');
select audit.rule('nemo.profile', 'profile.updated', 'profile', 'UPDATE',
    'to_jsonb(new) - ''{password_hash,updated_at}''::text[] is distinct from to_jsonb(old) - ''{password_hash,updated_at}''::text[]');

select audit.track('nemo.team', 'team', 'teams', org => 'org_id', label => 'name',
    ignore => '{updated_at}');

select audit.track('nemo.member', 'member', 'members', org => 'org_id', label => 'email');
select audit.rule('nemo.member', 'member.invited', 'members', 'INSERT', 'new.status = ''invited''');
select audit.rule('nemo.member', 'member.accepted', 'members', 'UPDATE',
    'old.status = ''invited'' and new.status = ''active''');
select audit.rule('nemo.member', 'member.role_changed', 'members', 'UPDATE', 'new.role is distinct from old.role');
select audit.rule('nemo.member', 'member.removed', 'members', 'DELETE');

select audit.track('nemo.api_key', 'key', 'api_keys', org => 'org_id', label => 'name',
    ignore => '{spend,last_used_at,updated_at}', secret => '{metadata.**.?}');
select audit.rule('nemo.api_key', 'key.rotated', 'api_keys', 'UPDATE', 'new.key_hash is distinct from old.key_hash');

select audit.track('nemo.budget', 'budget', 'budgets', org => 'org_id', label => 'name',
    ignore => '{spend,resets_at,updated_at}');

select audit.track('nemo.guardrail', 'guardrail', 'guardrails', org => 'org_id', label => 'name',
    ignore => '{updated_at}', secret => '{config.**.?}');

-- Setting it for the first time, changing it and going back to the default are all updates of the settings.
select audit.track('nemo.setting', 'settings', 'settings', org => 'org_id', label => 'name',
    ignore => '{updated_at}', secret => '{value.**.?}');
select audit.rule('nemo.setting', setting.action, setting.category, operation.name, operation.changed_row || setting.is_it)
from (values
    (1, 'INSERT', 'new'),
    (2, 'UPDATE', 'new'),
    (3, 'DELETE', 'old')
) as operation (position, name, changed_row)
cross join (values
    (1, 'settings.router_updated', 'settings', '.name = ''router'''),
    (2, 'data_policy.updated', 'data_policy', '.name = ''data_policy'''),
    (3, 'settings.updated', 'settings', '.name not in (''router'', ''data_policy'')')
) as setting (position, action, category, is_it)
order by operation.position, setting.position;

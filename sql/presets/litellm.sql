-- For: the LiteLLM proxy: keys, teams, organizations, users, memberships, budgets, guardrails, models, credentials,
--      settings, MCP servers, agents, permissions.
-- Versions: the schema of litellm-proxy-extras 0.4.110, as of each of its migrations from March 2025 to October 2026.
-- Schema: public
--
-- Each statement gives SQL: pgtrail preset runs that. Of what a version lacks there is none; run it again after an upgrade.
-- Counters, what the proxy's own jobs move, and when a row was last written are ignored. `.*` redacts every value of an
-- object and shows its names; `.**.?` redacts what looks secret by its name, however deep.

select $$insert into audit.category (name, label, position)
values
    ('models', 'Models', 200),
    ('credentials', 'Credentials', 210),
    ('mcp_servers', 'MCP Servers', 220),
    ('agents', 'Agents', 230),
    ('tools', 'Tools', 240),
    ('prompts', 'Prompts', 250),
    ('permissions', 'Permissions', 260),
    ('end_users', 'End Users', 270)
on conflict (name) do nothing;$$;

-- Keys. The token, a hash of the key, is the primary key and moves when the key is rotated.

select pg_temp.track('LiteLLM_VerificationToken', 'key', 'api_keys',
    org => 'organization_id, team_id -> "LiteLLM_TeamTable".organization_id,
        project_id -> "LiteLLM_ProjectTable".team_id -> "LiteLLM_TeamTable".organization_id,
        user_id -> "LiteLLM_UserTable".organization_id',
    label => 'key_alias',
    ignore => '{spend,total_spend,model_spend,soft_budget_cooldown,last_active,budget_reset_at,
        rotation_count,last_rotation_at,key_rotation_at,settings_updated_at,updated_at}',
    secret => '{token,metadata.**.?,config.**.?,permissions.**.?,router_settings.**.?}');
select pg_temp.rule('LiteLLM_VerificationToken', 'key.rotated', 'api_keys', 'UPDATE',
    'new.token is distinct from old.token');

-- An old token that goes on working after a rotation, for a time.
select pg_temp.track('LiteLLM_DeprecatedVerificationToken', 'deprecated_key', 'api_keys',
    org => 'token -> "LiteLLM_VerificationToken".organization_id,
        token -> "LiteLLM_VerificationToken".team_id -> "LiteLLM_TeamTable".organization_id,
        active_token_id -> "LiteLLM_VerificationToken".organization_id,
        active_token_id -> "LiteLLM_VerificationToken".team_id -> "LiteLLM_TeamTable".organization_id',
    secret => '{token,active_token_id}');

select pg_temp.track('LiteLLM_JWTKeyMapping', 'jwt_key_mapping', 'api_keys',
    org => 'token -> "LiteLLM_VerificationToken".organization_id,
        token -> "LiteLLM_VerificationToken".team_id -> "LiteLLM_TeamTable".organization_id',
    label => 'jwt_claim_value', ignore => '{updated_at}', secret => '{token}', reveal => '{jwt_claim_value}');

-- Teams, projects, organizations and who is in them.

select pg_temp.track('LiteLLM_TeamTable', 'team', 'teams',
    org => 'organization_id', label => 'team_alias',
    ignore => '{spend,model_spend,budget_reset_at,updated_at}',
    secret => '{metadata.**.?,router_settings.**.?}');
select pg_temp.rule('LiteLLM_TeamTable', 'team.members_changed', 'members', 'UPDATE',
    'new.members_with_roles is distinct from old.members_with_roles', '{members_with_roles}');

select pg_temp.track('LiteLLM_ProjectTable', 'project', 'teams',
    org => 'team_id -> "LiteLLM_TeamTable".organization_id', label => 'project_alias',
    ignore => '{spend,model_spend,updated_at}', secret => '{metadata.**.?}');

select pg_temp.track('LiteLLM_ModelTable', 'team_models', 'teams',
    ignore => '{updated_at}', secret => '{aliases.**.?}');

select pg_temp.track('LiteLLM_OrganizationTable', 'organization', 'organization',
    org => 'organization_id', label => 'organization_alias',
    ignore => '{spend,model_spend,updated_at}', secret => '{metadata.**.?}');

select pg_temp.track('LiteLLM_TeamMembership', 'member', 'members',
    org => 'team_id -> "LiteLLM_TeamTable".organization_id', label => 'user_id',
    ignore => '{spend,total_spend}', personal => true);
select pg_temp.track('LiteLLM_OrganizationMembership', 'member', 'members',
    org => 'organization_id', label => 'user_id',
    ignore => '{spend,updated_at}', personal => true);
select pg_temp.rule(name, action, 'members', operation)
from (values ('LiteLLM_TeamMembership'), ('LiteLLM_OrganizationMembership')) as membership (name)
cross join (values ('member.added', 'INSERT'), ('member.removed', 'DELETE')) as named (action, operation);
select pg_temp.rule('LiteLLM_OrganizationMembership', 'member.role_changed', 'members', 'UPDATE',
    'new.user_role is distinct from old.user_role', '{user_role}');

-- Users.

select pg_temp.track('LiteLLM_UserTable', 'user', 'members',
    org => 'organization_id, team_id -> "LiteLLM_TeamTable".organization_id', label => 'user_email',
    ignore => '{spend,model_spend,budget_reset_at,last_breach_check_at,updated_at}',
    secret => '{password,metadata.**.?}', reveal => '{password_reset_required}', personal => true);
select pg_temp.rule('LiteLLM_UserTable', 'password.changed', 'password', 'UPDATE',
    'new.password is distinct from old.password', '{password}');
select pg_temp.rule('LiteLLM_UserTable', 'user.role_changed', 'members', 'UPDATE',
    'new.user_role is distinct from old.user_role', '{user_role}');

-- The id of an invitation is all that it takes to accept it.
select pg_temp.track('LiteLLM_InvitationLink', 'invitation', 'members',
    org => 'user_id -> "LiteLLM_UserTable".organization_id', label => 'user_id',
    ignore => '{accepted_at,updated_at}', secret => '{id}', personal => true);
select pg_temp.rule('LiteLLM_InvitationLink', 'member.invited', 'members', 'INSERT');
select pg_temp.rule('LiteLLM_InvitationLink', 'member.accepted', 'members', 'UPDATE',
    'new.is_accepted and not old.is_accepted', '{is_accepted}');

select pg_temp.track('LiteLLM_VerifiedSubject', 'user_identity', 'members',
    org => 'user_id -> "LiteLLM_UserTable".organization_id', label => 'user_id', ignore => '{verified_at}',
    personal => true);

select pg_temp.track('LiteLLM_EndUserTable', 'end_user', 'end_users',
    label => 'alias', ignore => '{spend}', personal => true);

-- Budgets.

select pg_temp.track('LiteLLM_BudgetTable', 'budget', 'budgets',
    label => 'budget_id', ignore => '{budget_reset_at,updated_at}');
select pg_temp.track('LiteLLM_ModelAccessGroupBudgetTable', 'model_group_budget', 'budgets',
    label => 'access_group_name', ignore => '{spend,updated_at}');
select pg_temp.track('LiteLLM_TagTable', 'tag', 'budgets',
    label => 'tag_name', ignore => '{spend,updated_at}', secret => '{model_info.**.?}');

-- Guardrails and policies.

select pg_temp.track('LiteLLM_GuardrailsTable', 'guardrail', 'guardrails',
    org => 'team_id -> "LiteLLM_TeamTable".organization_id', label => 'guardrail_name',
    ignore => '{updated_at}', secret => '{litellm_params.**.?,guardrail_info.**.?}');
select pg_temp.rule('LiteLLM_GuardrailsTable', 'guardrail.reviewed', 'guardrails', 'UPDATE',
    'new.status is distinct from old.status', '{status}');
select pg_temp.track('LiteLLM_PolicyTable', 'policy', 'guardrails',
    label => 'policy_name', ignore => '{updated_at}', secret => '{condition.**.?,pipeline.**.?}');
select pg_temp.track('LiteLLM_PolicyAttachmentTable', 'policy_attachment', 'guardrails',
    label => 'policy_name', ignore => '{updated_at}');

-- Models. The proxy encrypts every parameter of a model anew whenever it writes one.

select pg_temp.track('LiteLLM_ProxyModelTable', 'model', 'models',
    label => 'model_name', ignore => '{updated_at}', secret => '{litellm_params.*,model_info.**.?}');

-- What can be blocked.

select pg_temp.rule(blockable.name, blockable.resource || '.' || named.verb, blockable.category, 'UPDATE', named.condition, '{blocked}')
from (values
    ('LiteLLM_VerificationToken', 'key', 'api_keys'),
    ('LiteLLM_TeamTable', 'team', 'teams'),
    ('LiteLLM_EndUserTable', 'end_user', 'end_users'),
    ('LiteLLM_ProxyModelTable', 'model', 'models')
) as blockable (name, resource, category)
cross join (values
    ('blocked', 'new.blocked and not coalesce(old.blocked, false)'),
    ('unblocked', 'old.blocked and not coalesce(new.blocked, false)')
) as named (verb, condition);

-- Credentials.

select pg_temp.track('LiteLLM_CredentialsTable', 'credential', 'credentials',
    label => 'credential_name', ignore => '{updated_at}', secret => '{credential_values.*,credential_info.**.?}',
    reveal => '{credential_id,credential_name,credential_values,credential_info}');
select pg_temp.track('LiteLLM_UserProviderCredentials', 'user_credential', 'credentials',
    org => 'user_id -> "LiteLLM_UserTable".organization_id', label => 'credential_name',
    ignore => '{updated_at}', secret => '{credential_b64}', reveal => '{credential_name}');
select pg_temp.track('LiteLLM_MCPUserCredentials', 'mcp_user_credential', 'credentials',
    org => 'user_id -> "LiteLLM_UserTable".organization_id', label => 'user_id',
    ignore => '{updated_at}', secret => '{credential_b64}');
select pg_temp.track('LiteLLM_MCPUserEnvVars', 'mcp_user_variables', 'credentials',
    org => 'user_id -> "LiteLLM_UserTable".organization_id', label => 'user_id',
    ignore => '{updated_at}', secret => '{values_b64}');

-- Settings: any of them may hold a secret, under any name.

select pg_temp.track('LiteLLM_Config', 'settings', 'settings',
    label => 'param_name', ignore => '{last_run_at,reload_revision}', secret => '{param_value.*}');
select pg_temp.rule('LiteLLM_Config', setting.action, 'settings', operation.name,
    operation.changed_row || setting.is_it)
from (values
    (1, 'INSERT', 'new'),
    (2, 'UPDATE', 'new'),
    (3, 'DELETE', 'old')
) as operation (position, name, changed_row)
cross join (values
    (1, 'settings.router_updated', '.param_name = ''router_settings'''),
    (2, 'settings.environment_updated', '.param_name = ''environment_variables'''),
    (3, 'settings.updated', '.param_name not in (''router_settings'', ''environment_variables'')')
) as setting (position, action, is_it)
order by operation.position, setting.position;
select pg_temp.track('LiteLLM_ConfigOverrides', 'config_override', 'settings',
    label => 'config_type', ignore => '{updated_at}', secret => '{config_value.*}');
select pg_temp.track('LiteLLM_SSOConfig', 'sso_settings', 'settings',
    label => 'id', ignore => '{updated_at}', secret => '{sso_settings.*}');
select pg_temp.track('LiteLLM_CacheConfig', 'cache_settings', 'settings',
    label => 'id', ignore => '{updated_at}', secret => '{cache_settings.*}');
select pg_temp.track('LiteLLM_UISettings', 'ui_settings', 'settings',
    label => 'id', ignore => '{updated_at}', secret => '{ui_settings.**.?}');

-- MCP servers. An argument of a command can be a secret and has no name that would tell.

select pg_temp.track('LiteLLM_MCPServerTable', 'mcp_server', 'mcp_servers',
    label => 'server_name', ignore => '{status,last_health_check,health_check_error,updated_at}',
    secret => '{credentials,env.*,env_vars.*,static_headers.*,args,mcp_info.**.?}',
    reveal => '{token_url,token_exchange_endpoint,token_exchange_profile,subject_token_type}');
select pg_temp.rule('LiteLLM_MCPServerTable', 'mcp_server.reviewed', 'mcp_servers', 'UPDATE',
    'new.approval_status is distinct from old.approval_status', '{approval_status}');
select pg_temp.track('LiteLLM_MCPServerOAuthClient', 'mcp_oauth_client', 'mcp_servers',
    label => 'server_id', ignore => '{updated_at}', secret => '{credentials}');
select pg_temp.track('LiteLLM_MCPToolsetTable', 'mcp_toolset', 'mcp_servers',
    label => 'toolset_name', ignore => '{updated_at}', secret => '{tools.**.?}');

-- Agents and what they may use.

select pg_temp.track('LiteLLM_AgentsTable', 'agent', 'agents',
    label => 'agent_name', ignore => '{spend,updated_at}',
    secret => '{litellm_params.*,static_headers.*,agent_card_params.**.?,kill_switch.**.?}');
select pg_temp.rule('LiteLLM_AgentsTable', 'agent.disabled', 'agents', 'UPDATE',
    'old.enabled and not new.enabled', '{enabled}');
select pg_temp.rule('LiteLLM_AgentsTable', 'agent.enabled', 'agents', 'UPDATE',
    'new.enabled and not old.enabled', '{enabled}');
select pg_temp.track('LiteLLM_AgentIdentity', 'agent_identity', 'agents',
    label => 'client_id', ignore => '{last_authenticated_at}');
select pg_temp.track('LiteLLM_SkillsTable', 'skill', 'agents',
    label => 'display_title', ignore => '{file_content,updated_at}', secret => '{metadata.**.?}');
select pg_temp.track('LiteLLM_ClaudeCodePluginTable', 'plugin', 'agents',
    label => 'name', ignore => '{files_json,updated_at}');
select pg_temp.track('LiteLLM_PromptTable', 'prompt', 'prompts',
    label => 'prompt_id', ignore => '{updated_at}', secret => '{litellm_params.**.?,prompt_info.**.?}');

-- Tools and vector stores.

select pg_temp.track('LiteLLM_SearchToolsTable', 'search_tool', 'tools',
    label => 'search_tool_name', ignore => '{updated_at}', secret => '{litellm_params.**.?,search_tool_info.**.?}');
select pg_temp.track('LiteLLM_ToolTable', 'tool', 'tools',
    org => 'team_id -> "LiteLLM_TeamTable".organization_id', label => 'tool_name',
    ignore => '{call_count,last_used_at,user_agent,updated_at}', secret => '{key_hash,assignments.**.?}');
select pg_temp.track('LiteLLM_ManagedVectorStoresTable', 'vector_store', 'tools',
    org => 'team_id -> "LiteLLM_TeamTable".organization_id, user_id -> "LiteLLM_UserTable".organization_id',
    label => 'vector_store_name', ignore => '{updated_at}',
    secret => '{litellm_params.**.?,vector_store_metadata.**.?}', reveal => '{litellm_credential_name}');
select pg_temp.track('LiteLLM_ManagedVectorStoreIndexTable', 'vector_store_index', 'tools',
    label => 'index_name', ignore => '{updated_at}', secret => '{litellm_params.**.?,index_info.**.?}');

-- Permissions. The ids of keys are their tokens.

select pg_temp.track('LiteLLM_ObjectPermissionTable', 'object_permission', 'permissions');
select pg_temp.track('LiteLLM_AccessGroupTable', 'access_group', 'permissions',
    label => 'access_group_name', ignore => '{updated_at}', secret => '{assigned_key_ids}');

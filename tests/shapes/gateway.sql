-- A gateway to language models: whoever wrote a row last stands in it, and credentials stand in JSON.
create table org_table (org_id text primary key, org_alias text not null, updated_by text not null);
create table person_table (person_id text primary key, email text, password text);
create table team_table (team_id text primary key, team_alias text, org_id text references org_table, updated_by text);
create table team_membership (
    person_id text references person_table, team_id text references team_table, role text not null, primary key (person_id, team_id)
);
create table verification_token (
    token text primary key, key_name text, key_alias text, team_id text references team_table, blocked boolean, updated_by text,
    metadata jsonb not null default '{}', spend float not null default 0
);
create table credentials_table (
    credential_id text primary key, credential_name text unique, credential_values jsonb not null, updated_by text not null
);
create table proxy_model (model_id text primary key, model_name text not null, litellm_params jsonb not null, updated_by text not null);
create table mcp_server (
    server_id text primary key, alias text, url text, env jsonb not null default '{}', authentication_token text, static_headers jsonb
);

-- writes
insert into org_table values ('o', 'Acme', 'ada');
insert into person_table values ('p', 'ada@example.com', '5ecret-hash');
insert into team_table values ('t', 'Search', 'o', 'ada');
insert into team_membership values ('p', 't', 'member');
update team_membership set role = 'admin';
insert into verification_token values ('5ecret-key', 'sk-...open', 'ci', 't', false, 'ada', '{"logging": [{"callback_vars": {"langfuse_secret_key": "5ecret-langfuse"}}]}');
update verification_token set spend = 1;
update verification_token set token = '5ecret-key-rotated', updated_by = 'bob';
update verification_token set blocked = true, updated_by = 'carol';
insert into credentials_table values ('c', 'azure', '{"api_key": "5ecret-azure", "api_base": "https://base.example.com"}', 'ada');
update credentials_table set credential_values = '{"api_key": "5ecret-azure-rotated"}', updated_by = 'bob';
insert into proxy_model values ('m', 'gpt', '{"api_key": "5ecret-model", "vertex_credentials": {"private_key": "5ecret-vertex"}, "model": "open-model"}', 'ada');
insert into mcp_server values ('s', 'search', 'https://mcp.example.com/?api_key=5ecret-query', '{"BRAVE_API_KEY": "5ecret-env"}', '5ecret-mcp', '{"Authorization": "Bearer 5ecret-static"}');
delete from team_membership;

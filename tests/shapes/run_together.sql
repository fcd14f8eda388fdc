-- Names as Django makes them: the app's, an underscore, and the model's words run together.
create table organizations_organization (id int primary key, title text not null, token varchar(256) unique, created_at timestamptz default now());
create table users_user (
    id int primary key, email text not null, password text not null, active_organization_id int references organizations_organization
);
create table organizations_organizationmember (
    id int primary key, organization_id int not null references organizations_organization, user_id int not null references users_user,
    deleted_at timestamptz
);
create table projects_project (id int primary key, title text not null, organization_id int not null references organizations_organization);
create table projects_projectmember (id int primary key, project_id int not null references projects_project, user_id int not null references users_user);
create table teams_teamapitoken (
    id int primary key, name text not null, token varchar(64) not null, active boolean not null,
    organization_id int not null references organizations_organization
);
create table io_storages_s3exportstorage (
    id int primary key, title text, bucket text, aws_access_key_id text, aws_secret_access_key text, aws_session_token text,
    project_id int not null references projects_project
);
create table io_storages_azureblobexportstorage (
    id int primary key, title text, account_name text, account_key text, project_id int not null references projects_project
);
create table io_storages_gcsexportstorage (
    id int primary key, title text, google_application_credentials text, project_id int not null references projects_project
);
create table ml_mlbackend (
    id int primary key, title text, url text not null, basic_auth_user text, basic_auth_pass text, extra_params jsonb,
    project_id int not null references projects_project
);
create table webhooks_webhook (
    id int primary key, url varchar(2048) not null, headers jsonb not null, is_active boolean not null,
    organization_id int not null references organizations_organization
);
create table mail_outgoingmail (id int primary key, subject text, body text);
create table seating_seatingplan (id int primary key, name text not null, layout text);

-- writes
insert into organizations_organization values (7, 'Signs', '5ecret-join');
insert into users_user values (1, 'ada@example.com', '5ecret-hash', 7);
insert into organizations_organizationmember values (1, 7, 1, null);
insert into projects_project values (1, 'Streets', 7);
insert into projects_projectmember values (1, 1, 1);
insert into teams_teamapitoken values (1, 'ci', '5ecret-token', true, 7);
update teams_teamapitoken set token = '5ecret-token-rotated';
update teams_teamapitoken set active = false;
insert into io_storages_s3exportstorage values (1, 'Archive', 'open-bucket', 'AKIA', '5ecret-aws', '5ecret-aws-session', 1);
insert into io_storages_azureblobexportstorage values (1, 'Blobs', 'open-account', '5ecret-azure', 1);
insert into io_storages_gcsexportstorage values (1, 'Bucket', '{"type": "service_account", "private_key": "5ecret-google"}', 1);
insert into ml_mlbackend values (1, 'Reader', 'https://open-model.example.com', 'ada', '5ecret-basic', '{"openai_api_key": "5ecret-openai", "rpm": "open-rpm"}', 1);
update ml_mlbackend set basic_auth_pass = '5ecret-basic-rotated';
insert into webhooks_webhook values (1, 'https://box:5ecret-url@hooks.example.com/open-path', '{"Authorization": "Bearer 5ecret-bearer", "X-Api-Key": "5ecret-header"}', true, 7);
update webhooks_webhook set headers = '{"Authorization": "Bearer 5ecret-bearer-rotated"}';
insert into seating_seatingplan values (1, 'Hall', '{}');
delete from projects_projectmember;
update organizations_organizationmember set deleted_at = now();

-- Settings as keys and values: of an organizer, of the installation, by domain and group, as JSON.
create table organizer (id int primary key, name text not null, slug text not null);
create table organizer_settingsstore (
    id int primary key, object_id int not null references organizer, key varchar(255) not null, value text not null
);
create table globalsettings_settingsstore (id int primary key, key varchar(255) not null, value text not null);
create table sensitive_config (
    domain_id varchar(64), "group" varchar(255), option varchar(255), value text not null,
    primary key (domain_id, "group", option)
);
create table whitelisted_config (
    domain_id varchar(64), "group" varchar(255), option varchar(255), value text not null,
    primary key (domain_id, "group", option)
);
create table app_config (param_name text primary key, param_value jsonb);
create table app_settings (
    id int primary key, project_name text, auth_login_attempts int default 25, api_token_ttl_days int,
    needs_password_change boolean, token_endpoint_auth_method text, database_url text, webhook_url text, smtp_pass text,
    ai_api_keys text[], license_key text
);

-- writes
insert into organizer values (1, 'Concerts', 'concerts');
insert into organizer_settingsstore values
    (1, 1, 'smtp_password', '5ecret-smtp'), (2, 1, 'payment_stripe_secret_key', '5ecret-stripe'),
    (3, 1, 'payment_stripe_publishable_key', 'open-publishable'), (4, 1, 'contact_mail', 'open-contact'),
    (5, 1, 'payment_paypal_secret', '5ecret-paypal'), (6, 1, 'opencagedata_apikey', '5ecret-geo'),
    (7, 1, 'invoice_footer', 'open-footer'), (8, 1, 'sso_config', '{"client_id": "open-client", "client_secret": "5ecret-sso"}');
update organizer_settingsstore set value = '5ecret-stripe-rotated' where id = 2;
update organizer_settingsstore set value = 'open-contact-changed' where id = 4;
update organizer_settingsstore set key = 'smtp_password_retired', value = '5ecret-smtp-retired' where id = 1;
delete from organizer_settingsstore where id = 1;
insert into globalsettings_settingsstore values (1, 'mapquest_apikey', '5ecret-maps'), (2, 'banner_message', 'open-banner');
insert into sensitive_config values ('d', 'ldap', 'password', '5ecret-ldap'), ('d', 'ldap', 'user', 'cn=admin');
update sensitive_config set value = '5ecret-ldap-rotated' where option = 'password';
insert into whitelisted_config values ('d', 'ldap', 'url', 'open-ldap-url');
insert into app_config values
    ('general_settings', '{"master_key": "5ecret-master", "alerting": ["open-slack"]}'),
    ('environment_variables', '{"SLACK_WEBHOOK_URL": "5ecret-slack", "OPENAI_API_KEY": "5ecret-openai"}');
insert into app_settings values (
    1, 'open-project', 25, 30, true, 'open-auth-method', 'postgres://app:5ecret-db@db/app', 'https://hooks.example.com/5ecret-hook',
    '5ecret-smtp-pass', '{5ecret-ai-1,5ecret-ai-2}', '5ecret-licence'
);
update app_settings set auth_login_attempts = 50;

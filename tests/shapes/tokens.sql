-- Tokens of every kind, as Django's libraries keep them: the token is the key of its table, or its only name.
create table users_user (id int primary key, email text not null, password varchar(128) not null, is_staff boolean not null);
create table authtoken_token (key varchar(40) primary key, created timestamptz not null, user_id int not null unique references users_user);
create table otp_totp_totpdevice (
    id int primary key, name varchar(64) not null, confirmed boolean not null, key varchar(80) not null, step int not null,
    drift int not null, last_t bigint not null, user_id int not null references users_user
);
create table otp_static_staticdevice (id int primary key, name varchar(64) not null, user_id int not null references users_user);
create table otp_static_statictoken (id int primary key, token varchar(16) not null, device_id int not null references otp_static_staticdevice);
create table oauth_application (
    id int primary key, client_id varchar(100) not null, client_secret varchar(255) not null, name text not null, redirect_uris text not null
);
create table oauth_grant (
    id int primary key, code varchar(255) not null unique, scope text not null, user_id int references users_user,
    application_id int references oauth_application, code_challenge text, expires timestamptz not null
);
create table oauth_accesstoken (
    id int primary key, token text not null, token_checksum varchar(64) not null, scope text not null,
    user_id int references users_user, application_id int references oauth_application
);
create table oauth_refreshtoken (
    id int primary key, token varchar(255) not null, access_token_id int unique references oauth_accesstoken, revoked timestamptz
);
create table door_device (
    id int primary key, name text not null, initialization_token varchar(190) not null unique, api_token varchar(190) unique,
    unique_serial text, revoked boolean not null
);
create table giftcard (id int primary key, secret varchar(190) not null, currency varchar(10) not null);
create table teaminvite (id int primary key, email text, token varchar(64), team text);
create table credential (id varchar(64) primary key, user_id int, type text not null, encrypted_blob text not null, key_hash varchar(64));
create table webauthndevice (id int primary key, name text not null, credential_id text, uid_key bytea, sign_count int not null);

-- writes
insert into users_user values (1, 'ada@example.com', '5ecret-hash', false);
update users_user set password = '5ecret-hash-changed';
update users_user set is_staff = true;
insert into authtoken_token values ('5ecret-authtoken', now(), 1);
update authtoken_token set key = '5ecret-authtoken-rotated';
delete from authtoken_token;
insert into otp_totp_totpdevice values (1, 'Phone', true, '5ecret-totp', 30, 0, 0, 1);
insert into otp_static_staticdevice values (1, 'Recovery', 1);
insert into otp_static_statictoken values (1, '5ecret-recovery', 1);
insert into oauth_application values (1, 'open-client', '5ecret-client', 'Shop', 'https://shop.example.com/open-callback');
update oauth_application set client_secret = '5ecret-client-rolled';
insert into oauth_grant values (1, '5ecret-grant', 'read', 1, 1, '', now());
insert into oauth_accesstoken values (1, '5ecret-access', '5ecret-checksum', 'read', 1, 1);
insert into oauth_refreshtoken values (1, '5ecret-refresh', 1, null);
update oauth_refreshtoken set revoked = now();
insert into door_device values (1, 'Door', '5ecret-init', null, 'open-serial', false);
update door_device set api_token = '5ecret-device';
update door_device set revoked = true;
insert into giftcard values (1, '5ecret-gift', 'EUR');
insert into teaminvite values (1, 'eve@example.com', '5ecret-invite', 'Box office');
delete from teaminvite;
insert into credential values ('c', 1, 'ec2', '5ecret-blob', '5ecret-keyhash');
insert into webauthndevice values (1, 'Stick', 'open-credential', convert_to('5ecret-uid', 'UTF8'), 0);

"""What is known of a column by the table that it is in, though its own name says nothing: by the catalogue alone."""

import pytest

pytestmark = pytest.mark.any_server

WORDS = {
    "teamapitoken": "team_api_token",
    "outgoingmail": "outgoing_mail",
    "event_settingsstore": "event_settings_store",
    "authtoken_token": "auth_token",
    "users_user": "user",
    "otp_totp_totpdevice": "totp_device",
    "seatingplans": "seating_plan",
    "webhookcallretry": "webhook_call_retry",
    # Whole words, and what is not all known words, stay.
    "password": "password",
    "username": "username",
    "keyboard": "keyboard",
    "quackattendee": "quackattendee",
    "MonkeyTable": "monkey",
}
"""The words of a table by its name."""


def test_words_that_are_run_together_are_taken_apart(su):
    for name in WORDS:
        su.execute(f'create table public."{name}" (id int)')
    found = su.execute(
        "select relname::text, audit_internal.words_of_table(oid) from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'"
    ).fetchall()
    assert dict(found) == WORDS


TOKENS = {
    "authtoken_token (key varchar(40) primary key, user_id int)": ["key"],
    "totp_device (id int primary key, name text, key varchar(80))": ["key"],
    "otp_totp_totpdevice (id int primary key, name text, key text, drift int)": ["key"],
    "oauth_grant (id int primary key, code text, redirect_uri text)": ["code"],
    "oauth2_provider_grant (id int primary key, code text, scope text)": ["code"],
    "invite (id int primary key, email text, code text)": ["code"],
    "teaminvite (id int primary key, email text, slug text)": ["slug"],
    "webhook (id int primary key, name text, url text, key text)": ["key"],
    "api_key (id text primary key, name text, key text)": ["key"],
    "access_tokens (id varchar primary key, name text, user_id int)": ["id"],
    "sessions (id varchar primary key, user_id int, payload text)": ["id", "payload"],
    "session (sid varchar primary key, sess json, expire timestamptz)": ["sid", "sess"],
    "secrets (id int primary key, key text, value text)": ["value"],
    "credential (id text primary key, name text, type text, data jsonb)": ["data"],
    "password (id int primary key, user_id int, value text)": ["value"],
    "emailconfirmation (id int primary key, key text, sent timestamptz)": ["key"],
    "verification (id text primary key, identifier text, value text)": ["value"],
    '"RecoveryCodes" (id int primary key, code text)': ["code"],
    "registration_registrationprofile (id int primary key, activation_key text)": ["activation_key"],
    "magic_links (id uuid primary key, slug text, email text)": ["slug"],
    "login_otp (id int primary key, code int)": ["code"],
    "device_authorization (id int primary key, user_code text, device_code uuid)": ["user_code", "device_code"],
    "signing_keys (id text primary key, key bytea)": ["key"],
    # Nothing of the kind, or a token that has a name of its own.
    "feature_flag (key text primary key, enabled boolean)": [],
    "project (id int primary key, key text, name text)": [],
    "role_grant (id int primary key, code text, role text)": [],
    "country (code text primary key, name text)": [],
    "voucher (id int primary key, code text)": [],
    "idempotency_key (key text primary key, response jsonb)": [],
    "ssh_key (id int primary key, title text, key text)": [],
    "token_type (id int primary key, code text, name text)": [],
    "session_settings (id int primary key, key text, value text)": [],
    "training_session (id int primary key, code text, title text, starts_at timestamptz)": [],
    "iot_device (id int primary key, code text, name text)": [],
    "personal_access_token (id text primary key, name text, token text)": ["token"],
    "invitation (id int primary key, code int)": [],
}  # fmt: skip
"""The columns that hold a token, by the definition of a table."""


@pytest.mark.parametrize("table", TOKENS)
def test_a_token_is_known_by_the_table_that_it_is_in(su, table):
    su.execute(f"create table public.{table}")
    name = table.split(" (")[0]
    assert [row[0] for row in su.execute("select audit_internal.token_columns(%s)", [f"public.{name}"])] == TOKENS[
        table
    ]


def test_what_refers_to_a_token_holds_it_too(su):
    su.execute(
        """
        create table public.authtoken_token (key varchar(40) primary key, user_id int);
        create table public.token_use (id int primary key, of_key varchar(40) references public.authtoken_token, at timestamptz);
        create table public.client (id int primary key, secret text unique);
        create table public.visit (client text references public.client (secret), number int references public.client);
        """
    )
    found = [
        [row[0] for row in su.execute("select audit_internal.token_columns(%s)", [table])]
        for table in ("public.token_use", "public.visit", "public.client")
    ]
    assert found == [["of_key"], ["client"], []]


SETTINGS = {
    "settingsstore (id int primary key, key text, value text)": [("value", "key")],
    "event_settingsstore (id int primary key, object_id int, key text, value text)": [("value", "key")],
    "sensitive_config (id int primary key, option text, value text)": [("value", "option")],
    "config (name text, value text)": [("value", "name")],
    "setting (param text, val bytea)": [("val", "param")],
    "user_meta (id int primary key, user_id int, meta_key text, meta_value text)": [("meta_value", "meta_key")],
    '"Site_Config" (param_name text primary key, param_value jsonb)': [("param_value", "param_name")],
    "env (variable text, content text)": [("content", "variable")],
    "app_setting (id text primary key, value jsonb)": [("value", "id")],
    "http_header (id int primary key, header_name text, header_value text)": [("header_value", "header_name")],
    "sys_params (code text primary key, value text, description text)": [("value", "code")],
    "preferences (user_id int, name text, data jsonb)": [("data", "name")],
    "core_conf (section text, key text, value text, default_value text)": [("value", "key"), ("default_value", "key")],
    "label (id int primary key, resource_id int, key text, value text)": [("value", "key")],
    # Ordinary tables, and what is a secret as a whole.
    "product (id int primary key, name text, value numeric)": [],
    "offer (id int primary key, name text, value text, description text, brand text)": [],
    "measurement (id int primary key, sensor text, value text)": [],
    "site_settings (id int primary key, project_name text, project_color text)": [],
    "secret (id int primary key, name text, value text)": [],
    "article (id int primary key, title text, content text)": [],
}
"""The columns in which a value stands, and its name, by the definition of a table."""


@pytest.mark.parametrize("table", SETTINGS)
def test_settings_by_name_are_known_by_their_table(su, table):
    su.execute(f"create table public.{table}")
    name = table.split(" (")[0]
    assert (
        su.execute("select * from audit_internal.settings_by_name(%s)", [f"public.{name}"]).fetchall()
        == SETTINGS[table]
    )

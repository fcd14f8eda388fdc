"""No secret is in the log, wherever in a row it stands."""

import json
import re
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

pytestmark = pytest.mark.any_server


def test_a_key_that_is_a_secret_tells_rows_apart_without_being_shown(su, recorded):
    su.execute("create table public.thing (token text primary key, n int)")
    su.execute("select audit.track('public.thing', 'thing')")
    su.execute("insert into public.thing values ('S3CRET', 1), ('S3CRET-2', 1)")
    su.execute("update public.thing set n = 2 where token = 'S3CRET'")
    events = recorded()
    assert events[2][1] in {events[0][1], events[1][1]}
    assert len({events[0][1], events[1][1]}) == 2
    assert "S3CRET" not in str(events)


def test_secrets_inside_json_are_redacted_wherever_the_path_leads(su, recorded):
    su.execute("create table public.thing (id int primary key, config jsonb)")
    su.execute(
        "select audit.track('public.thing', 'thing', secret => '{config.api_key,config.hooks.*.secret,config.deep.*.*}')"
    )
    config = {
        "api_key": "S3CRET", "level": 1, "none": None, "deep": {"a": {"b": "S3CRET", "c": None}},
        "hooks": [{"secret": "S3CRET", "url": "u"}, {"secret": None}, "S3CRET"],
    }  # fmt: skip
    su.execute("insert into public.thing values (1, %s), (2, '\"S3CRET\"'), (3, null), (4, '[]')", [json.dumps(config)])
    rows = [event[3]["config"] for event in recorded()]
    assert rows[0] == {
        "api_key": "[redacted]", "level": 1, "none": None, "deep": {"a": {"b": "[redacted]", "c": None}},
        "hooks": [{"secret": "[redacted]", "url": "u"}, {"secret": None}, "[redacted]"],
    }  # fmt: skip
    assert rows[1:] == ["[redacted]", None, []]


def test_columns_that_look_secret_are_redacted_unless_revealed(su, recorded):
    su.execute(
        'create table public.thing (id int primary key, "passwordHash" text, api_token text, max_tokens int, salt text, hashtag text)'
    )
    su.execute("select audit.track('public.thing', 'thing', reveal => '{salt}')")
    su.execute("insert into public.thing values (1, 'S3CRET', 'S3CRET', 4, 'sea', 'fox')")
    assert recorded()[0][3] == {
        "id": 1, "passwordHash": "[redacted]", "api_token": "[redacted]", "max_tokens": 4, "salt": "sea", "hashtag": "fox",
    }  # fmt: skip


@pytest.mark.parametrize(
    "key",
    [
        "primary key (tenant, token)",
        "unique (token)",
        "unique (tenant, token)",
        "primary key (config)",
        "unique (tenant, config)",
    ],
)
def test_whatever_key_a_secret_is_part_of_it_is_not_shown(su, recorded, key):
    su.execute(
        f"create table public.thing (tenant text not null, token text not null, config jsonb not null, n int, {key})"
    )
    su.execute("select audit.track('public.thing', 'thing', secret => '{config.api_key}')")
    su.execute("""insert into public.thing values ('a', 'S3CRET', '{"api_key": "S3CRET"}', 1)""")
    su.execute("""insert into public.thing values ('b', 'S3CRET-2', '{"api_key": "S3CRET-2"}', 1)""")
    su.execute("update public.thing set n = 2 where tenant = 'a'")
    events = recorded()
    assert len({events[0][1], events[1][1]}) == 2
    assert events[2][1] == events[0][1]
    assert "S3CRET" not in str(su.execute("select array_agg(event::text) from audit.event as event").fetchone())


def test_a_column_that_is_given_a_secrets_name_is_one_from_then_on(su, recorded):
    said = []
    su.add_notice_handler(lambda notice: said.append(notice.message_primary))
    su.execute("create table public.thing (id int primary key, note text, hits int, owner text)")
    su.execute("select audit.track('public.thing', 'thing', label => 'note', org => 'owner')")
    su.execute("insert into public.thing values (1, 'ann', 0, 'acme')")
    said.clear()
    su.execute("alter table public.thing rename column note to db_pass")
    assert [text for text in said if "db_pass" in text and "redacted" in text]
    assert [text for text in said if 'the label "db_pass"' in text]
    su.execute("alter table public.thing rename column owner to api_token")
    assert [text for text in said if 'has lost its organization "owner"' in text]
    su.execute("insert into public.thing values (2, 'S3CRET', 0, 'S3CRET')")
    assert recorded()[1][3] == {"id": 2, "db_pass": "[redacted]", "hits": 0, "api_token": "[redacted]"}
    assert "S3CRET" not in str(su.execute("select array_agg(event::text) from audit.event as event").fetchone())
    # And so it is with another secret's name, or again one of none.
    su.execute("alter table public.thing rename column db_pass to remark")
    su.execute("alter table public.thing rename column hits to pin")
    su.execute("insert into public.thing values (3, 'S3CRET', 4711, null)")
    assert recorded()[2][3] == {"id": 3, "remark": "[redacted]", "pin": "[redacted]", "api_token": None}


def test_without_event_triggers_a_new_name_counts_from_recompile_on(su, unwatched, recorded):
    su.execute("create role owner; grant create, usage on schema public to owner")
    try:
        su.execute(
            "create table public.thing (id int primary key, note text, flag boolean, config jsonb);"
            "alter table public.thing owner to owner"
        )
        su.execute("select audit.track('public.thing', 'thing', label => 'note', secret => '{config.**.door}')")
        su.execute("insert into public.thing values (1, 'open', true, '{\"door\": \"S3CRET\"}')")
        su.execute("set role owner")
        for rename in ("note to db_pass", "flag to has_password", "config to settings"):
            su.execute(f"alter table public.thing rename column {rename}")
        su.execute("reset role; select audit.recompile()")
        su.execute("""insert into public.thing values (2, 'S3CRET', true, '{"door": "S3CRET", "lamp": 1}')""")
        assert recorded()[1][3] == {
            "id": 2, "db_pass": "[redacted]", "has_password": True, "settings": {"door": "[redacted]", "lamp": 1},
        }  # fmt: skip
        assert "S3CRET" not in str(su.execute("select array_agg(event::text) from audit.event as event").fetchone())
    finally:
        su.execute("reset role; drop owned by owner cascade; drop role owner")


def test_a_column_of_json_that_is_given_a_secrets_name_is_redacted_as_a_whole(su, recorded):
    su.execute("create table public.thing (id int primary key, config jsonb)")
    su.execute("select audit.track('public.thing', 'thing', secret => '{config.**.door}')")
    su.execute("alter table public.thing rename column config to credentials")
    su.execute("""insert into public.thing values (1, '{"door": "S3CRET", "window": "S3CRET"}')""")
    assert recorded()[0][3] == {"id": 1, "credentials": "[redacted]"}
    su.execute("alter table public.thing rename column credentials to config")
    su.execute("""insert into public.thing values (2, '{"door": "S3CRET"}')""")
    assert "S3CRET" not in str(recorded())


def test_an_organization_of_another_table_can_not_become_secret(su):
    su.execute("create table public.team (id int primary key, owner text)")
    su.execute("create table public.thing (id int primary key, team_id int references public.team)")
    su.execute("select audit.track('public.thing', org => 'team_id -> public.team.owner')")
    with pytest.raises(psycopg.Error, match="is the organization or the label of") as raised:
        su.execute("select audit.track('public.team', secret => '{owner}')")
    assert raised.value.sqlstate == "PT004"
    assert raised.value.diag.message_hint


def test_a_secret_column_stays_secret_when_it_is_renamed(su, recorded):
    su.execute("create table public.thing (id int primary key, plain text)")
    su.execute("select audit.track('public.thing', 'thing', secret => '{plain}')")
    su.execute("alter table public.thing rename column plain to open_text")
    su.execute("insert into public.thing values (1, 'S3CRET')")
    assert recorded()[0][3] == {"id": 1, "open_text": "[redacted]"}


def test_what_is_nested_too_deep_to_be_looked_through_is_hidden_and_costs_no_write(su, recorded):
    su.execute("create table public.thing (id int primary key, config jsonb)")
    su.execute("select audit.track('public.thing', 'thing', secret => '{config.**.token,config.**.key}')")
    depth = 3000
    su.execute("insert into public.thing values (1, %s)", ['{"a":' * depth + '{"token": "S3CRET"}' + "}" * depth])
    su.execute("insert into public.thing values (2, %s)", ['{"a":' * 20 + '{"token": "S3CRET"}' + "}" * 20])
    deep, shallow = recorded()
    assert deep[3] == {"id": 1, "config": "[redacted]"}
    assert "[redacted]" in str(shallow[3])
    assert "S3CRET" not in str(shallow[3])


def test_a_path_with_two_stars_finds_a_member_however_deep(su, recorded):
    su.execute("create table public.thing (id int primary key, config jsonb)")
    su.execute("select audit.track('public.thing', 'thing', secret => '{config.**.api_key}')")
    config = {
        "api_key": "S3CRET", "strategy": "latency", "models": ["a", {"api_key": {"v": "S3CRET"}, "url": "u"}],
        "deep": {"er": [[{"api_key": None}], {"api_key": ["S3CRET"]}]}, "text": '{"api_key": "S3CRET"}', "note": "{",
    }  # fmt: skip
    su.execute("insert into public.thing values (1, %s)", [json.dumps(config)])
    assert recorded()[0][3]["config"] == {
        "api_key": "[redacted]", "strategy": "latency", "models": ["a", {"api_key": "[redacted]", "url": "u"}],
        "deep": {"er": [[{"api_key": None}], {"api_key": "[redacted]"}]}, "text": "[redacted]", "note": "[redacted]",
    }  # fmt: skip


SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "a", "größe", "0"])
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abk*"), inner, max_size=3),
    max_leaves=12,
)


def without(value, name):
    """The law in another language: every member of this name hidden, unless it is null; all else as it was."""
    if isinstance(value, list):
        return [without(element, name) for element in value]
    if not isinstance(value, dict):
        return value
    return {
        key: without(member, name) if key != name or member is None else "[redacted]" for key, member in value.items()
    }


@given(document=DOCUMENTS)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_two_stars_hide_every_member_of_the_name_and_nothing_else(su, document):
    assert su.execute("select audit_internal.redact(%s, '{**,k}')", [Jsonb(document)]).fetchone()[0] == without(
        document, "k"
    )


TEXTS = [
    "",
    "a",
    ": ",
    ", ",
    "}, {",
    '"',
    'a"b',
    "\\",
    '\\"',
    "größe",
    "\n",
    "null",
    "[redacted]",
    "{",
    ' {"',
    "\t[",
    "x {",
    '{"k": 1}',
    '"k": ',
]
NAMES = ["k", "api_key", "max_tokens", "*", "**", "?", "", ": ", ", ", 'a"b', "\\", "größe", "to\nken", "null", "{"]
TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-2, 2) | st.sampled_from(TEXTS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=20,
)
PATHS = st.lists(st.sampled_from(["*", "**", "**", "?", "k", "api_key", 'a"b', "\\", ", ", "null"]), max_size=4)


def redacted(value, paths):
    """The law in another language: what is left of a value for which any of the paths are still to be gone."""
    paths = {path if set(path) - {"**"} else () for path in paths}
    if value is None or not paths:
        return value
    if () in paths:
        return "[redacted]"
    if isinstance(value, str):
        may_be_json = re.match(r'\s*[\[{"]', value)
        return "[redacted]" if may_be_json or any(path[0] != "**" for path in paths) else value
    if isinstance(value, list):
        return [redacted(element, {after for path in paths for after in past_element(path)}) for element in value]
    if isinstance(value, dict):
        return {
            name: redacted(member, {after for path in paths for after in past(path, name)})
            for name, member in value.items()
        }
    return value


def past_element(path):
    if path[0] == "*":
        yield path[1:]
    else:
        yield path
        following = path[1:]
        while path[0] == "**" and following and following[0] == "**":
            following = following[1:]
        if path[0] == "**" and following and following[0] == "*":
            yield following[1:]


def past(path, name):
    while path and path[0] == "**":
        yield path
        path = path[1:]
    if path and (path[0] == "*" or (name == "api_key" if path[0] == "?" else path[0] == name)):
        yield path[1:]


@given(document=TREES, path=PATHS)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_at_a_path_is_hidden_and_nothing_else(su, document, path):
    found = su.execute("select audit_internal.redact(%s, %s)", [Jsonb(document), path]).fetchone()[0]
    assert found == redacted(json.loads(json.dumps(document)), {tuple(path)})


LARGE = {
    "small objects": lambda size: [{"a": n} for n in range(size // 10)],
    "suspected names": lambda size: [{"max_tokens": n, "name": "x"} for n in range(size // 32)],
    "secrets": lambda size: [{"id": n, "api_key": "x"} for n in range(size // 30)],
    "secret objects": lambda size: [{"api_key": {}, "b": 1} for n in range(size // 24)],
    "a secret array": lambda size: {"api_key": [[] for n in range(size // 4)]},
    "names that are data": lambda size: {f"key_{n}": n for n in range(size // 16)},
    "strings that begin as JSON does": lambda size: ["{" for n in range(size // 5)],
    "numbers": lambda size: {"vector": [n / 8 for n in range(size // 8)], "api_key": "x"},
    "quotation marks": lambda size: ['"\\' * (size // 4)],
    "names that are alike": lambda size: {"a" * n: {"api_key": n} for n in range(int(size**0.5))},
    "levels": lambda size: nested(min(size // 8, 900), {"token": "x" * size}),
}


def nested(levels, value):
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize("path", ["{**,?}", "{*,*,api_key}", "{**,api_key,**,b}", "{*}"])
@pytest.mark.parametrize("kind", LARGE)
def test_redacting_takes_time_in_proportion(su, kind, path):
    small, large = (
        seconds(su, "audit_internal.redact_or_null(%s, %s)", LARGE[kind](size), path) for size in (100_000, 400_000)
    )
    # Four times the text. (Ten times would be seen: quadratic, it takes sixteen times.)
    assert large < 10 * small + 0.02
    assert large < 5


def spent(connection):
    """Seconds of a processor that the server has spent on a connection: what else the machine does has no part in it."""
    return int(Path(f"/proc/{connection.info.backend_pid}/schedstat").read_text().split()[0]) / 1e9


def seconds(connection, call, document, *arguments):
    """The least of three."""
    connection.execute("create temporary table if not exists document (value jsonb)")
    connection.execute("truncate document")
    connection.execute("insert into document values (%s)", [Jsonb(document)])
    taken = []
    for _ in range(3):
        began = spent(connection)
        connection.execute(f"select {call.replace('%s', 'value', 1)} is null from document", arguments)
        taken.append(spent(connection) - began)
    return min(taken)


@pytest.mark.parametrize("levels", [1, 100, 999, 1000, 1001, 3000])
def test_nesting_is_looked_through_or_hidden_as_a_whole(su, levels):
    # (As text: Python's own limit is a thousand.)
    document = '{"a": ' * levels + '{"name": "ann", "token": "S3CRET"}' + "}" * levels
    for path in ("{**,?}", "{**,token}", "{**,a,**,token}"):
        began = spent(su)
        found = su.execute("select audit_internal.redact_or_null(%s, %s)::text", [document, path]).fetchone()[0]
        assert spent(su) - began < 1
        if levels < 1000:
            assert found == document.replace("S3CRET", "[redacted]")
        else:
            assert found == '"[redacted]"'


def test_a_write_of_a_large_value_is_not_held_up(su, recorded):
    su.execute("create table public.thing (id int primary key, config jsonb)")
    su.execute("select audit.track('public.thing', 'thing', secret => '{config.**.?}')")
    document = [{"a": n, "b": {"c": "x"}, "max_tokens": 5} for n in range(30_000)]
    began = spent(su)
    su.execute("insert into public.thing values (1, %s)", [Jsonb(document)])
    assert spent(su) - began < 5
    assert recorded()[0][3]["config"] == document


# Columns of Django, Rails and Devise, Laravel, GitLab, Directus, Mattermost, Discourse, Keycloak, LiteLLM, Stripe, SMTP, OAuth, SAML, S3, LDAP, TOTP …
SECRETS = """
    pw db_pw bind_pw passwort db_passwort mot_de_passe enc_key hashed_key basicauth http_auth basic_auth code_verifier keystore ssl_key_store
    password passwords passwordHash userPassword DBPass db_pass dbpassword basic_auth_pass smtp_pass pass passcode pwd secret secrets clientSecret token tokens
    accessToken access_tokens refresh_tokens user_tokens device_tokens id_token JWTToken token1 api_token oauth_tokens hash hashes salt private_key privateKeys
    private_keys credentials otp cvv api_key api_keys apikey APIKey APIKeys api_key_2 api_key_old encrypted_api_key access_key account_key signing_key
    stripe_api_keys service_role_key app_key aws_secret_access_key key_pem jwt totp mfa_seed recovery_codes backup_codes authorization bearer cookie cookies dsn
    connection_string conn_str ssn pin user_pin webhook_url slackWebhookUrl slack_webhook discord_webhooks database_url database_urls redisURL redis_url mongo_uri
    amqp_url connection_url postgres_uri broker_url signed_url encrypted_password reset_password_token confirmation_token unlock_token remember_token
    authentication_token otp_secret encrypted_otp_secret encrypted_otp_secret_iv encrypted_otp_secret_salt otp_backup_codes two_factor_secret
    two_factor_recovery_codes password_digest password_salt crypted_password persistence_token perishable_token single_access_token runners_registration_token
    feed_token incoming_email_token static_object_token health_check_access_token ci_jwt_signing_key lets_encrypt_private_key akismet_api_key recaptcha_private_key
    mailgun_signing_key eks_secret_access_key eks_access_key_id slack_app_signing_secret external_auth_client_key external_auth_client_key_pass
    asset_proxy_secret_key sentry_dsn encrypted_customers_dot_jwt_signing_key encrypted_ci_job_token encrypted_blob key_hash secret_hash access_token_hash
    client_secret_hash secret_data credential_data MfaSecret lastpassword_hash Password tfa_secret auth_data external_auth_data stripe_secret_key webhook_secret
    webhook_signing_secret stripe_webhook_secret publishable_secret smtp_password SMTP_PASS smtpPassword imap_password ldap_bind_password bind_pass bind_password
    bindCredentials client_secret oauth_token oauth_token_secret oauthClientSecret consumer_key consumer_secret saml_private_key sp_private_key s3_secret_key
    s3_secret_access_key secret_access_key secretAccessKey totp_secret otp_code verification_code reset_code auth_code authorization_code magic_link sms_code
    recovery_code backupCodes invite_code access_code device_code user_code session_key session_token csrf_token csrf csrfmiddlewaretoken master_key encryption_key
    license_key hmac_key shared_key pre_shared_key preshared_key psk wireguard_private_key wifi_password openai_api_key openai_key stripe_key sendgrid_key
    anthropic_key azure_account_key storage_account_key SharedAccessKey service_account_json service_account_key kubeconfig keytab pfx p12 client_cert_key
    key_material wrapped_secret sas_token sas_url database_dsn jdbc_url magic_url proxy_url hook_url webhooks_url incoming_webhook_url cookie_secret secret_key_base
    SECRET_KEY jwt_secret jwtPrivateKey auth basic_auth http_auth authorization_header headers custom_headers extra_headers card_number credit_card_number
    credential creds pin_code atm_pin security_code password_hint values_b64 session_data api_key_hash passphrase private_key_pem ssh_key deploy_key bot_token
    device_token push_token registration_token invitation_token invite_token access_key_id secret_id password_reset_token password_reset_code password_history
    old_password new_password password2 pwd_hash
"""
PLAIN = """
    pwa pw_reset_count keystores_count hashed_keys_total
    passport_no passenger compass compassion bypass passed passing pass_count boarding_pass passwordless_enabled key keyboard monkey key_prefix key_alias
    primary_key foreign_key public_key sort_key object_key hashtag secretary author authors tokenizer token_limit token_count token_ids max_tokens max_new_tokens
    max_completion_tokens tokens_used tokens_remaining tokens_per_minute n_tokens num_tokens prompt_tokens prompt_tokens_details completion_tokens total_tokens
    total_prompt_tokens input_tokens output_tokens cached_tokens cache_read_input_tokens reasoning_tokens budget_tokens daily_tokens eos_token input_cost_per_token
    price_per_1k_tokens name url logo_url callback_url homepage_url has_webhook spinning turkey token_endpoint_auth_method token_endpoint token_url
    password_changed_at has_password needs_password_change key_type secret_name credentials_id credential_id token_id token_type password_policy password_reset
    password_reset_enabled password_min_length hash_algorithm salt_rounds cookie_domain cookie_name cookie_policy secret_manager secret_arn key_id api_key_id
    content_hash commit_hash git_hash file_hash idempotency_key cache_key object_storage_key country_code promo_code postal_code code pinned pin_to_top pincode
    is_secret secret_type author_id authority oauth_provider auth_type auth_method auth_provider auth_login_attempts authenticated two_factor_auth seed random_seed
    header page_header card card_id cardinality publishable_key site_key recaptcha_site_key feature_key setting_key key_name project_key issue_key signature
    certificate requires_password token_description token_prefix token_hint key_version session_id session_count credential_type password_expires_at tokenization
    password_strength api_keys_url codename zipcode authservice authentication_method status_code error_code unicode decode barcode openapi spec_url hashed_at
    keyword keynote whitelist
"""
TYPED = """
    pin int, otp_code int, verification_code int, passcode numeric, ssn bigint, card_number bigint, backup_codes int[], token code4, pin money,
    uid_key bytea, key bytea, session_key bytea, token tok, token uuid, api_key uuid, tokens text[], api_key jsonb, password name, secret_id text, auth xml
"""
TYPED_PLAIN = """
    needs_password_change boolean, has_password bool, password flag, password kind, api_token_ttl_days int, token_count bigint, tokens int, tokens int[],
    password_changed_at timestamptz, token_expires date, secret interval, credentials_id bigint, credentials_id uuid, secret_id uuid, secret_id int,
    status_code int, hash bigint, public_key bytea, config_key bytea, webauthn_credential_id bytea, password_ip inet
"""


WITH_SECRETS = {
    "small objects": lambda size: [{"id": n, "token": "x"} for n in range(size // 28)],
    "secrets by their form": lambda size: [f"sk-{n:012}" for n in range(size // 19)],
    "JSON in strings": lambda size: ['{"token": 1}'] * (size // 20),
    "JSON in strings in strings": lambda size: nested_text(8, {"token": "x", "rest": "y" * (size // 500)}),
    "strings that begin as JSON does": lambda size: ['{"token'] * (size // 11),
    "levels": lambda size: nested(min(size // 8, 900), {"token": "x", "rest": "y" * size}),
}


def nested_text(levels, value):
    for _ in range(levels):
        value = {"a": json.dumps(value)}
    return value


@pytest.mark.parametrize("kind", WITH_SECRETS)
def test_an_imported_row_is_rid_of_its_secrets_in_proportion(su, kind):
    small, large = (
        seconds(su, "audit_internal.without_secrets(%s)", WITH_SECRETS[kind](size)) for size in (50_000, 200_000)
    )
    assert large < 10 * small + 0.02
    assert large < 5
    # (Of many strings that may be JSON, a thousand are looked into; none of the rest is shown.)
    assert su.execute("select audit_internal.without_secrets(value) = value from document").fetchone() == (False,)


def test_names_are_taken_for_those_of_secrets_by_their_words(su):
    judged = "select name from unnest(%s::text[]) as name where audit_internal.looks_secret(name) = %s"
    assert su.execute(judged, [SECRETS.split(), False]).fetchall() == []
    assert su.execute(judged, [PLAIN.split(), True]).fetchall() == []
    # In JSON too, and the quick look passes over none of them.
    within = "select name from unnest(%s::text[]) as name where not audit_internal.looks_secret_within(name) or not audit_internal.may_name_secret(name)"
    assert su.execute(within, [SECRETS.split()]).fetchall() == []
    # What JSON alone calls a secret.
    judged = "select name from unnest(%s::text[]) as name where audit_internal.looks_secret_within(name)"
    assert {name for (name,) in su.execute(judged, [PLAIN.split()])} == {
        "key", "signature", "certificate", "object_storage_key", "project_key",
    }  # fmt: skip


def test_the_type_of_a_column_has_a_say(su):
    su.execute(
        "create type kind as enum ('a'); create domain code4 as int; create domain flag as boolean; create domain tok as text"
    )
    for columns, expected in ((TYPED, True), (TYPED_PLAIN, False)):
        for column in columns.split(","):
            name, type = column.split()
            found = su.execute("select audit_internal.looks_secret(%s, %s::regtype)", [name, type]).fetchone()[0]
            assert found is expected, column


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("payment_stripe_secret_key", True),
        ("smtp.password", True),
        ("SENTRY_DSN", True),
        ("auth:github:client-secret", True),
        ("smtpPassword", True),
        ("a/b/api-key", True),
        ("has.db.password", True),
        ("Zahlung – Passwort: password", True),
        ("auth:github:client-id", False),
        ("security.passwordPolicy.minLength", False),
        ("theme.color", False),
        ("", False),
        (None, False),
        ("x" * 3_000_000, False),
        ("x" * 300 + "_password", False),
    ],
)
def test_the_name_in_a_row_of_settings_says_whether_its_value_is_a_secret(su, name, expected):
    assert su.execute("select audit_internal.is_name_of_secret(%s)", [name]).fetchone() == (expected,)


STORED = (
    "select resource_id, audit.row_before(event), after from audit.event where table_name = 'public.store' order by id"
)


@pytest.mark.parametrize("bulk", [False, True], ids=["by row", "bulk"])
def test_a_value_is_hidden_in_the_rows_whose_name_looks_secret(su, bulk):
    su.execute("create table public.store (id int primary key, key text, value text, note jsonb)")
    su.execute("select audit.track('public.store', secret => '{value when key,note when key}', bulk => %s)", [bulk])
    su.execute(
        """insert into public.store values (1, 'payment_stripe_secret_key', 'sk_1', '{"a": "sk_1"}'), (2, 'color', 'red', '{"a": 1}'), (3, 'smtp.password', null, null)"""
    )
    # In an update the old name or the new one: what was a secret stays one in the event that renames it.
    su.execute("update public.store set key = 'colour', value = 'sk_2' where id = 1")
    su.execute("update public.store set key = 'user.password', value = 'sk_3' where id = 2")
    su.execute("update public.store set value = 'sk_4' where id = 3")
    su.execute("delete from public.store where id = 3")
    events = su.execute(STORED).fetchall()
    assert "sk_" not in str(events)
    shown = [(key, before and before["value"], after and after["value"]) for key, before, after in events]
    assert shown == [
        ("1", None, "[redacted]"), ("2", None, "red"), ("3", None, None),
        ("1", "[redacted]", "[redacted]"), ("2", "[redacted]", "[redacted]"), ("3", None, "[redacted]"), ("3", "[redacted]", None),
    ]  # fmt: skip


def test_settings_by_name_are_found_without_being_told_and_can_be_revealed(su):
    for name in ("settingsstore", "sensitive_config"):
        su.execute(f"create table public.{name} (id int primary key, option text, value text)")
        su.execute(f"select audit.track('public.{name}')")
        su.execute(f"insert into public.{name} values (1, 'api_key', 'sk_1'), (2, 'color', 'red')")
    assert "sk_1" not in str(su.execute("select after from audit.event").fetchall())
    su.execute("select audit.track('public.settingsstore', reveal => '{value}')")
    su.execute("insert into public.settingsstore values (3, 'api_key', 'shown')")
    assert "shown" in str(su.execute("select after from audit.event").fetchall())


def test_the_two_columns_of_a_setting_follow_renames_and_without_its_name_each_value_is_hidden(su):
    su.execute("create table public.store (id int primary key, key text, value text)")
    su.execute("select audit.track('public.store', secret => '{value when key}')")
    su.execute("alter table public.store rename key to k; alter table public.store rename value to v")
    su.execute("insert into public.store values (1, 'password', 'sk_1'), (2, 'color', 'red')")
    su.execute("alter table public.store drop column k")
    su.execute("update public.store set v = 'sk_2'")
    events = su.execute(STORED).fetchall()
    assert "sk_" not in str(events)
    assert events[1][2]["v"] == "red"
    assert {after["v"] for _, _, after in events[2:]} == {"[redacted]"}


@pytest.mark.parametrize("secret", ["value when nothing", "nothing when key", "value when", "value when key when id"])
def test_a_setting_of_columns_that_are_not_there_is_refused(su, secret):
    su.execute("create table public.store (id int primary key, key text, value text)")
    with pytest.raises(psycopg.Error) as refused:
        su.execute("select audit.track('public.store', secret => array[%s])", [secret])
    assert refused.value.sqlstate == "PT002"


@pytest.mark.parametrize("bulk", [False, True], ids=["by row", "bulk"])
def test_what_is_secret_in_a_value_is_hidden_wherever_a_row_says_it(su, bulk):
    """In a text, an array, JSON and JSON that is text; in the label and the key too."""
    su.execute("create table public.hook (id text primary key, url text, note text, cfg jsonb, list text[], n int)")
    su.execute("select audit.track('public.hook', label => 'url', reveal => '{url}', bulk => %s)", [bulk])
    su.execute(
        """insert into public.hook values ('a', 'https://u:pw1@h/x', '{"api_key": "pw2", "b": 2}', '{"endpoint": "https://u:pw3@h"}', '{a,https://u:pw4@h}', 1)"""
    )
    su.execute("update public.hook set note = 'plain'")
    su.execute("update public.hook set n = 2")
    su.execute("update public.hook set id = 'sk-abcdefghijklmnopqrstuvwx'")
    su.execute("delete from public.hook")
    events = su.execute(
        "select resource_id, resource_label, audit.row_before(event), after from audit.event where table_name = 'public.hook' order by id"
    ).fetchall()
    assert len(events) == 5
    assert not re.search(r"pw\d|sk-abcdef", str(events))
    _, label, _, after = events[0]
    assert label == "https://u:[redacted]@h/x"
    assert after["list"] == ["a", "https://u:[redacted]@h"]
    assert json.loads(after["note"]) == {"api_key": "[redacted]", "b": 2}


@pytest.mark.parametrize(
    "name",
    [
        "api_key", "apiKey", "LANGFUSE_SECRET_KEY", "aws_access_key_id", "client_secret", "Authorization", "extra_headers", "callback_vars",
        "auth_token", "redis_password", "database_url", "webhook_url", "vertex_credentials",
    ],
)  # fmt: skip
def test_a_question_mark_is_any_member_that_looks_secret(su, name):
    document = {"list": [{name: "s3cret", "mode": "on"}], name: {"deep": 1}}
    redacted = su.execute("select audit_internal.redact(%s, '{**,?}')", [Jsonb(document)]).fetchone()[0]
    assert redacted == {"list": [{name: "[redacted]", "mode": "on"}], name: "[redacted]"}


@pytest.mark.parametrize(
    "name",
    [
        "mode",
        "max_tokens",
        "input_cost_per_token",
        "key_alias",
        "api_key_alias",
        "token_url",
        "auth_type",
        "tokenizer",
        "monkey",
        "keys_rpm_limit",
        "primary_key",
        "prompt_tokens",
        "total_tokens",
        "tokens_used",
    ],
)
def test_what_only_tells_of_a_secret_stays(su, name):
    assert su.execute("select audit_internal.redact(%s, '{**,?}')", [Jsonb({name: "kept"})]).fetchone()[0] == {
        name: "kept"
    }


WORDS = [
    "api",
    "key",
    "keys",
    "access",
    "secret",
    "token",
    "password",
    "hash",
    "salt",
    "auth",
    "authorization",
    "bearer",
    "cookie",
    "jwt",
    "headers",
    "callback",
    "vars",
    "connection",
    "string",
    "dsn",
    "signature",
    "certificate",
    "database",
    "webhook",
    "url",
    "otp",
    "cvv",
    "credential",
    "private",
    "value",
    "per",
    "type",
    "name",
    "x",
    "tokens",
    "passwords",
    "pass",
    "redis",
    "uri",
    "slack",
    "hook",
    "backup",
    "codes",
    "conn",
    "str",
    "signed",
    "creds",
    "pin",
    "mnemonic",
]
VALUES = (
    "sk-abcdefghijk1 pk_abcdefghijklmnop12 ghp_abcdefghijklmnop12 xoxb-abcdefghijklmnop12 glpat-abcdefghijklmnop12 AKIAABCDEFGHIJKLMNOP "
    "eyJhbGciOiJIUzI1.x $2b$12$abcdef $argon2id$v pbkdf2_sha256$1 scrypt$x postgres://ann:pw@host/db "
    + "0123456789abcdef"
    * 4
).split()


def test_the_quick_look_passes_over_nothing_that_the_others_find(su):
    names = [f"{one}{between}{other}" for one in WORDS for other in WORDS for between in ("_", "-")]
    names += [f"{one}{other.title()}" for one in WORDS for other in WORDS]
    overlooked = (
        "select told from unnest(%s::text[]) as told where audit_internal.looks_secret_within(told) "
        "and not audit_internal.may_name_secret(jsonb_build_object(told, 1)::text)"
    )
    assert su.execute(overlooked, [names]).fetchall() == []
    overlooked = "select told from unnest(%s::text[]) as told where not audit_internal.value_looks_secret(told)"
    assert su.execute(overlooked, [VALUES]).fetchall() == []
    assert su.execute('select audit_internal.may_name_secret(\'{"name": "ann", "size": 3}\')').fetchone() == (False,)
    for told in ("Ann Miller, 2026-07-01 12:00", "key sk-0c3f9a21 of Ann"):
        assert su.execute("select audit_internal.may_hold_secret_value(%s)", [told]).fetchone() == (False,)


# Values ---------------------------------------------------------------------------------------------------------------

PEM = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIE+/a=\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-_x"
HIDDEN = {
    "postgres://u:S3CRET@h/db": "postgres://u:[redacted]@h/db",
    "see redis://:S3CRET@h:1/0, amqp://a:S3CRET%40c@x//": "see redis://:[redacted]@h:1/0, amqp://a:[redacted]@x//",
    "mongodb://u:S3CRET@h1:27017,h2:27017/db": "mongodb://u:[redacted]@h1:27017,h2:27017/db",
    "redis://:S3CRET@h1,redis://:S3CRET@h2": "redis://:[redacted]@h1,redis://:[redacted]@h2",
    "https://S3CRET-012345678901234@github.com/x": "https://[redacted]@github.com/x",
    "jdbc:postgresql://h/db?user=u&password=S3CRET&ssl=on": "jdbc:postgresql://h/db?user=u&password=[redacted]&ssl=on",
    "host=h password='S3CRET S3CRET' dbname=d": "host=h password=[redacted] dbname=d",
    "Server=x;Pwd={S3CRET;S3CRET};": "Server=x;Pwd=[redacted];",
    '{"api_key":"S3CRET","n":1}': '{"n": 1, "api_key": "[redacted]"}',
    '[{"db": "postgres://u:S3CRET@h"}]': '[{"db": "postgres://u:[redacted]@h"}]',
    json.dumps(json.dumps({"api_key": "S3CRET"})): json.dumps(json.dumps({"api_key": "[redacted]"})),
    json.dumps({"a": json.dumps({"token": "S3CRET"})}): json.dumps({"a": json.dumps({"token": "[redacted]"})}),
    json.dumps({"sk-S3CRET-01234": True}): json.dumps({"[redacted]": True}),
    # What jsonb can't hold, or is cut off, or stands in a text.
    '{"x":"\\u0000","api_key":"S3CRET"}': "[redacted]",
    '{"x":1e999999,"api_key":"S3CRET"}': "[redacted]",
    '{"api_key": "S3CRET", "na': "[redacted]",
    'sent {"token" : "S3CRET"}': "[redacted]",
    f"a {PEM.replace('MIIE', 'S3CRET')} b": "a [redacted] b",
    f"{JWT}S3CRET, please": "[redacted], please",
    "key sk-S3CRET-01234 and sk_live_S3CRET12 and ghp_S3CRET0123456": "key [redacted] and [redacted] and [redacted]",
    "AKIAS3CRET0123456": "[redacted]",
    "xoxb-S3CRET-0123456": "[redacted]",
    "glpat-S3CRET-0123456": "[redacted]",
    # Parameters of addresses, and webhooks whose path is the secret.
    "https://h/hook?a=1&key=S3CRET&b=2#top": "https://h/hook?a=1&key=[redacted]&b=2#top",
    "https://h/hook?X-Amz-Signature=S3CRET": "https://h/hook?X-Amz-Signature=[redacted]",
    "https://h/cb#access_token=S3CRET&state=x": "https://h/cb#access_token=[redacted]&state=x",
    "https://h/b?sv=1&sig=S3CRET%2F%3D&se=2": "https://h/b?sv=1&sig=[redacted]&se=2",
    "/hook?user[pass]=S3CRET&hmac=S3CRET": "/hook?user[pass]=[redacted]&hmac=[redacted]",
    "https://h/fn?code=S3CRET0123456789==": "https://h/fn?code=[redacted]",
    "https://h/?next=https%3A%2F%2Fi%2F%3Fkey%3DS3CRET%26a%3D1": "https://h/?next=https%3A%2F%2Fi%2F%3Fkey%3D[redacted]%26a%3D1",
    "<a href='https://h/?a=1&amp;auth=S3CRET\">": "<a href='https://h/?a=1&amp;auth=[redacted]\">",
    '{"url": "https://h/?sig=S3CRET"}': '{"url": "https://h/?sig=[redacted]"}',
    "https://hooks.slack.com/services/T0/B0/S3CRET": "https://hooks.slack.com/services/[redacted]",
    "https://discord.com/api/webhooks/1/S3CRET?wait=true": "https://discord.com/api/webhooks/[redacted]?wait=true",
    "https://acme.webhook.office.com/webhookb2/a@b/IncomingWebhook/S3CRET/c": "https://acme.webhook.office.com/webhookb2/[redacted]",
    "https://api.telegram.org/bot1:S3CRET/sendMessage": "https://api.telegram.org/bot[redacted]",
    "https://chat.acme.example/hooks/S3CRET01234567890123456789": "https://chat.acme.example/hooks/[redacted]",
    "https://h/?" + "&".join(f"k{n}=S3CRET" for n in range(101)): "https://h/?"
    + "&".join(f"k{n}=[redacted]" for n in range(101)),
}
SHOWN = [
    "", "Ann", "https://medium.com:443/@user/x", "http://localhost:8080/a@b", "ann@acme.example", "12:30", "a = b", "max_tokens=100",
    '{"n":   1, "b": 2}', 'he said "hello": fine', "task-0123456789", "-----BEGIN PUBLIC KEY-----", "0123456789abcdef" * 2 + "01234567",
    "[link](http://x)", "{", '"', "sk-1", "key sk-0c3f9a21 of Ann", "Basic plan", "[redacted]", "postgres://u@h/db",
    "https://h/?page=2&sort_key=name&code=DE&country_code=DE#a=1", "https://slack.com/services/about", "https://h/api/hooks/5", "is it 50%? a=b",
    "https://h/?next=https%3A%2F%2Fi%2F%3Fa%3D1",
]  # fmt: skip


@pytest.mark.parametrize("content", HIDDEN)
def test_what_is_secret_in_a_text_is_hidden_and_the_rest_is_not(su, content):
    without = "select audit_internal.text_without_secrets(%s)"
    assert su.execute(without, [content]).fetchone() == (HIDDEN[content],)
    assert su.execute(without, [HIDDEN[content]]).fetchone() == (HIDDEN[content],)


@pytest.mark.parametrize("bulk", [False, True], ids=["by row", "bulk"])
def test_each_of_these_is_hidden_wherever_it_is_written(su, bulk):
    su.execute("create table public.thing (id int primary key, note text)")
    su.execute("select audit.track('public.thing', 'thing', label => 'note', bulk => %s)", [bulk])
    for number, content in enumerate(HIDDEN):
        su.execute("insert into public.thing values (%s, %s)", [number, content])
        su.execute("update public.thing set note = 'none' where id = %s", [number])
        su.execute("update public.thing set note = %s where id = %s", [content, number])
        su.execute("delete from public.thing where id = %s", [number])
    shown = "select event::text from audit.event where resource_type = 'thing' and event::text like '%S3CRET%'"
    assert su.execute(shown).fetchall() == []


def test_a_text_without_secrets_stays_as_it_is(su):
    changed = "select content from unnest(%s::text[]) as content where audit_internal.text_without_secrets(content) <> content"
    assert su.execute(changed, [SHOWN]).fetchall() == []


PIECES = st.lists(st.sampled_from([*HIDDEN, *SHOWN, "'", "\\", "\n", "@", ":", "/", "[", "größe"]), max_size=4).map(
    " ".join
)


@given(
    name=st.text(st.sampled_from("aA_ P.-I\u0131N"), max_size=8),
    content=PIECES,
    columns=st.sets(st.sampled_from("abc")),
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_row_is_rid_of_its_secrets_in_the_columns_that_are_named(su, name, content, columns):
    row = {"a": content, "b": {name: [content, 1, None]}, "c": "x"}
    found, again, may_hold = su.execute(
        "with once as materialized (select audit_internal.without_secrets(%(row)s, %(columns)s) as row) "
        "select row, audit_internal.without_secrets(row, %(columns)s), audit_internal.may_hold_secret_value(%(content)s) from once",
        {"row": Jsonb(row), "columns": list(columns), "content": content},
    ).fetchone()
    assert found == again
    assert {key: found[key] for key in set(row) - columns} == {key: row[key] for key in set(row) - columns}
    if not may_hold:
        assert found == row
    if columns >= {"a", "b"} and content in HIDDEN:
        assert "S3CRET" not in str(found)


TEXTS_AT_LENGTH = {
    "passwords": "password=x ", "URLs": "://u:p@h ", "schemes": "://", "users": "://u:", "at signs": "://u:" + "a@", "keys": "sk-abcdefghijkl1 ",
    "private keys": "-----BEGIN PRIVATE KEY-----", "quotation marks": '"', "names": '"api_key": x ', "equals": "=", "letters": "=a", "quotes": "password='",
    "braces": "{", "brackets": '["', "JSON": '{"url": "http://a=b"}', "parameters": "://h?key=a&", "long names": "?" + "a" * 99, "semicolons": "://?;",
    "one address": "://hooks/",
}  # fmt: skip


@pytest.mark.parametrize("kind", TEXTS_AT_LENGTH)
def test_a_text_is_rid_of_its_secrets_in_proportion(su, kind):
    def content(size):
        return TEXTS_AT_LENGTH[kind] * (size // len(TEXTS_AT_LENGTH[kind]))

    small, large = (
        seconds(su, "audit_internal.text_without_secrets(%s #>> '{}')", content(size)) for size in (50_000, 200_000)
    )
    assert large < 10 * small + 0.02
    assert large < 3


def test_what_can_not_be_looked_through_is_hidden(su):
    for content in (
        "{" * 30_000 + '"token":"S3CRET"',
        '{"a":' * 5000 + '{"token":"S3CRET"}' + "}" * 5000,
        "=" + "S3CRET" * 2_000_000,
    ):
        hidden = su.execute("select audit_internal.text_without_secrets(%s)", [content]).fetchone()[0]
        assert hidden.strip('"') == "[redacted]"

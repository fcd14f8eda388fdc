"""What pgtrail suggest calls a row, and what it leaves out, by a table's name: words, not letters."""

import pytest
from tests.adopting import proposals, suggested

pytestmark = pytest.mark.any_server


def proposed(su, tables, *columns):
    """What is proposed for tables with these definitions, by the table's name."""
    su.execute("create schema app; set search_path = app")
    for table in tables:
        su.execute(f"create table {table}")
    su.execute("set search_path = public")
    return {
        row[0].removeprefix("app."): row[1] if len(row) == 2 else row[1:]
        for row in proposals(su, "app", f"select relation::text, {', '.join(columns)} from pg_temp.suggestion")
    }


NAMES = {
    # At the boundary of a word.
    "oauth_tokens": ("oauth_token", "credentials"),
    "seatingplan": ("seating_plan", "seating_plans"),
    "floor_plan": ("floor_plan", "floor_plans"),
    "billing_plan": ("billing_plan", "plan"),
    "newsletter_subscription": ("newsletter_subscription", "newsletter_subscriptions"),
    "subscription": ("subscription", "plan"),
    "blueprofile": ("blueprofile", "blueprofiles"),
    "chirole": ("chirole", "chiroles"),
    # Words that are run together.
    "teamapitoken": ("team_key", "api_keys"),
    "userprofile": ("user_profile", "profile"),
    "eventsettingsstore": ("event_settings", "settings"),
    "projectmembership": ("project_member", "members"),
    "authtoken_token": ("key", "api_keys"),
    "accountemailaddress": ("account_email_address", "account_email_addresses"),
    "users_user": ("user", "users"),
    "user_password": ("user_password", "password"),
    # An application's name before its models'.
    "organizations_organizationmember": ("organization_member", "members"),
    "totp_totpdevice": ("totp_device", "credentials"),
    "seating_seatingchart": ("seating_chart", "seating_charts"),
    "teams_teambadge": ("team_badge", "team_badges"),
    "token_blacklist_outstandingtoken": ("outstanding_token", "credentials"),
    "jwt_auth_jwtsettings": ("jwt_settings", "settings"),
    "session_policy_sessiontimeoutpolicy": ("session_timeout_policy", "access"),
    "boards_board_columns": ("board_column", "board_columns"),
}


def test_a_row_is_called_by_the_words_of_its_table(su):
    tables = [f"{name} (id int primary key, note text)" for name in NAMES]
    assert proposed(su, tables, "resource", "category") == NAMES


def test_the_table_that_is_really_called_so_keeps_the_name(su):
    tables = [
        f"{name} (id int primary key, title text)"
        for name in ("api_project", "api_scope", "api_zone", "project", "api_key", "service_token", "key", "web_zone", "web_page", "web_site", "zone_1", "boards_boardcolumn", "board_column")
    ]  # fmt: skip
    assert proposed(su, tables, "resource") == {
        "project": "project",
        "api_project": "api_project",
        "api_scope": "scope",
        "api_zone": "zone",
        "web_zone": "web_zone",
        "zone_1": "zone_1",
        "web_page": "page",
        "web_site": "site",
        "boards_boardcolumn": "boards_board_column",
        "board_column": "board_column",
        "key": "key",
        "api_key": "api_key",
        "service_token": "service_token",
    }


LOGS = {
    "login_event (id int primary key, at timestamptz, type text)": True,
    "webhook_events (id int primary key, received_at timestamptz, payload jsonb)": True,
    "outgoingmail (id int primary key, subject text, sent timestamptz)": True,
    "activity (id int primary key, verb text, at timestamptz)": True,
    "revisions (id int primary key, data text, at timestamptz)": True,
    "logentry (id int primary key, action_type text)": True,
    "user_session (id text primary key)": True,
    "emailverification (id text primary key, value text)": True,
    # Things that people go to, do, or refer to.
    "event (id int primary key, name text, slug text, date_from timestamptz)": False,
    "ticket (id int primary key, event_id int references app.event)": False,
    "calendar_event (id int primary key, title text, type text, starts_at timestamptz)": False,
    "sports_event (id int primary key, name text, at timestamptz)": False,
    "tournament (id int primary key, sports_event_id int, name text)": False,
    "event_type (id int primary key, name text)": False,
    "training_session (id int primary key, title text, room text)": False,
    "coding_challenge (id int primary key, title text)": False,
    "mail_template (id int primary key, name text)": False,
    "log_level (id int primary key, name text)": False,
}
"""Whether a table is left out as a log or as short-lived, by its definition."""


def test_a_log_is_known_by_its_columns_not_by_its_name_alone(su):
    found = proposed(su, LOGS, "left_out is not null")
    assert found == {definition.split(" (")[0]: is_log for definition, is_log in LOGS.items()}


COUNTED = {
    "score": True, "daily_spend": True, "usage_records": True, "health_check": True, "user_statistic": True, "counter": True,
    "score_configs": False, "cloud_spend_alerts": False, "usage_limit": False, "spend_notification_setting": False, "metric_definition": False,
}  # fmt: skip
"""Tables, and whether the software counts there, rather than a person saying what is to be counted."""


def test_what_is_to_be_counted_is_no_measurement(su):
    tables = [f"{name} (id int primary key, title text, threshold numeric)" for name in COUNTED]
    assert proposed(su, tables, "left_out is not null") == COUNTED


def test_a_new_row_in_a_table_of_passwords_is_a_changed_password(db, su):
    su.execute(
        """
        create schema app;
        create table app.person (id int primary key, email text);
        create table app.password (id int primary key, person_id int not null references app.person, value text, created_at timestamptz);
        create table app.password_policy (id int primary key, min_length int);
        """
    )
    query = "select relation::text, operation, action, category, condition from pg_temp.proposed_rule"
    assert proposals(su, "app", query) == [
        ("app.password", "INSERT", "password.changed", "password", None),
        ("app.password", "UPDATE", "password.changed", "password", "new.value is distinct from old.value"),
    ]


def test_a_password_is_somebodys_where_people_log_in(su):
    tables = [
        "users_user (id int primary key, email text, password text, host text)",
        "admin (id int primary key, password_hash text)",
        "mail_account (id int primary key, smtp_host text, smtp_port int, username text, password text)",
        "mail_server (id int primary key, host text, username text, password text)",
        "redis_storage (id int primary key, title text, password text)",
    ]
    proposed(su, tables, "resource")
    rules = "select relation::text, action, condition from pg_temp.proposed_rule where action = 'password.changed'"
    assert proposals(su, "app", f"{rules} order by 1") == [
        ("app.admin", "password.changed", "new.password_hash is distinct from old.password_hash"),
        ("app.users_user", "password.changed", "new.password is distinct from old.password"),
    ]


def test_a_column_that_goes_breaks_no_rule_that_is_not_about_it(su):
    proposed(su, ["person (id int primary key, email text, phone text, password text)"], "resource")
    file = suggested(su, "app")
    su.execute(file)
    su.execute("alter table app.person drop column phone")
    assert su.execute("select action, problem from audit.rule where relation = 'app.person'::regclass").fetchall() == [
        ("password.changed", None), ("person.updated", None),
    ]  # fmt: skip
    su.execute("insert into app.person values (1, 'ada@example.com', 'a')")
    su.execute("update app.person set email = 'bob@example.com'")
    su.execute("update app.person set password = 'b'")
    su.execute("update app.person set password = 'c', email = 'ada@example.com'")
    assert su.execute("select action from audit.event where category <> 'audit' order by id").fetchall() == [
        ("person.created",), ("person.updated",), ("password.changed",), ("password.changed",), ("person.updated",),
    ]  # fmt: skip


@pytest.mark.parametrize("word", ["organizer", "institution", "merchant", "agency", "realm"])
def test_who_an_application_works_for_is_the_organization_if_there_is_a_table_of_them(su, word):
    tables = [
        f"{word} (id int primary key, name text)",
        *(
            f"{thing} (id int primary key, {word}_id int references {word}, title text)"
            for thing in ("show", "price_list", "seat")
        ),
        "ticket (id int primary key, show_id int references show, title text)",
    ]
    assert proposed(su, tables, "org") == {
        word: "id",
        "show": f"{word}_id",
        "price_list": f"{word}_id",
        "seat": f"{word}_id",
        "ticket": "show_id -> app.show." + f"{word}_id",
    }


def test_a_word_that_may_mean_anybody_is_no_organization_for_two_tables_or_without_one(su):
    things = ("show", "price_list", "seat", "ticket")
    tables = [
        "merchant (id int primary key, name text)",
        *(f"{thing} (id int primary key, organizer_id int, title text)" for thing in things),
        *(f"{thing}_sale (id int primary key, merchant_id int references merchant)" for thing in things[:2]),
    ]
    assert set(proposed(su, tables, "org").values()) == {None}


def test_what_somebody_looks_at_now_is_not_the_organization_of_a_row(su):
    tables = [
        "organization (id int primary key, name text)",
        "team (id int primary key, organization_id int references organization, name text)",
        "person (id int primary key, email text, active_organization_id int references organization, current_team_id int references team)",
        "editor (id int primary key, email text, organization_id int references organization, last_organization_id int)",
        "note (id int primary key, selected_team_id int references team, title text)",
    ]
    assert proposed(su, tables, "org") == {
        "organization": "id",
        "team": "organization_id",
        "person": None,
        "editor": "organization_id",
        "note": None,
    }

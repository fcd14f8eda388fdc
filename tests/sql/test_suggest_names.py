"""What audit.suggest() calls a row, and what it leaves out, by a table's name: words, not letters."""

import pytest

pytestmark = pytest.mark.any_server


def proposed(su, tables, *columns):
    """What is proposed for tables with these definitions, by the table's name."""
    su.execute("create schema app; set search_path = app")
    for table in tables:
        su.execute(f"create table {table}")
    su.execute("set search_path = public")
    return {
        row[0].removeprefix("app."): row[1] if len(row) == 2 else row[1:]
        for row in su.execute(
            f"select relation::text, {', '.join(columns)} from audit.suggestions(audit.suggest_facts('{{app}}'))"
        )
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
}


def test_a_row_is_called_by_the_words_of_its_table(su):
    tables = [f"{name} (id int primary key, note text)" for name in NAMES]
    assert proposed(su, tables, "resource", "category") == NAMES


def test_the_table_that_is_really_called_so_keeps_the_name(su):
    tables = [
        f"{name} (id int primary key, title text)"
        for name in ("api_project", "api_scope", "api_zone", "project", "api_key", "service_token", "key", "web_zone", "web_page", "web_site", "zone_1")
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


def test_a_new_row_in_a_table_of_passwords_is_a_changed_password(db, su):
    su.execute(
        """
        create schema app;
        create table app.person (id int primary key, email text);
        create table app.password (id int primary key, person_id int not null references app.person, value text, created_at timestamptz);
        create table app.password_policy (id int primary key, min_length int);
        """
    )
    rules = su.execute(
        "select relation::text, operation, action, category, condition from audit.suggested_rules(audit.suggest_facts('{app}'))"
    ).fetchall()
    assert rules == [
        ("app.password", "INSERT", "password.changed", "password", None),
        ("app.password", "UPDATE", "password.changed", "password", "new.value is distinct from old.value"),
    ]


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

"""What a row is called: by its own column, or by those of the rows that it refers to. And what an organization is called."""

import psycopg
import pytest

pytestmark = pytest.mark.any_server


@pytest.fixture
def labels(su):
    """The events about members so far: action, label."""
    return lambda: su.execute(
        "select action, resource_label from audit.event where resource_type = 'member' order by id"
    ).fetchall()


@pytest.fixture
def member(su, labels):
    """People, teams, and who is in which; gives `labels`."""
    su.execute(
        """
        create table public.person (id int primary key, email text);
        create table public.team (id int primary key, name text);
        create table public.member (
            person_id int references public.person on delete cascade, team_id int references public.team on delete cascade,
            role text, primary key (person_id, team_id)
        );
        insert into public.person values (6, 'ann@acme.example'), (7, null);
        insert into public.team values (4, 'Support');
        """
    )
    su.execute(
        "select audit.track('public.member', label => 'person_id -> person.email + team_id -> public.team.name')"
    )
    return labels


def test_a_row_is_called_by_those_that_it_joins(su, member):
    su.execute("insert into public.member values (6, 4, 'x'), (7, 4, 'x')")
    su.execute("update public.member set role = 'y' where person_id = 6")
    su.execute("delete from public.member where person_id = 6")
    assert member() == [
        ("member.created", "ann@acme.example → Support"),
        ("member.created", "Support"),
        ("member.updated", "ann@acme.example → Support"),
        ("member.deleted", "ann@acme.example → Support"),
    ]


def test_a_row_whose_label_went_before_it_is_called_as_it_last_was(su, member):
    su.execute("insert into public.member values (6, 4, 'x')")
    su.execute("delete from public.person where id = 6")
    su.execute("insert into public.member values (7, 4, 'x')")
    su.execute("delete from public.team")
    assert [label for action, label in member() if action == "member.deleted"] == [
        "ann@acme.example → Support",
        "Support",
    ]


def test_a_label_is_that_of_the_time_of_the_event_and_200_characters_long(su, member):
    su.execute("insert into public.member values (6, 4, 'x')")
    su.execute("update public.team set name = repeat('ä', 300)")
    su.execute("update public.member set role = 'y'")
    (_, before), (_, after) = member()
    assert before == "ann@acme.example → Support"
    assert after == "ann@acme.example → " + "ä" * 181


def test_a_long_label_of_the_rows_own_is_cut_too(su):
    su.execute("create table public.note (id int primary key, title text)")
    su.execute("select audit.track('public.note', label => 'title')")
    su.execute("insert into public.note values (1, repeat('🦊', 201))")
    (label,) = su.execute("select resource_label from audit.event where resource_type = 'note'").fetchone()
    assert label == "🦊" * 200


def test_a_label_follows_what_its_way_leads_through_when_that_is_renamed(su, member):
    su.execute("alter table public.person rename email to mail; alter table public.team rename to squad")
    su.execute("alter table public.member rename team_id to squad_id")
    su.execute("insert into public.member values (6, 4, 'x')")
    assert member() == [("member.created", "ann@acme.example → Support")]


def test_a_part_that_is_given_a_secrets_name_is_shown_no_more(su, member):
    with pytest.raises(psycopg.Error):
        su.execute("select audit.track('public.person', secret => '{email}')")
    su.execute("alter table public.person rename email to password")
    su.execute("insert into public.member values (6, 4, 'x')")
    assert "ann@acme.example" not in str(member())


@pytest.mark.parametrize(
    ("label", "sqlstate"),
    [
        ("person_id -> public.nobody.email", "PT033"),
        ("person_id -> public.person.phone", "PT033"),
        ("nothing -> public.person.email", "PT033"),
        ("person_id -> public.person.password", "PT033"),
        ("person_id -> public.person.email + ", "PT033"),
        ("nothing", "PT002"),
    ],
)
def test_a_label_that_leads_nowhere_is_refused(su, member, label, sqlstate):
    su.execute("alter table public.person add password text")
    with pytest.raises(psycopg.Error) as refused:
        su.execute("select audit.track('public.member', label => %s)", [label])
    assert refused.value.sqlstate == sqlstate
    assert refused.value.diag.message_hint


def test_a_person_who_is_part_of_a_label_is_erased_from_it(su, member):
    su.execute("insert into public.member values (6, 4, 'x')")
    with su.transaction():
        su.execute("select audit.set_actor('ann@acme.example')")
        su.execute("update public.member set role = 'y'")
    su.execute("select audit.erase_actor('ann@acme.example', 'request 17')")
    assert "ann@acme.example" not in str(
        su.execute("select * from audit.event where resource_type = 'member'").fetchall()
    )
    assert all("Support" in label for _, label in member())


@pytest.fixture
def organizations(su):
    """Organizations 1 (Acme, from before it was tracked) and 2 (Beta), and what belongs to them."""
    su.execute(
        """
        create table public.organization (id int primary key, name text);
        create table public.seat (id int primary key, org_id int);
        insert into public.organization values (1, 'Acme');
        """
    )
    su.execute("select audit.track('public.organization', org => 'id', label => 'name')")
    su.execute("select audit.track('public.seat', org => 'org_id')")
    su.execute("insert into public.organization values (2, 'Beta'), (3, null)")
    su.execute("insert into public.seat select n, n from generate_series(1, 3) as n")
    return lambda: dict(
        su.execute("select org_id, org_label from audit.log where resource_type = 'seat' order by id").fetchall()
    )


def test_an_organization_has_its_name_wherever_its_id_stands(su, organizations):
    assert organizations() == {"1": "Acme", "2": "Beta", "3": None}
    (name,) = su.execute(
        "select audit.event_json(event) ->> 'org_label' from audit.event where org_id = '2' limit 1"
    ).fetchone()
    assert name == "Beta"
    exported = su.execute(
        "select distinct org_id, organization from audit.export where org_id is not null order by 1"
    ).fetchall()
    assert exported == [("1", "Acme"), ("2", "Beta"), ("3", "3")]


def test_an_organizations_name_is_that_of_today_and_stays_when_it_goes(su, organizations):
    su.execute("update public.organization set name = 'Acme Inc' where id = 1")
    su.execute("delete from public.organization where id = 2")
    assert organizations() == {"1": "Acme Inc", "2": "Beta", "3": None}


def test_a_reader_knows_the_names_of_their_own_organizations_alone(db, su, organizations):
    su.execute("select audit.grant_org('reader', '1')")
    reader = db.connect("reader")
    assert reader.execute("select org_id, label from audit.org_label").fetchall() == [("1", "Acme")]
    assert reader.execute("select distinct org_label from audit.log").fetchall() == [("Acme",)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.execute("update audit.org_label set label = 'x'")


def test_a_table_of_organizations_whose_label_is_another_tables_names_none(su):
    su.execute("create table public.organization (id int primary key, name text, secret_name_of text)")
    su.execute("select audit.track('public.organization', org => 'id')")
    su.execute("insert into public.organization values (1, 'Acme')")
    assert su.execute("select * from audit.org_label").fetchall() == []

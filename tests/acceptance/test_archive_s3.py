"""Cold history in an S3-compatible store, which is asked over HTTP."""

import boto3
import pytest
from moto.server import ThreadedMotoServer


@pytest.fixture
def store():
    """A store with the bucket `cold`; what says where it is, and a client of it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL_S3": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    client = boto3.client(
        "s3", endpoint_url=environment["AWS_ENDPOINT_URL_S3"], aws_access_key_id="key", aws_secret_access_key="secret",
        region_name="us-east-1",
    )  # fmt: skip
    client.create_bucket(Bucket="cold")
    yield environment, client
    client.close()
    server.stop()


@pytest.fixture
def aged(nemo):
    """A month of 2020 with 50 events, sealed."""
    su = nemo.connect()
    su.execute("set role audit_owner")
    su.execute("create table audit.event_2020_01 (like audit.event including defaults including constraints)")
    su.execute("select audit_internal.attach_partition('event_2020_01', '2020-01-01Z', '2020-02-01Z')")
    su.execute("reset role")
    su.execute(
        "insert into audit.event (occurred_at, org_id, category, action, operation, resource_type, resource_id, actor_type, after) "
        "select timestamptz '2020-01-05Z' + n * interval '1 hour', (n % 3)::text, 'teams', 'team.created', 'INSERT', 'team', n::text, "
        "'user', jsonb_build_object('n', n) from generate_series(1, 50) as n"
    )
    while su.execute("select number from audit.seal() where number is not null").fetchone():
        pass
    return nemo


@pytest.mark.any_server
def test_a_store_holds_an_archive_as_a_folder_does(aged, pgtrail, store):
    environment, client = store
    dsn, place = aged.dsn("admin"), "s3://cold/audit/log"
    live = pgtrail("log", "--json", "--org", "1", "--until", "2021-01-01", dsn=dsn).stdout
    # What a run that was killed has left.
    client.put_object(Bucket="cold", Key="audit/log/month=2020-01/part=9/event_2020_01.parquet", Body=b"half")
    done = pgtrail("archive", place, dsn=dsn, **environment)
    assert (done.returncode, done.stdout) == (0, "audit.event_2020_01\n"), done.stderr
    keys = [
        entry["Key"].removeprefix("audit/log/month=2020-01/")
        for entry in client.list_objects_v2(Bucket="cold")["Contents"]
    ]
    assert sorted(keys) == [
        f"_event_2020_01.{kind}" for kind in ("erased.parquet", "leaves.parquet", "manifest.json", "salts.parquet", "seals.jsonl")
    ] + ["part=0/event_2020_01.parquet"]  # fmt: skip
    read = pgtrail("log", "--json", "--org", "1", "--archive", place, **environment)
    assert (read.stdout, read.returncode) == (live, 0), read.stderr
    assert live.count("\n") == 17
    assert pgtrail("verify", "--archive", place, **environment).returncode == 0
    month = f"{place}/month=2020-01"
    assert "50 events of 1 months" in pgtrail("verify", "--archive", month, **environment).stderr
    client.put_object(Bucket="cold", Key="audit/log/month=2020-01/part=0/event_2020_01.parquet", Body=b"other")
    touched = pgtrail("verify", "--archive", place, **environment)
    assert (touched.returncode, touched.stderr.count("\n")) == (1, 1)
    assert "its SHA-256 differs" in touched.stdout


@pytest.mark.any_server
def test_what_a_store_refuses_is_said_in_a_line(aged, pgtrail, store):
    environment, _ = store
    dsn = aged.dsn("admin")
    for words, given in (
        (("archive", "s3://nowhere/x"), environment),
        (
            ("archive", "s3://cold/x"),
            environment | {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"},
        ),
        (("log", "--archive", "s3://cold/x"), environment),
    ):
        done = pgtrail(*words, dsn=dsn, **given)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr

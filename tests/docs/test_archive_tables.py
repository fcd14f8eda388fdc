"""The tables that the documents define for other engines have the columns of the files that are written."""

import re
from datetime import UTC, datetime

import duckdb
import pytest
from tests.documents import PROJECT, blocks

from pgtrail.archive.columns import ERASED, EVENT, LEAVES, SALTS
from pgtrail.archive.location import Folder
from pgtrail.archive.reading import partitions_of
from pgtrail.archive.spool import Month, Spool, Spooled
from pgtrail.archive.writing import write_month

PAGE = PROJECT / "docs" / "operate" / "engines.md"
PARQUET_TYPES = {
    ("INT64", "INT_64"): {"Trino": "bigint", "Athena": "bigint"},
    ("INT64", "TIMESTAMP_MICROS"): {"Trino": "timestamp(6)", "Athena": "timestamp"},
    ("BYTE_ARRAY", "UTF8"): {"Trino": "varchar", "Athena": "string"},
    ("FIXED_LEN_BYTE_ARRAY", "DECIMAL", 20, 0): {"Trino": "decimal(20, 0)", "Athena": "decimal(20, 0)"},
}
PARTITIONS = {"Trino": [("month", "varchar"), ("part", "varchar")], "Athena": [("month", "string"), ("part", "string")]}
ORGS = ("acme", "globex", "o'brien", "日本", "")


def spooled(folder, name, columns, rows=()):
    """A table as Postgres copies it, with nulls in all columns that are not given."""
    file = folder / f"{name}.csv"
    names = [column.name for column in columns]
    lines = [",".join(names), *(",".join(row.get(column, r"\N") for column in names) for row in rows)]
    file.write_text("".join(f"{line}\n" for line in lines))
    return Spooled(file, columns, len(rows), 4096)


@pytest.fixture
def place(tmp_path):
    """An archive of three months, with four, six and twelve parts."""
    place = tmp_path / "place"
    place.mkdir()
    for month, events in ((1, 40), (2, 60), (3, 120)):
        folder = tmp_path / str(month)
        folder.mkdir()
        begins, ends = (datetime(2025, number, 1, tzinfo=UTC) for number in (month, month + 1))
        rows = [
            {"id": str(number), "occurred_at": begins.isoformat(), "org_id": f'"{ORGS[number % len(ORGS)]}"'}
            for number in range(events)
        ]
        seals = folder / "seals.jsonl"
        seals.touch()
        copied = Spool(
            Month(f"audit.event_2025_0{month}", begins, ends, 0, events - 1, events), "", [],
            events=spooled(folder, "events", EVENT, rows),
            leaves=spooled(folder, "leaves", LEAVES),
            salts=spooled(folder, "salts", SALTS),
            erased=spooled(folder, "erased", ERASED),
            seals=seals,
            sealed=0,
        )  # fmt: skip
        write_month(copied, Folder(place), folder, jobs=1, events_a_part=10)
    return place


def written_columns(place):
    """The name of each column, and its type as the file has it."""
    file = next(place.glob("month=*/part=*/*.parquet"))
    with duckdb.connect() as engine:
        found = engine.execute(
            "select name, type, converted_type, precision, scale, logical_type from parquet_schema(?) where type is not null",
            [str(file)],
        ).fetchall()
    assert all("isAdjustedToUTC=1" in logical for *_, kind, _, _, logical in found if kind == "TIMESTAMP_MICROS")
    return [
        (name, (kind, converted, *([precision, scale] if converted == "DECIMAL" else [])))
        for name, kind, converted, precision, scale, _ in found
    ]


def defined_columns(definition):
    """Name and type of each column between the parentheses of a table's definition."""
    body = re.search(r"table \S+ \(\n(.*?)\n\)", definition, re.DOTALL)[1]
    return [tuple(line.strip().removesuffix(",").split(" ", 1)) for line in body.splitlines()]


@pytest.mark.parametrize("engine", ["Trino", "Athena"])
def test_a_table_of_another_engine_has_every_column_with_its_type(engine, place):
    (definition,) = (
        block for block in blocks(PAGE, "sql") if re.match(rf"-- in {engine}\ncreate (external )?table ", block)
    )
    columns = defined_columns(definition)
    if engine == "Athena":
        partitions = re.search(r"partitioned by \((.*)\)", definition)[1]
        columns += [tuple(column.split()) for column in partitions.split(", ")]
    else:
        assert "partitioned_by = array['month', 'part']" in definition
    written = written_columns(place)
    assert [name for name, _ in written] == [column.name for column in EVENT]
    assert columns == [(name, PARQUET_TYPES[kind][engine]) for name, kind in written] + PARTITIONS[engine]


def test_partitions_of_organizations_hold_all_their_events_and_no_others_are_named(place):
    table = f"read_parquet('{place}/month=*/part=*/*.parquet', hive_partitioning = true, hive_types_autocast = false)"
    with duckdb.connect() as engine:
        for orgs in ([org] for org in ORGS):
            condition = partitions_of(str(place), orgs)
            counts = [
                engine.execute(f"select count(*) from {table} where org_id = $org {more}", {"org": orgs[0]}).fetchone()
                for more in ("", f"and ({condition})")
            ]
            assert counts == [(44,), (44,)]
            assert condition.count("month = ") == 3
        everywhere = engine.execute(f"select count(distinct (month, part)) from {table}").fetchone()
        named = set(re.findall(r"\(.*?\)", partitions_of(str(place), ORGS)))
        assert everywhere == (len(named),)
        assert any("part = '0" in each for each in named)
    assert partitions_of(str(place), []) == "false"

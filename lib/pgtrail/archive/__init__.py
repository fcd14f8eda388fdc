"""Months of the log as Parquet files in a folder or an S3-compatible store, written and read by DuckDB.

::

    LOCATION/month=2026-01/_event_2026_01.manifest.json    written last: a month is there when this is
    LOCATION/month=2026-01/_event_2026_01.seals.jsonl      the seals over its events, an anchor as well
    LOCATION/month=2026-01/_event_2026_01.leaves.parquet   what each event was sealed as
    LOCATION/month=2026-01/_event_2026_01.salts.parquet    the salts of the commitments
    LOCATION/month=2026-01/_event_2026_01.erased.parquet   what erased parts were sealed as
    LOCATION/month=2026-01/part=07/event_2026_01.parquet   events of some of the organizations

Other programs can read the events as one table, partitioned by month and part: by convention they ignore files that
begin with an underscore.
"""

from pgtrail.queries import load

QUERIES = load("pgtrail.archive", "queries.sql")

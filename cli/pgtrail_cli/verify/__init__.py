"""What `pgtrail verify` runs: its own statements, on base tables, with functions of `pg_catalog` alone."""

from pgtrail_worker.queries import load

QUERIES = load("pgtrail_cli.verify")

"""What `pgtrail verify` runs: its own statements, on base tables, with functions of `pg_catalog` alone."""

from pgtrail_cli.sql_functions import inline
from pgtrail_worker.queries import load

QUERIES = {name: inline(query) for name, query in load("pgtrail_cli.verify").items()}

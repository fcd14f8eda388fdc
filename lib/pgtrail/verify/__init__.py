"""What `pgtrail verify` runs: its own statements, on base tables, with functions of `pg_catalog` alone."""

from pgtrail.queries import load
from pgtrail.sql_functions import inline

QUERIES = {name: inline(query) for name, query in load("pgtrail.verify").items()}

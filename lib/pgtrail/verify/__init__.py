"""`pgtrail verify`: its own statements, on base tables, calling only functions of `pg_catalog`."""

from pgtrail.queries import load
from pgtrail.sql_functions import inline

QUERIES = {name: inline(query) for name, query in load("pgtrail.verify").items()}

"""`pgtrail verify`: its own statements, on base tables, calling only functions of `pg_catalog`."""

from pgtrail.queries import load
from pgtrail.sql_functions import inline

_STATEMENTS = load("pgtrail.verify")
QUERIES = {name: inline(query.replace("{own_event}", _STATEMENTS["own_event"])) for name, query in _STATEMENTS.items()}

"""Taking pgtrail out of a database: what is there (`plan`), and how it goes (`steps`)."""

from pgtrail_worker.queries import load

QUERIES = load("pgtrail_cli.removal")

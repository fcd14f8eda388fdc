"""Taking pgtrail out of a database: what is there (`plan`), and how it goes (`steps`)."""

from pgtrail.queries import load

QUERIES = load("pgtrail.uninstall")

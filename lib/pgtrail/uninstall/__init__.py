"""Removes pgtrail from a database: what is installed (`plan`), and how it is removed (`steps`)."""

from pgtrail.queries import load

QUERIES = load("pgtrail.uninstall")

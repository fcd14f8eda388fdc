"""Whoever looks at the page."""

from dataclasses import dataclass

UTC = "UTC"


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks, and at what.

    :param org: the one organization that is shown; None: all that the database role may see.
    :param actor: who exports and changes destinations, for the log; None: the database role.
    :param ip: where the request comes from.
    :param zone: the name of a time zone.
    """

    org: str | None = None
    actor: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    zone: str = UTC

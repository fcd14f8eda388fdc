"""The Audit page: who did what, when, and what changed, in a browser. An ASGI app, to serve or to mount in another."""

from pgtrail_web.access import ALL_ORGANIZATIONS
from pgtrail_web.app import app

__all__ = ["ALL_ORGANIZATIONS", "app"]

"""The Audit page: who did it, what changed, and when, in a browser. An ASGI app of its own, or a part of another."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgtrail_web.access import ALL_ORGANIZATIONS
    from pgtrail_web.page import app

__all__ = ["ALL_ORGANIZATIONS", "app"]


def __getattr__(name: str) -> Any:
    # Whoever wants only its pure parts, as the command line does, does not wait for a web framework.
    if name == "app":
        from pgtrail_web.page import app

        return app
    if name == "ALL_ORGANIZATIONS":
        from pgtrail_web.access import ALL_ORGANIZATIONS

        return ALL_ORGANIZATIONS
    raise AttributeError(name)

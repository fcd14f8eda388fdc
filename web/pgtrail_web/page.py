"""What all requests share, and how a page is rendered."""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from pgtrail.details import behind
from pgtrail.text import printable
from pgtrail_web.access import Access
from pgtrail_web.database import Database
from pgtrail_web.errors import DatabaseUnavailable, NotSignedIn, PageError
from pgtrail_web.filters import Filters, node_label
from pgtrail_web.listener import Listener
from pgtrail_web.running_exports import RunningExports
from pgtrail_web.session import Sessions, Token, base_of
from pgtrail_web.viewer import Viewer

COLOURS = 12

Tester = Callable[[str], Awaitable[str]]
"""Sends a ping to the destination of a name and returns the response, in one line.

:raises PgtrailError: it was not accepted.
"""


def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("pgtrail_web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"shown": printable, "node": node_label}
    environment.globals |= {"empty": Filters(), "behind": behind}
    return environment


@dataclass
class Page:
    """What the handlers share.

    :param recent_actions: actions that can be filtered by, and until when (time.monotonic()) they count as recent.
    """

    database: Database
    access: Access
    sessions: Sessions
    token: Token | None = None
    tester: Tester | None = None
    exports: RunningExports = field(default_factory=RunningExports)
    recent_actions: tuple[float, list[str]] = (-math.inf, [])
    templates: Environment = field(default_factory=_templates)

    def __post_init__(self) -> None:
        self.listener = Listener(self.database.conninfo)

    async def close(self) -> None:
        """Close the connections; the next request opens others."""
        await self.listener.close()
        await self.database.close()

    def render(self, request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        session, viewer = request.state.session, getattr(request.state, "viewer", None)
        categories = values["frame"]["categories"] if "frame" in values else []
        text = self.templates.get_template(template).render(
            base=base_of(request),
            form_token=self.sessions.form_token(session, viewer) if session and viewer else "",
            can_sign_out=self.access.needs_session,
            colours={category["name"]: (1 + index) % COLOURS for index, category in enumerate(categories)},
            **values,
        )
        return HTMLResponse(text, status)

    def render_error(self, request: Request, error: PageError) -> Response:
        template = "sign_in.html" if isinstance(error, NotSignedIn) else "error.html"
        reloads = isinstance(error, DatabaseUnavailable)
        response = self.render(request, template, error.status, error=error, reloads=reloads)
        if reloads:
            response.headers["retry-after"] = "5"
        return response


Handler = Callable[[Page, Request, Viewer], Awaitable[Response]]

"""An administrator's browser: it keeps cookies, fills in forms as they stand, and sends JSON with the CSRF token."""

from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

import httpx


class Refused(Exception):
    """The application answered with an error, or showed the form again."""


class Browser:
    """One administrator's session.

    :param csrf_cookie: the name of the cookie whose value is sent with each JSON request.
    """

    def __init__(self, address: str, csrf_cookie: str = "csrftoken", **headers: str) -> None:
        self._csrf_cookie = csrf_cookie
        self.client = httpx.Client(base_url=address, follow_redirects=True, timeout=120, headers=headers)

    def get(self, path: str) -> httpx.Response:
        return _checked(self.client.get(path))

    def api(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """A JSON request; the JSON of the response."""
        token = self.client.cookies.get(self._csrf_cookie)
        csrf = {"X-CSRFToken": token, "Referer": str(self.client.base_url)} if token else {}
        response = _checked(self.client.request(method, path, json=body, headers=csrf | headers))
        return response.json() if response.content and "json" in response.headers["content-type"] else None

    def post(self, path: str, values: dict[str, Any], login: tuple[str, str]) -> httpx.Response:
        """A form that a program sends, with a name and a password."""
        return _checked(self.client.post(path, data=values, auth=login))

    def submit(
        self, path: str, values: dict[str, Any] | None = None, form_with: str = "", follow: bool = True
    ) -> httpx.Response:
        """Open a page, change some fields of its form and send it.

        :param values: None takes a field away.
        :param form_with: the form that has a field of this name; without it, the one with the most fields.
        """
        page = self.get(path)
        fields, action = _form(page.text, form_with or next(iter(values or {}), ""))
        fields |= values or {}
        sent = {name: value for name, value in fields.items() if value is not None}
        target = urljoin(str(page.url), action or "")
        response = _checked(
            self.client.post(target, data=sent, headers={"Referer": str(page.url)}, follow_redirects=follow)
        )
        if complaints := _complaints(response.text):
            raise Refused(f"{path}: {'; '.join(complaints)[:300]}")
        return response


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_error:
        raise Refused(
            f"{response.request.method} {response.request.url.path}: {response.status_code} {response.text[:300]}"
        )
    return response


class _Forms(HTMLParser):
    """The forms of a page: action, and the fields with what they hold."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[tuple[str | None, dict[str, Any]]] = []
        self.errors: list[str] = []
        self._select: str | None = None
        self._textarea: str | None = None
        self._error_depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if self._error_depth and tag not in {"br", "img", "input", "hr"}:
            self._error_depth += 1
        elif {"has-error", "alert-danger", "errornote", "errorlist"} & set((given.get("class") or "").split()):
            self._error_depth = 1
        if tag == "form":
            self.forms.append((given.get("action"), {}))
        if self.forms and "disabled" not in given:
            self._field(tag, given)

    def _field(self, tag: str, given: dict[str, str | None]) -> None:
        fields, name = self.forms[-1][1], given.get("name")
        if tag == "input" and name and (given.get("type") not in {"checkbox", "radio"} or "checked" in given):
            if given.get("type") not in {"submit", "button", "file", "image"}:
                _add(fields, name, given.get("value") or ("on" if given.get("type") == "checkbox" else ""))
        elif tag == "textarea" and name:
            self._textarea, fields[name] = name, ""
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select and "selected" in given:
            _add(fields, self._select, given.get("value") or "")

    def handle_endtag(self, tag: str) -> None:
        if self._error_depth:
            self._error_depth -= 1
        if tag == "select":
            self._select = None
        if tag == "textarea":
            self._textarea = None

    def handle_data(self, data: str) -> None:
        if self._textarea and self.forms:
            self.forms[-1][1][self._textarea] += data
        if self._error_depth and data.strip():
            self.errors.append(data.strip())


def _add(fields: dict[str, Any], name: str, value: str) -> None:
    fields[name] = (
        [*fields[name], value]
        if isinstance(fields.get(name), list)
        else ([fields[name], value] if name in fields else value)
    )


def _parsed(page: str) -> _Forms:
    forms = _Forms()
    forms.feed(page)
    return forms


def _form(page: str, form_with: str) -> tuple[dict[str, Any], str | None]:
    forms = [(fields, action) for action, fields in _parsed(page).forms]
    if not forms:
        raise Refused("the page has no form")
    having = [form for form in forms if form_with in form[0]]
    if form_with and not having:
        raise Refused(f"no form of the page has a field {form_with}")
    # Forms of the frame around the page name another address.
    own = [form for form in forms if not form[1]]
    return max(having or own or forms, key=lambda form: len(form[0]))


def _complaints(page: str) -> list[str]:
    return _parsed(page).errors

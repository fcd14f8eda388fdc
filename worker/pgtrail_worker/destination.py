"""What the worker has to know of a destination, as the database says it. Pure."""

from dataclasses import dataclass
from typing import Any

from pgtrail_worker.errors import Unusable
from pgtrail_worker.handout import Framing
from pgtrail_worker.verdict import Reads, Rules


class Secret(str):
    """A string that does not show itself in logs and tracebacks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(…)"


@dataclass(frozen=True, slots=True)
class TokenSource:
    """Where the token of a destination is; at most one of them, none: it has no token.

    :param stored: the token itself.
    :param env: an environment variable of the worker.
    :param file: a file in the worker's secrets folder.
    """

    stored: Secret | None = None
    env: str | None = None
    file: str | None = None

    def __bool__(self) -> bool:
        return bool(self.stored or self.env or self.file)


@dataclass(frozen=True, slots=True)
class OAuth:
    """Client credentials (RFC 6749, 4.4): the token is the client's secret; requests carry what it is changed for."""

    url: str
    client_id: str
    scope: str


@dataclass(frozen=True, slots=True)
class Destination:
    """A destination, or one replay to it, with its format.

    :param cursor_id: what is served.
    :param replay_id: None: it follows the log.
    :param headers: by name; ``{token}`` and ``{channel}`` stand for what follows.
    :param channel: a UUID of its own.
    :param signing_secrets: each signs; none: requests are not signed.
    """

    cursor_id: int
    name: str
    replay_id: int | None
    url: str
    content_type: str
    headers: tuple[tuple[str, str], ...]
    channel: str
    framing: Framing
    max_events: int
    max_bytes: int
    max_in_flight: int
    gzip: bool
    rules: Rules
    signing_secrets: tuple[Secret, ...]
    token: TokenSource
    oauth: OAuth | None
    allowed_networks: tuple[str, ...]
    ca_file: str | None
    client_cert_file: str | None


@dataclass(frozen=True, slots=True)
class Found:
    """A destination, or a replay to it, as the database lists it.

    :param broken: why no worker could serve it, as far as the database was told.
    :param destination: None: it can't be loaded, which ``error`` explains.
    """

    cursor_id: int
    name: str
    broken: str | None
    destination: Destination | None
    error: str | None = None


def find(row: dict[str, Any]) -> Found:
    """A row of the query ``destinations``, whatever is in it."""
    destination, error = None, None
    try:
        destination = from_row(row)
    except Unusable as unusable:
        error = str(unusable)
    return Found(row["cursor_id"], row["name"], row["broken"], destination, error)


def from_row(row: dict[str, Any]) -> Destination:
    """The destination of a row of the query ``destinations``.

    :raises Unusable: its settings can't be used; without anything that might be a secret.
    """
    try:
        made = _from_row(row)
        # (A list where there should be a text would only fail where destinations are compared.)
        hash(made)
        return made
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise Unusable(f"its settings can't be used ({type(error).__name__})") from error


def _from_row(row: dict[str, Any]) -> Destination:
    for name in ("allowed_networks", "signing_secrets"):
        if not all(isinstance(each, str) for each in row[name]):
            raise Unusable(f"its {name} hold something else than texts")
    if not all(isinstance(text, str) for text in row["headers"].values()):
        raise Unusable("the headers of its format hold something else than texts")
    return Destination(
        cursor_id=row["cursor_id"],
        name=row["name"],
        replay_id=row["replay_id"],
        url=row["url"],
        content_type=row["content_type"],
        headers=tuple(sorted(row["headers"].items())),
        channel=row["channel"],
        framing=Framing(row["prefix"].encode(), row["separator"].encode(), row["suffix"].encode()),
        max_events=row["max_events"],
        max_bytes=row["max_bytes"],
        max_in_flight=row["max_in_flight"],
        gzip=row["gzip"],
        rules=Rules(
            Reads(row["reads"]),
            *(
                frozenset(row[name])
                for name in (
                    "success_statuses",
                    "poison_statuses",
                    "configuration_statuses",
                    "poison_codes",
                    "configuration_codes",
                    "success_codes",
                )
            ),
        ),
        signing_secrets=tuple(Secret(secret) for secret in row["signing_secrets"]),
        token=TokenSource(Secret(row["token"]) if row["token"] else None, row["token_env"], row["token_file"]),
        oauth=OAuth(row["oauth_url"], row["oauth_client_id"], row["oauth_scope"]) if row["oauth_url"] else None,
        allowed_networks=tuple(row["allowed_networks"]),
        ca_file=row["ca_file"],
        client_cert_file=row["client_cert_file"],
    )

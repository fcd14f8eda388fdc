"""What the worker knows of a destination, as the database lists it. Pure."""

from dataclasses import dataclass, fields
from typing import Any, Self

from pgtrail_worker.batch import Framing
from pgtrail_worker.errors import InvalidDestination
from pgtrail_worker.verdict import Reads, ResponseRules


class Secret(str):
    """A string that does not show itself in logs and tracebacks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(…)"


@dataclass(frozen=True, slots=True)
class TokenSource:
    """Where the token of a destination is stored: in one of these places, or None in all: it has no token.

    :param stored: the token itself.
    :param env: an environment variable of the worker.
    :param file: a file in the worker's secrets folder.
    """

    stored: Secret | None = None
    env: str | None = None
    file: str | None = None


@dataclass(frozen=True, slots=True)
class OAuth:
    """Client credentials (RFC 6749, 4.4): the destination's token is the client's secret."""

    url: str
    client_id: str
    scope: str


@dataclass(frozen=True, slots=True)
class Destination:
    """A destination, or one replay to it, with its format.

    :param replay_id: None: it follows the log.
    :param headers: by name; ``{token}`` and ``{channel}`` in them are replaced.
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
    rules: ResponseRules
    signing_secrets: tuple[Secret, ...]
    token: TokenSource
    oauth: OAuth | None
    allowed_networks: tuple[str, ...]
    ca_file: str | None
    client_cert_file: str | None

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Self:
        """The destination of a row of the query ``destinations``.

        :raises InvalidDestination: its settings can't be used; the message quotes nothing that might be a secret.
        """
        try:
            destination = cls._from_row(row)
            # (A list in place of a text would fail only where destinations are compared.)
            hash(destination)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise InvalidDestination(f"its settings can't be used ({type(error).__name__})") from error
        return destination

    @classmethod
    def _from_row(cls, row: dict[str, Any]) -> Self:
        for name, texts in {
            "its allowed_networks hold": row["allowed_networks"],
            "its signing_secrets hold": row["signing_secrets"],
            "the headers of its format hold": row["headers"].values(),
        }.items():
            if not all(isinstance(text, str) for text in texts):
                raise InvalidDestination(f"{name} something else than texts")
        sets = {each.name: frozenset(row[each.name]) for each in fields(ResponseRules) if each.name != "reads"}
        converted = {
            "headers": tuple(sorted(row["headers"].items())),
            "framing": Framing(row["prefix"].encode(), row["separator"].encode(), row["suffix"].encode()),
            "rules": ResponseRules(Reads(row["reads"]), **sets),
            "signing_secrets": tuple(Secret(secret) for secret in row["signing_secrets"]),
            "token": TokenSource(Secret(row["token"]) if row["token"] else None, row["token_env"], row["token_file"]),
            "oauth": OAuth(row["oauth_url"], row["oauth_client_id"], row["oauth_scope"]) if row["oauth_url"] else None,
            "allowed_networks": tuple(row["allowed_networks"]),
        }
        return cls(**{each.name: row[each.name] for each in fields(cls) if each.name not in converted} | converted)


@dataclass(frozen=True, slots=True)
class ListedDestination:
    """A destination, or a replay to it, as the database lists it.

    :param broken: why no worker could serve it, as last reported to the database.
    :param destination: None: it can't be loaded, for the reason in ``error``.
    """

    cursor_id: int
    name: str
    broken: str | None
    destination: Destination | None
    error: str | None = None

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Self:
        """A row of the query ``destinations``, whatever is in it."""
        try:
            destination, error = Destination.from_row(row), None
        except InvalidDestination as invalid:
            destination, error = None, str(invalid)
        return cls(row["cursor_id"], row["name"], row["broken"], destination, error)

"""Which hosts a secret may be sent to, as listed beside it by the worker's operator. Pure.

One entry a line (or between commas): ``siem.example``, ``siem.example:8088``, ``*.example`` (below it, at any depth),
``[2001:db8::1]:8088``. Without a port it matches all ports. Names are written as in DNS (``xn--…``).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Host:
    """A host and port that a request goes to; an IPv6 address without brackets."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]" if ":" in self.name else self.name


def is_listed(host: Host, entries: str) -> bool:
    """Whether one of the entries matches the host. ``#`` begins a comment."""
    lines = (line.partition("#")[0] for line in entries.splitlines())
    return any(_matches(entry, host) for line in lines for entry in line.replace(",", " ").split())


def _matches(entry: str, host: Host) -> bool:
    name, port = _split(entry.lower())
    if port not in ("", str(host.port)):
        return False
    wanted = host.name.lower().removesuffix(".")
    if name.startswith("*."):
        # (The star stands for at least one label.)
        return len(name) > 2 and wanted.endswith(name[1:]) and len(wanted) > len(name) - 1
    return bool(name) and wanted == name


def _split(entry: str) -> tuple[str, str]:
    if entry.startswith("["):
        name, closed, rest = entry[1:].partition("]")
        return (name, rest.removeprefix(":")) if closed else ("", "")
    if entry.count(":") > 1:
        return entry, ""
    name, _, port = entry.partition(":")
    return name.removesuffix("."), port

"""Which addresses a request may go to. Pure.

The special networks are those of the IANA registries, as of November 2026:
https://www.iana.org/assignments/iana-ipv4-special-registry and …/iana-ipv6-special-registry.
They are listed here because ``ipaddress`` knows different ones in each patch release of Python.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

SPECIAL: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("an unspecified address", ("0.0.0.0/8", "::/128")),
    ("a loopback address", ("127.0.0.0/8", "::1/128")),
    ("a link-local address (where clouds keep their metadata)", ("169.254.0.0/16", "fe80::/10")),
    ("a private address", ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10")),
    ("a shared address (carrier-grade NAT)", ("100.64.0.0/10",)),
    ("a multicast address", ("224.0.0.0/4", "ff00::/8")),
    # 6to4 is deprecated (RFC 7526); Teredo is in 2001::/23.
    ("an address of a tunnel (6to4)", ("2002::/16",)),
    (
        "a reserved address",
        (
            "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.175.48.0/24",
            "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
            "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23", "2001:db8::/32", "2620:4f:8000::/48",
            "3fff::/20", "5f00::/16",
        ),
    ),
)  # fmt: skip
NETWORKS: tuple[tuple[str, Network], ...] = tuple(
    (kind, ip_network(network)) for kind, networks in SPECIAL for network in networks
)
GLOBAL_V6 = IPv6Network("2000::/3")
"""All that is allocated for global unicast."""

REACHED_AS_IPV4 = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
"""Mapped and NAT64: the IPv4 address alone decides."""

EMBEDDING = (
    # Networks whose addresses contain an IPv4 address, and the number of bits after it.
    (IPv6Network("::ffff:0:0/96"), 0),
    (IPv6Network("::ffff:0:0:0/96"), 0),
    (IPv6Network("::/96"), 0),
    (IPv6Network("64:ff9b::/96"), 0),
    (IPv6Network("2002::/16"), 80),
)


def why_forbidden(address: str, allowed: Iterable[Network] = ()) -> str | None:
    """Why an address may not be connected to; None: it may.

    :param address: as a resolver returns it; what is not an address is forbidden too.
    :param allowed: networks that an operator allowed.
    """
    if "%" in address:
        return f"{address} belongs to one link"
    try:
        parsed = ip_address(address)
    except ValueError:
        return f"{address} is not an address"
    inner = embedded(parsed)
    if any(_within(each, network) for network in allowed for each in (parsed, inner) if each):
        return None
    kind = special(parsed)
    return f"{address} is {kind}" if kind else None


def special(address: Address) -> str | None:
    """What kind of special address it is, or the IPv4 address in it; None: it is public."""
    for inner in (embedded(address), isatap(address)):
        if inner is not None and (kind := special(inner)):
            return kind
    if any(_within(address, network) for network in REACHED_AS_IPV4):
        return None
    for kind, network in NETWORKS:
        if _within(address, network):
            return kind
    if isinstance(address, IPv6Address) and address not in GLOBAL_V6:
        return "a reserved address"
    return None


def embedded(address: Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address represents: mapped, translated, compatible, NAT64 or 6to4."""
    # :: and ::1 are not IPv4-compatible addresses.
    if isinstance(address, IPv6Address) and int(address) > 1:
        for network, below in EMBEDDING:
            if address in network:
                return IPv4Address(int(address) >> below & 0xFFFFFFFF)
    return None


def isatap(address: Address) -> IPv4Address | None:
    """The IPv4 address to which a tunnel inside a site would carry it, below any prefix (RFC 5214, 6.1)."""
    # The bit left out tells whether the IPv4 address is unique.
    if isinstance(address, IPv6Address) and int(address) >> 32 & 0xFDFFFFFF == 0x00005EFE:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _within(address: Address, network: Network) -> bool:
    return address.version == network.version and address in network

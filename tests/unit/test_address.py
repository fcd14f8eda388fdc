"""Which addresses a request may go to."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtrail_worker.address import REACHED_AS_IPV4, SPECIAL, why_forbidden

# How long an example takes says how busy the machine is, and nothing of the address.
UNTIMED = settings(deadline=None)

# Written out once more, so that a line that gets lost there is missed here.
SPECIAL_V4 = [
    ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
    )
]  # fmt: skip
SPECIAL_V6 = [
    ip_network(text)
    for text in (
        "::/127", "::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/32", "2001::/23",
        "2001:db8::/32", "2002::/16", "3fff::/20", "4000::/3", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    )
]  # fmt: skip
REACHED = {
    "itself": lambda address: str(address),
    "mapped": lambda address: f"::ffff:{address}",
    "NAT64": lambda address: f"64:ff9b::{address}",
}
GIVEN_UP = {
    "translated": lambda address: f"::ffff:0:{address}",
    "compatible": lambda address: str(IPv6Address(int(address))),
    "6to4": lambda address: str(IPv6Address((0x2002 << 112) | (int(address) << 80) | 1)),
}
INSIDE = {
    "ISATAP": lambda address: str(IPv6Address((0x2606_4700 << 96) | (0x5EFE << 32) | int(address))),
    "ISATAP, unique": lambda address: str(IPv6Address((0x2606_4700 << 96) | (0x0200_5EFE << 32) | int(address))),
    "Teredo": lambda address: str(IPv6Address((0x2001_0000 << 96) | (0x08080808 << 64) | int(address) ^ 0xFFFFFFFF)),
    "NAT64 of a site": lambda address: f"64:ff9b:1::{address}",
}


def members(network):
    made = IPv4Address if network.version == 4 else IPv6Address
    return st.integers(int(network.network_address), int(network.broadcast_address)).map(made)


@pytest.mark.parametrize(
    "form", [*REACHED.values(), *GIVEN_UP.values(), *INSIDE.values()], ids=[*REACHED, *GIVEN_UP, *INSIDE]
)
@pytest.mark.parametrize("network", SPECIAL_V4, ids=str)
@settings(UNTIMED, max_examples=10)
@given(data=st.data())
def test_no_special_address_passes_in_any_form(network, form, data):
    assert why_forbidden(form(data.draw(members(network)))) is not None


@pytest.mark.parametrize("network", SPECIAL_V6, ids=str)
@settings(UNTIMED, max_examples=20)
@given(data=st.data())
def test_no_special_address_of_ipv6_passes(network, data):
    assert why_forbidden(str(data.draw(members(network)))) is not None


@settings(UNTIMED)
@given(data=st.data())
def test_no_address_of_a_network_that_is_called_special_passes(data):
    network = ip_network(data.draw(st.sampled_from([each for _, networks in SPECIAL for each in networks])))
    assert why_forbidden(str(data.draw(members(network)))) is not None


@settings(UNTIMED)
@given(st.ip_addresses())
def test_nothing_passes_that_python_knows_is_not_global(address):
    if any(address.version == 6 and address in network for network in REACHED_AS_IPV4):
        # Python judges the form, where the address inside is what is reached.
        return
    if not address.is_global or address.is_multicast:
        assert why_forbidden(str(address)) is not None


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8", "1.1.1.1", "93.184.215.14", "2606:4700::1111", "2a00:1450:4001::1", "2001:4860:4860::8888",
        # Beside the special networks.
        "1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
        "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0",
        "198.17.255.255", "198.20.0.0", "223.255.255.255", "2001:200::", "2001:db7:ffff::1", "2001:db9::", "2003::",
    ],
)  # fmt: skip
def test_public_addresses_pass(address):
    assert why_forbidden(address) is None


def test_a_public_address_passes_in_the_forms_that_are_reached_as_itself_and_in_no_form_that_was_given_up():
    public = IPv4Address("8.8.8.8")
    assert [name for name, form in (REACHED | GIVEN_UP).items() if why_forbidden(form(public)) is None] == [*REACHED]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1", "127.0.0.1 is a loopback address"), ("10.0.0.7", "10.0.0.7 is a private address"),
        ("169.254.169.254", "a link-local address"), ("fd00:ec2::254", "a private address"), ("::1", "a loopback address"),
        ("100.100.100.200", "a shared address"), ("::", "an unspecified address"), ("fec0::1", "a private address"),
        ("ff02::1", "a multicast address"), ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "a reserved address"),
        ("64:ff9b:1::a00:1", "a reserved address"), ("4000::1", "a reserved address"), ("fe80::1%eth0", "belongs to one link"),
        ("255.255.255.255", "a reserved address"), ("::127.0.0.1", "a loopback address"), ("2002:808:808::1", "a tunnel"),
        ("2606:4700::5efe:10.0.0.1", "a private address"), ("here", "here is not an address"), ("", "not an address"),
        ("127.1", "not an address"), ("0177.0.0.1", "not an address"), ("10.0.0.0/8", "not an address"),
    ],
)  # fmt: skip
def test_it_says_what_is_wrong_with_an_address(address, reason):
    assert reason in (why_forbidden(address) or "")


def test_a_network_that_an_operator_allowed_passes_in_every_form_and_nothing_beside_it():
    allowed = [ip_network("10.1.0.0/16")]
    for form in (REACHED | GIVEN_UP).values():
        assert why_forbidden(form(ip_address("10.1.2.3")), allowed) is None
        assert why_forbidden(form(ip_address("10.2.2.3")), allowed) is not None


@pytest.mark.parametrize("form", INSIDE.values(), ids=INSIDE)
def test_what_a_tunnel_would_carry_to_an_allowed_network_is_not_thereby_allowed(form):
    # Of an ISATAP address the prefix decides too; this one's is link-local.
    address = form(ip_address("10.1.2.3")).replace("2606:4700::", "fe80::")
    assert why_forbidden(address, [ip_network("10.0.0.0/8")]) is not None


def test_a_network_of_ipv6_can_be_allowed_too():
    assert why_forbidden("fd12::1", [ip_network("fd12::/16")]) is None
    assert why_forbidden("fe80::1%eth0", [ip_network("fe80::/10")]) is not None

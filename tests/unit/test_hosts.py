import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrail_worker.hosts import Host, is_listed
from pgtrail_worker.http import host_of

SIEM = Host("siem.example", 443)
# (One dot at the end is the root's; two in a row would be an empty label, which no host has.)
NAMES = st.text(string.ascii_lowercase + string.digits + "-.", min_size=1, max_size=20).filter(
    lambda name: ".." not in name
)


@pytest.mark.parametrize(
    "entries",
    ["siem.example", "SIEM.example\n", "siem.example.", "siem.example:443", "other.example, siem.example",
     "# ours\nsiem.example # 2026", "*.example", "other.example\r\nsiem.example\r\n"],
)  # fmt: skip
def test_what_names_a_host(entries):
    assert is_listed(SIEM, entries)


@pytest.mark.parametrize(
    "entries",
    ["", "#siem.example", "example", "iem.example", "siem.example:8088", "siem.example.evil.example", "*.siem.example",
     "*", "*.", "**.example", "s*.example", "siem.example/", "https://siem.example", ":443", ":", "[siem.example",
     "xsiem.example"],
)  # fmt: skip
def test_what_does_not_name_it(entries):
    assert not is_listed(SIEM, entries)


def test_a_star_stands_for_what_is_below_and_not_for_the_domain_itself():
    assert is_listed(Host("a.b.example.com", 443), "*.example.com")
    assert not is_listed(Host("example.com", 443), "*.example.com")
    assert not is_listed(Host("evilexample.com", 443), "*.example.com")
    assert not is_listed(Host(".example.com", 443), "*.example.com")


def test_addresses_of_ipv6():
    there = Host("2001:db8::1", 8088)
    for entry in ("2001:db8::1", "[2001:db8::1]", "[2001:DB8::1]:8088"):
        assert is_listed(there, entry)
    for entry in ("[2001:db8::1]:443", "2001:db8::2", "[2001:db8::1", "[]:8088"):
        assert not is_listed(there, entry)
    assert str(there) == "[2001:db8::1]"


@given(st.text(max_size=50), NAMES)
def test_a_host_that_is_written_nowhere_is_never_named(entries, name):
    if name.strip(".") and name.removesuffix(".") not in entries.lower() and "*" not in entries:
        assert not is_listed(Host(name, 443), entries)


@given(NAMES, st.integers(1, 65535))
def test_a_host_that_is_written_is_named(name, port):
    wanted = name.removesuffix(".")
    if wanted:
        assert is_listed(Host(name, port), f"{wanted}:{port}")
        assert not is_listed(Host(name, port % 65535 + 1), f"{wanted}:{port}")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://siem.example/x", SIEM),
        ("https://SIEM.example:8443", Host("siem.example", 8443)),
        ("http://[::1]:80/", Host("::1", 80)),
        ("https://bücher.example/", Host("xn--bcher-kva.example", 443)),
        ("https://evil.example#@siem.example/", Host("evil.example", 443)),
        ("https://evil.example?@siem.example/", Host("evil.example", 443)),
        ("ftp://siem.example/", None),
        ("", None),
        ("https://", None),
        ("https://siem.example:x/", None),
    ],
)
def test_where_a_url_leads_is_read_as_it_is_when_it_is_sent(url, host):
    assert host_of(url) == host

"""Where tenants may have us connect to."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.egress import vetting
from shared.egress.rules import RefusedError, Rules, Target, UrlError, is_public, networks, target_of
from shared.egress.vetting import Vetting

STRICT = Rules()


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",  # noqa: S104
        "169.254.169.254", "100.64.0.1", "100.100.100.200", "192.0.0.192", "192.0.0.9", "192.88.99.1", "168.63.129.16",
        "198.18.0.1", "203.0.113.5", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::808:808",
        "64:ff9b:1::1", "2002:7f00:1::", "2002:808:808::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:db8::1", "3fff::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "100::1",
        "2600::5efe:7f00:1", "2600::200:5efe:a00:1", "5f00::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public_unicast_are_refused(address: str) -> None:
    assert not is_public(ip_address(address))
    assert STRICT.refuses(Target("https", "example.org", 443), ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700::1111", "2a00:1450:4001::1"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_public(ip_address(address))


@given(st.ip_addresses())
def test_no_public_address_is_private_or_carries_another(address: IPv4Address | IPv6Address) -> None:
    if not is_public(address):
        return
    assert address.is_global
    flags = ("is_private", "is_loopback", "is_link_local", "is_multicast", "is_reserved", "is_unspecified")
    assert [flag for flag in flags if getattr(address, flag)] == []
    if isinstance(address, IPv6Address):
        assert address.ipv4_mapped is None
        assert address.sixtofour is None
        assert address.teredo is None


@given(st.ip_addresses(v=4))
def test_no_form_of_ipv6_around_an_ipv4_address_is_public(inner: IPv4Address) -> None:
    number = int(inner)
    forms = [
        IPv6Address(number),
        IPv6Address(0xFFFF_0000_0000 | number),
        IPv6Address((0x64FF9B << 96) | number),
        IPv6Address((0x2002 << 112) | (number << 80)),
        IPv6Address((0x20010000 << 96) | (number ^ 0xFFFFFFFF)),
        IPv6Address((0x2600 << 112) | (0x5EFE << 32) | number),
    ]
    assert not any(is_public(form) for form in forms)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("ftp://example.org/", "https"),
        ("https://", "host"),
        ("https://user:pw@example.org/", "user"),
        ("https://example.org/#part", "fragment"),
        ("https://example.org/a b", "blanks"),
        ("https://example.org\\@evil.org/", "backslashes"),
        ("https://example.org/\r\nX: y", "control"),
        ("https://2130706433/", "neither"),
        ("https://0x7f000001/", "neither"),
        ("https://0x7f.1/", "neither"),
        ("https://017700000001/", "neither"),
        ("https://127.1/", "neither"),
        ("https://127.0.0.01/", "neither"),
        ("https://[::1/", "address"),
        ("https://[::zz]/", "address"),
        ("https://exa mple.org/", "blanks"),
        ("https://-x.org/", "no name"),
        ("https://example.org。/", "no name"),
        ("https://example.org:99999/", "address"),
        ("https://example.org:0/", "host"),
        ("https://" + "a" * 2050 + ".org/", "longer"),
    ],
)
def test_an_address_that_could_be_read_in_two_ways_is_refused(url: str, complaint: str) -> None:
    with pytest.raises(UrlError, match=complaint):
        target_of(url)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://example.org/hook?x=1", Target("https", "example.org", 443)),
        ("https://EXAMPLE.org.:8443/", Target("https", "example.org", 8443)),
        ("http://bücher.example/", Target("http", "xn--bcher-kva.example", 80)),
        ("https://[2606:4700:0::1111]/", Target("https", "2606:4700::1111", 443)),
        ("https://8.8.8.8/", Target("https", "8.8.8.8", 443)),
    ],
)
def test_whom_an_address_calls(url: str, target: Target) -> None:
    assert target_of(url) == target


@pytest.mark.parametrize("port", [22, 25, 80, 6379, 9200])
def test_other_ports_are_not_called(port: int) -> None:
    assert STRICT.refuses(Target("https", "example.org", port), ip_address("8.8.8.8"))


def test_plain_http_only_where_the_operator_says_so() -> None:
    target = Target("http", "example.org", 80)
    assert STRICT.refuses(target, ip_address("8.8.8.8")) == "https is needed"
    assert Rules(plain_http=True).refuses(target, ip_address("8.8.8.8")) is None


def test_an_opened_network_may_be_called_on_any_port_without_tls_and_nothing_else_becomes_open() -> None:
    rules = Rules(opened=networks("127.0.0.0/8, fd00::/8"))
    assert rules.refuses(Target("http", "127.0.0.1", 9999), ip_address("127.0.0.1")) is None
    assert rules.refuses(Target("https", "10.0.0.1", 443), ip_address("10.0.0.1"))
    assert rules.refuses(Target("https", "x.example", 443), ip_address("::ffff:127.0.0.1"))


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1/", "https://localhost/", "https://db.internal/", "https://printer/"]
)
def test_what_no_look_up_could_make_acceptable_is_refused_when_it_is_given(url: str) -> None:
    assert STRICT.never(target_of(url))


def test_a_public_name_is_accepted_until_it_is_looked_up() -> None:
    assert STRICT.never(target_of("https://hooks.example.org/")) is None


class Resolver:
    """A name server whose answers change."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


NAME = Target("https", "hooks.example.org", 443)


async def test_a_name_that_changes_to_a_private_address_is_refused_at_the_next_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vetting, "HELD_SECONDS", 0.0)
    vet = Vetting(STRICT, Resolver(["8.8.8.8"], ["127.0.0.1"]))
    assert await vet.addresses(NAME) == ("8.8.8.8",)
    with pytest.raises(RefusedError):
        await vet.addresses(NAME)


async def test_a_name_that_is_public_and_private_at_once_is_refused() -> None:
    with pytest.raises(RefusedError):
        await Vetting(STRICT, Resolver(["8.8.8.8", "10.0.0.1"])).addresses(NAME)


async def test_a_burst_to_one_name_is_one_look_up() -> None:
    resolver = Resolver(["8.8.8.8"])
    vet = Vetting(STRICT, resolver)
    for _ in range(100):
        await vet.addresses(NAME)
    assert resolver.asked == 1


async def test_a_refusal_is_never_held() -> None:
    vet = Vetting(STRICT, Resolver(["127.0.0.1"], ["8.8.8.8"]))
    with pytest.raises(RefusedError):
        await vet.addresses(NAME)
    assert await vet.addresses(NAME) == ("8.8.8.8",)


@given(st.lists(st.ip_addresses().map(str), min_size=1, max_size=5))
async def test_whatever_a_name_server_answers_no_vetted_address_is_private(found: list[str]) -> None:
    try:
        vetted = await Vetting(STRICT, Resolver(found)).addresses(NAME)
    except RefusedError:
        return
    assert all(is_public(ip_address(text)) for text in vetted)

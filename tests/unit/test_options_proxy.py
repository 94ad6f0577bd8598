"""The option ``proxy``: what its URL may hold, and what is refused before anybody is connected to."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest

from mailpool import ConfigurationError, Options, Proxy, TLSOptions
from mailpool.options import parse_options
from mailpool.pool.key import ConnectionKey

SECRET = "hush-hush"


def refused(value: Any, **options: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        Options(proxy=value, **options)
    assert caught.value.option == "proxy"
    assert SECRET not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://proxy.example", ("http", "proxy.example", 80, None, None)),
        ("https://proxy.example/", ("https", "proxy.example", 443, None, None)),
        ("HTTP://me:a%3Ab%40c@10.0.0.1:3128", ("http", "10.0.0.1", 3128, "me", "a:b@c")),
        ("http://me@proxy.example:8080", ("http", "proxy.example", 8080, "me", None)),
        ("http://j%C3%B6rg:%C3%A9@proxy.example:8080", ("http", "proxy.example", 8080, "jörg", "é")),
        ("socks4://proxy.example", ("socks4", "proxy.example", 1080, None, None)),
        ("socks4a://me@proxy.example:9", ("socks4a", "proxy.example", 9, "me", None)),
        ("socks5://me:you@[2001:db8::1]:1080", ("socks5", "2001:db8::1", 1080, "me", "you")),
        ("socks5h://bücher.example", ("socks5h", "xn--bcher-kva.example", 1080, None, None)),
    ],
)
def test_a_url_is_taken_apart(url: str, parts: tuple[Any, ...]) -> None:
    proxy = Options(proxy=url).proxy
    assert proxy is not None
    assert (proxy.scheme, proxy.host, proxy.port, proxy.user, proxy.password) == parts
    assert proxy.resolves == (proxy.scheme in ("http", "https", "socks4a", "socks5h"))
    # What was taken apart is taken apart again to the same.
    assert dataclasses.replace(proxy) == proxy == pickle.loads(pickle.dumps(proxy))
    assert hash(dataclasses.replace(proxy)) == hash(proxy)


def test_the_login_can_be_given_apart_from_the_url() -> None:
    apart = Proxy("http://proxy.example:8080", user="me", password="a:b/c@d%")
    assert apart == Proxy("http://me:a%3Ab%2Fc%40d%25@proxy.example:8080")
    assert (
        Options(proxy={"url": "http://proxy.example:8080", "user": "me", "password": "a:b/c@d%"}).proxy
        == apart
    )
    assert "twice" in refused({"url": f"http://me:{SECRET}@proxy.example", "user": "me"})


def test_how_an_https_proxy_is_verified() -> None:
    assert Proxy("https://proxy.example").tls == TLSOptions()
    tls = {"ca_file": "/etc/proxy.pem"}
    assert Proxy("https://proxy.example", tls=tls).tls == TLSOptions(ca_file="/etc/proxy.pem")
    assert "https" in refused({"url": "http://proxy.example", "tls": tls})


def test_no_secret_is_shown() -> None:
    options = Options(proxy=f"socks5://me:{SECRET}@proxy.example")
    assert options.proxy is not None
    assert options.proxy.password == SECRET
    for shown in (
        repr(options),
        repr(options.proxy),
        str(options.proxy),
        options.proxy.url,
        options.redacted_url(),
    ):
        assert SECRET not in shown


def test_in_a_url() -> None:
    options = parse_options(
        "smtp://mail.example.org/?proxy=socks5h%3A%2F%2Fme%3Aa%2526b%40proxy.example%3A1080"
    )
    assert options.proxy == Proxy("socks5h://proxy.example:1080", user="me", password="a&b")


@pytest.mark.rule("INJ-17")
@pytest.mark.parametrize(
    "bad", ["\r\n", "\r", "\n", "\0", "%0d%0a", "%0D", "%0a", "%00", "%7f", "\x85", "\ud800"]
)
@pytest.mark.parametrize("where", ["user", "password", "host", "port", "end"])
@pytest.mark.parametrize("scheme", ["http", "https", "socks4a", "socks5"])
def test_inj17_control_characters_anywhere(scheme: str, where: str, bad: str) -> None:
    parts = {"user": "me", "password": SECRET, "host": "proxy.example", "port": "8080", "end": ""}
    parts[where] += bad + ("1" if where == "port" else "x")
    refused(f"{scheme}://{parts['user']}:{parts['password']}@{parts['host']}:{parts['port']}{parts['end']}")


@pytest.mark.rule("INJ-17")
@pytest.mark.parametrize("bad", ["a\r\nProxy-Authorization: x", "a\nb", "a\0b", "a\x7fb", "", "\ud800"])
@pytest.mark.parametrize("where", ["user", "password"])
def test_inj17_control_characters_in_a_login_given_apart(where: str, bad: str) -> None:
    login = {"user": "me", "password": SECRET, where: bad}
    refused({"url": "http://proxy.example", **login})


@pytest.mark.rule("INJ-17")
@pytest.mark.parametrize(
    "url",
    [
        f"http://me:{SECRET}:x@proxy.example",  # which colon ends the user?
        f"http://me%3Ax:{SECRET}@proxy.example",  # the user of Basic ends at its first colon (RFC 7617 §2)
        f"http://me@x:{SECRET}@proxy.example",
        f"http://{SECRET}@@proxy.example",
        f"http://me:{SECRET}@proxy.example:80:90",
        f"http://me:{SECRET}@proxy.example:0",
        f"http://me:{SECRET}@proxy.example:65536",
        f"http://me:{SECRET}@proxy.example:8o",
        f"http://me:{SECRET}@proxy.example:-1",
        f"http://me:{SECRET}@::1:8080",
        f"http://me:{SECRET}@[proxy.example]:8080",
        f"http://me:{SECRET}@[::1",
        f"http://me:{SECRET}@-.example",
        f"http://me:{SECRET}@proxy%2Eexample",
        f"http://me:{SECRET}@",
        f"http://me:{SECRET}@proxy.example/path",
        f"http://me:{SECRET}@proxy.example?x=y",
        f"http://me:{SECRET}@proxy.example#x",
        f"http://me:{SECRET}@proxy.example\\x",
        f"http://:{SECRET}@proxy.example",
        f"http://me:{SECRET}%@proxy.example",
        f"http://me:{SECRET}%ff@proxy.example",
        f"http://me: {SECRET}@proxy.example",
        f"ftp://me:{SECRET}@proxy.example",
        f"socks://me:{SECRET}@proxy.example",
        f"me:{SECRET}@proxy.example:8080",
        "http://",
        "proxy.example",
        "",
        7,
        ["http://proxy.example"],
        {"user": "me"},
        {"url": "http://proxy.example", "hots": 1},
        {"url": None},
    ],
)  # fmt: skip
def test_inj17_what_is_no_url_of_a_proxy(url: Any) -> None:
    refused(url)


@pytest.mark.rule("INJ-17")
@pytest.mark.parametrize("host", ["a\r\nb", "a\0", "relay.example:25", "me@relay.example", "a b", "a/b", ""])
def test_inj17_the_server_that_the_proxy_is_told(host: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Options(host=host, proxy="http://proxy.example")
    assert caught.value.option == "host"


@pytest.mark.rule("INJ-19")
@pytest.mark.parametrize(
    "url",
    [
        "socks4://me%00you@proxy.example",
        "socks4a://m%C3%A9@proxy.example",
        f"socks4://{'u' * 256}@proxy.example",
        f"socks4://me:{SECRET}@proxy.example",  # no place for a password
        f"socks5://{'u' * 256}:{SECRET}@proxy.example",
        f"socks5h://me:{SECRET * 29}@proxy.example",
        "socks5://m%C3%A9:x@proxy.example",
        "socks5://me:x%00@proxy.example",
        "socks5://me@proxy.example",  # would be silently anonymous
        f"socks5://{'p' * 256}.example",
    ],
)
def test_inj19_what_socks_has_no_room_for(url: str) -> None:
    refused(url)


@pytest.mark.rule("INJ-19")
def test_inj19_what_just_fits() -> None:
    proxy = Proxy(f"socks5://{'u' * 255}:{'p' * 255}@proxy.example")
    assert (len(proxy.user or ""), len(proxy.password or "")) == (255, 255)


@pytest.mark.rule("INJ-19")
@pytest.mark.parametrize("length", [254, 256, 300, 70_000])
def test_inj19_a_server_name_that_is_too_long(length: int) -> None:
    with pytest.raises(ConfigurationError):
        Options(
            host=("a" * 50 + ".") * (length // 51) + "a" * (length % 51 or 1), proxy="socks5h://proxy.example"
        )


@pytest.mark.rule("INJ-19")
def test_inj19_addresses_that_the_proxy_cannot_be_told() -> None:
    assert "IPv6" in refused("socks4://proxy.example", host="2001:db8::1")
    assert "IPv6" in refused("socks4a://proxy.example", host="::1")
    for scheme in ("http", "https", "socks5", "socks5h"):
        assert "zone" in refused(f"{scheme}://proxy.example", host="fe80::1%eth0")
        Options(host="2001:db8::1", proxy=f"{scheme}://proxy.example")


async def nowhere(host: str, port: int, timeout: float) -> Any: ...


@pytest.mark.parametrize(
    ("option", "given"),
    [
        ("proxy", {"proxy": "http://p.example", "unix_socket": "/run/smtp"}),
        ("proxy", {"proxy": "http://p.example", "dial": nowhere}),
        ("dial", {"dial": nowhere, "unix_socket": "/run/smtp"}),
        ("dial", {"dial": nowhere, "local_address": "127.0.0.1"}),
        ("dial", {"dial": "nowhere"}),
    ],
)
def test_one_way_only(option: str, given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Options(**given)
    assert caught.value.option == option


@pytest.mark.rule("TLS-09")
@pytest.mark.parametrize("way", [{"proxy": "socks5h://127.0.0.1"}, {"dial": nowhere}], ids=["proxy", "dial"])
def test_tls09_whose_localhost_it_is_nobody_knows(way: dict[str, Any]) -> None:
    assert Options(host="localhost").is_loopback
    assert not Options(host="localhost", **way).is_loopback


@pytest.mark.rule("P-04")
@pytest.mark.rule("TLS-12")
def test_p04_connections_are_not_shared_across_proxies() -> None:
    ways: list[dict[str, Any]] = [
        {},
        {"dial": nowhere},
        {"proxy": "http://p.example:1080"},
        {"proxy": "https://p.example:1080"},
        {"proxy": {"url": "https://p.example:1080", "tls": {"verify": False}}},
        {"proxy": "socks5://p.example"},
        {"proxy": "socks5://q.example"},
        {"proxy": "socks5://p.example:1081"},
        {"proxy": "socks5://me:a@p.example"},
        {"proxy": "socks5://me:b@p.example"},
        {"tls": {"verify": False}},
        {"starttls": "required"},
        {"servername": "x.example"},
        {"secure": True, "port": 587},
    ]
    keys = {ConnectionKey.of(Options(host="mail.example", **way), None) for way in ways}
    assert len(keys) == len(ways)


def test_the_environment_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert Options().proxy is None

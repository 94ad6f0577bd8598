"""Options: defaults, checks, contradictions, and what repr shows."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import re
import socket
import ssl
import threading
import warnings
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpool.errors import ConfigurationError
from mailpool.options import Credentials, Options, Rate, TLSOptions, parse_options
from mailpool.options.access import Access
from mailpool.options.options import _RULES
from mailpool.options.parsing import _ELSEWHERE

DEFAULTS = {
    "host": "localhost", "port": None, "secure": None, "pool": False, "max_connections": 5, "max_messages": 100,
    "max_requeues": -1, "rate": (), "rate_limit": None, "rate_delta": 1000, "auth": None, "auth_method": None, "min_mechanism": None,
    "allow_cleartext_auth": False, "service": None, "starttls": "auto", "servername": None, "name": None,
    "local_address": None, "unix_socket": None, "sock": None, "proxy": None, "dial": None, "dns_timeout": 30, "connection_timeout": 120,
    "greeting_timeout": 30, "socket_timeout": 600, "command_timeout": None, "deadline": None, "idle_timeout": 60,
    "max_age": None, "min_connections": 0, "check_after": None, "connection_wait": 30, "auth_retry_after": 60,
    "max_throttle_wait": 300, "max_queue": 10_000, "pipeline_depth": 1, "max_recipients": None,
    "on_uncertain": "requeue", "max_duplicates": 1, "disable": frozenset(), "defaults": {}, "tls": TLSOptions(), "access": Access(),
    "addresses": "strict", "dkim": None, "smime": None, "lmtp": False,
}  # fmt: skip


def wrong(option: str, **given: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse_options(**given)
    assert caught.value.option == option
    return str(caught.value)


def test_the_defaults_are_those_of_the_contract() -> None:
    assert {f.name: getattr(Options(), f.name) for f in dataclasses.fields(Options)} == DEFAULTS


def test_every_option_has_a_check() -> None:
    assert set(_RULES) == set(DEFAULTS)


def test_frozen_hashable_and_replaceable() -> None:
    options = parse_options(host="h", rate="14/s", auth=("u", "p"), defaults={"from": "a@b"})
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.host = "other"
    with pytest.raises(TypeError):
        options.defaults["from"] = "c@d"
    assert hash(options) == hash(dataclasses.replace(options))
    assert dataclasses.replace(options, host="other").rate == (Rate(14),)


def test_defaults_are_copied() -> None:
    given = {"subject": "a"}
    options = Options(defaults=given)
    given["subject"] = "b"
    assert options.defaults == {"subject": "a"}


@pytest.mark.parametrize(
    ("given", "port", "secure"),
    [
        ({}, 587, False),
        ({"secure": True}, 465, True),
        ({"secure": False}, 587, False),
        ({"port": 465}, 465, True),
        ({"port": 465, "secure": False}, 465, False),
        ({"port": 25}, 25, False),
        ({"port": 587, "secure": True}, 587, True),
    ],
)
def test_port_and_secure_follow_each_other(given: dict[str, object], port: int, secure: bool) -> None:
    options = parse_options(given)
    assert (options.effective_port, options.effective_secure) == (port, secure)


INTEGERS = [
    "port", "max_connections", "min_connections", "max_messages", "max_requeues", "max_queue", "pipeline_depth",
    "max_recipients", "max_duplicates", "rate_limit", "rate_delta",
]  # fmt: skip
SECONDS = [
    "dns_timeout", "connection_timeout", "greeting_timeout", "socket_timeout", "command_timeout", "deadline",
    "idle_timeout", "max_age", "check_after", "connection_wait", "auth_retry_after", "max_throttle_wait",
]  # fmt: skip
FLAGS = ["pool", "secure", "allow_cleartext_auth"]
TEXTS = [
    "host",
    "servername",
    "name",
    "local_address",
    "unix_socket",
    "service",
    "auth_method",
    "min_mechanism",
    "starttls",
    "on_uncertain",
    "url",
]


@pytest.mark.parametrize("option", INTEGERS)
@pytest.mark.parametrize("value", [True, False, 1.0, "1", float("nan"), [], -2])
def test_a_count_is_a_whole_number(option: str, value: object) -> None:
    wrong(option, **{option: value})


@pytest.mark.parametrize("option", SECONDS)
@pytest.mark.parametrize("value", [True, "30", float("nan"), float("inf"), -0.1, -1, []])
def test_a_duration_is_a_finite_number_of_seconds(option: str, value: object) -> None:
    wrong(option, **{option: value})


@pytest.mark.parametrize("option", FLAGS)
@pytest.mark.parametrize("value", [0, 1, "true", "no", []])
def test_a_flag_is_a_flag(option: str, value: object) -> None:
    wrong(option, **{option: value})


@pytest.mark.parametrize("option", TEXTS)
@pytest.mark.parametrize("value", ["", 7, b"text", True, ["a"], "a\r\nb", "a\0b", "a\x7fb"])
def test_a_text_is_a_clean_text(option: str, value: object) -> None:
    wrong(option, **{option: value})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *((name, -1) for name in INTEGERS if name not in ("max_messages", "max_requeues")),
        ("max_connections", 0), ("max_messages", 0), ("max_queue", 0), ("pipeline_depth", 0), ("max_recipients", 0),
        ("port", 0), ("port", 65_536), ("rate_delta", 0), ("dns_timeout", 0), ("connection_timeout", 0),
        ("socket_timeout", 0), ("command_timeout", 0), ("deadline", 0), ("max_age", 0), ("idle_timeout", 0),
        ("starttls", "yes"), ("on_uncertain", "retry"), ("local_address", "eth0"), ("defaults", [("from", "a")]),
        ("sock", 3), ("auth_method", "P L"), ("disable", {"PIPE LINING"}), ("disable", 7), ("disable", [7]),
        ("max_connections", None), ("host", None),
    ],
)  # fmt: skip
def test_out_of_range(option: str, value: object) -> None:
    wrong(option, **{option: value})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_messages", -1), ("max_messages", 1), ("max_requeues", 0), ("max_requeues", -1), ("max_duplicates", 0),
        ("check_after", 0), ("connection_wait", 0), ("auth_retry_after", 0), ("max_throttle_wait", 0), ("port", 65_535),
        ("socket_timeout", 3_600), ("max_age", 86_400), ("deadline", 86_400), ("local_address", "::1"),
    ],
)  # fmt: skip
def test_at_the_edge(option: str, value: object) -> None:
    assert getattr(parse_options(**{option: value}), option) == value


@pytest.mark.parametrize("option", [name for name in SECONDS if name.endswith("_timeout")])
def test_milliseconds_are_noticed(option: str) -> None:
    assert "milliseconds" in wrong(option, **{option: 30_000})
    assert "30" in wrong(option, **{option: 30_000})


@pytest.mark.parametrize(
    ("option", "given"),
    [
        ("starttls", {"secure": True, "starttls": "required"}),
        ("starttls", {"secure": True, "starttls": "never"}),
        ("starttls", {"port": 465, "starttls": "opportunistic"}),
        ("rate_limit", {"rate": "1/s", "rate_limit": 5}),
        ("sock", {"sock": "SOCKET", "unix_socket": "/run/smtp"}),
        ("sock", {"sock": "SOCKET", "pool": True}),
        ("local_address", {"unix_socket": "/run/smtp", "local_address": "127.0.0.1"}),
        ("local_address", {"sock": "SOCKET", "local_address": "127.0.0.1"}),
        ("min_connections", {"min_connections": 6}),
        ("auth_method", {"auth": {"user": "u", "pass": "p", "method": "PLAIN"}, "auth_method": "LOGIN"}),
    ],
)
def test_contradictions_name_the_option(option: str, given: dict[str, object]) -> None:
    with socket.socket() as sock:
        wrong(option, **{name: sock if value == "SOCKET" else value for name, value in given.items()})


def test_tls_on_an_odd_port_and_starttls_on_465_are_possible() -> None:
    assert parse_options(port=465, secure=False, starttls="required").starttls == "required"


class TestUnknown:
    @pytest.mark.parametrize(
        ("name", "hint"),
        [
            ("maxConnections", "max_connections"), ("max_connection", "max_connections"), ("requireTLS", "starttls='required'"),
            ("ignoreTLS", "starttls='never'"), ("opportunisticTLS", "starttls='opportunistic'"), ("rateLimit", "rate"),
            ("socketTimeout", "seconds"), ("greetingTimeout", "seconds"), ("connectionTimeout", "seconds"),
            ("idleTimeout", "seconds"), ("authMethod", "auth_method"), ("localAddress", "local_address"),
            ("maxRequeues", "max_requeues"), ("pol", "pool"), ("checkAfter", "check_after"), ("password", "auth="),
        ],
    )  # fmt: skip
    def test_the_near_one_is_named(self, name: str, hint: str) -> None:
        assert hint in wrong(name, **{name: 1})

    @pytest.mark.rule("INJ-18")
    @pytest.mark.parametrize("name", ["__proto__", "__class__", "auth.user", "defaults.from", "constructor"])
    def test_strange_keys_are_unknown(self, name: str) -> None:
        wrong(name, **{name: 1})

    def test_a_key_that_is_no_text(self) -> None:
        with pytest.raises(ConfigurationError, match="unknown option '7'"):
            parse_options({7: 1})

    def test_neither_url_nor_mapping(self) -> None:
        with pytest.raises(ConfigurationError, match="mapping, not list"):
            parse_options([])

    def test_the_suggestions_exist(self) -> None:
        for hint in _ELSEWHERE.values():
            word = re.split(r"[=, ]", hint)[0]
            assert word in DEFAULTS, hint


class TestMerging:
    def test_keywords_win_over_a_mapping(self) -> None:
        assert parse_options({"host": "a", "port": 25}, host="b").host == "b"

    def test_the_mapping_is_left_alone(self) -> None:
        given = {"url": "smtp://h", "pool": True}
        parse_options(given)
        assert given == {"url": "smtp://h", "pool": True}


class TestNames:
    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ("mail.example.org", "mail.example.org"), ("bücher.example", "xn--bcher-kva.example"), ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "::1"), ("smtp_relay", "smtp_relay"), ("mail.example.org.", "mail.example.org."),
        ],
    )  # fmt: skip
    def test_hosts(self, given: str, kept: str) -> None:
        assert parse_options(host=given).host == kept

    @pytest.mark.rule("INJ-18")
    @pytest.mark.parametrize(
        "host",
        [
            "a b",
            "a/b",
            "u@h",
            "a..b",
            "-a.b",
            ".",
            "a" * 64,
            "a." * 127 + "aa",
            "[x]",
            "a:25",
            "[127.0.0.1",
            "127.0.0.1]",
            "ex\u200dample..",
            "a\u0085b",
        ],
    )
    def test_no_hosts(self, host: str) -> None:
        wrong("host", host=host)

    @pytest.mark.rule("INJ-15")
    @pytest.mark.parametrize(
        "sign", ["瘍", "瘊", "嘍"]
    )  # U+760D, U+760A, U+560D: their low octets are CR and LF
    def test_no_sign_is_cut_to_an_octet(self, sign: str) -> None:
        assert parse_options(host=f"a{sign}.example").host.startswith("xn--")
        wrong("name", name=f"a{sign}.example")

    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ("client.example.org", "client.example.org"), ("localhost", "localhost"), ("192.0.2.1", "[192.0.2.1]"),
            ("[192.0.2.1]", "[192.0.2.1]"), ("2001:db8::1", "[IPv6:2001:db8::1]"), ("[ipv6:::1]", "[IPv6:::1]"),
        ],
    )  # fmt: skip
    def test_ehlo_names(self, given: str, kept: str) -> None:
        assert parse_options(name=given).name == kept

    @pytest.mark.rule("INJ-01")
    @pytest.mark.parametrize("name", ["a\r\nMAIL FROM:<x>", "a\rb", "a\nb", "a\0b"])
    def test_ehlo_name_with_line_ends(self, name: str) -> None:
        wrong("name", name=name)

    @pytest.mark.rule("INJ-02")
    @pytest.mark.parametrize(
        "name",
        [
            "a b",
            "a\tb",
            "a\x7fb",
            "bücher.example",
            "",
            "a." * 128,
            "[a]",
            "[192.0.2.1",
            "192.0.2.1]",
            "[]",
            "_a",
            "fe80::1%eth0",
            "a@b",
            "a;b",
        ],
    )
    def test_ehlo_name_that_is_none(self, name: str) -> None:
        wrong("name", name=name)


@pytest.mark.parametrize(
    ("given", "loopback"),
    [
        ({}, True), ({"host": "LOCALHOST."}, True), ({"host": "127.8.8.8"}, True), ({"host": "::1"}, True),
        ({"host": "::ffff:127.0.0.1"}, True), ({"host": "mail.example.org", "unix_socket": "/run/smtp"}, True),
        ({"host": "127.0.0.1.example.org"}, False), ({"host": "localhost.example.org"}, False), ({"host": "10.0.0.1"}, False),
        ({"host": "::2"}, False),
    ],
)  # fmt: skip
def test_loopback(given: dict[str, object], loopback: bool) -> None:
    assert parse_options(given).is_loopback is loopback


def test_a_socket_handed_in_is_not_taken_for_loopback() -> None:
    with socket.socket() as sock:
        assert parse_options(sock=sock).is_loopback is False


def test_what_only_looks_like_a_socket() -> None:
    class HalfA:
        def fileno(self) -> int: ...

    class HalfB:
        def recv(self) -> bytes: ...

    for half in (HalfA(), HalfB()):
        wrong("sock", sock=half)


def test_the_name_in_the_certificate() -> None:
    assert parse_options(host="mail.example.org.").effective_servername == "mail.example.org"
    assert (
        parse_options(host="10.0.0.1", servername="mail.example.org").effective_servername
        == "mail.example.org"
    )


def test_extensions_in_any_form() -> None:
    for names in ({"pipelining", "CHUNKING"}, ["PIPELINING", "chunking"], "pipelining,chunking"):
        assert parse_options(disable=names).disable == {"PIPELINING", "CHUNKING"}


class TestTLS:
    def test_from_a_mapping(self) -> None:
        options = parse_options(tls={"verify": False, "min_version": "TLSv1.3"})
        assert options.tls == TLSOptions(verify=False, min_version="TLSv1.3")

    def test_a_context_is_kept(self) -> None:
        context = ssl.create_default_context()
        assert parse_options(tls=context).tls is context

    @pytest.mark.rule("TLS-13")
    @pytest.mark.parametrize("version", ["TLSv1", "TLSv1.1", "SSLv3", 1.2, None])
    def test_nothing_older_than_1_2(self, version: object) -> None:
        wrong("tls.min_version", tls={"min_version": version})

    @pytest.mark.parametrize(
        ("option", "tls"),
        [
            ("tls.verify", {"verify": 0}), ("tls.verify", {"verify": False, "ca_file": "ca.pem"}), ("tls.verify", {"verify": False, "ca_data": "PEM"}), ("tls.key_file", {"key_file": "k"}),
            ("tls.ca_file", {"ca_file": ""}), ("tls.ca_data", {"ca_data": 7}), ("tls.key_password", {"key_password": 7}), ("tls", True),
        ],
    )  # fmt: skip
    def test_wrong(self, option: str, tls: object) -> None:
        wrong(option, tls=tls)

    @pytest.mark.rule("FIL-07")
    @pytest.mark.parametrize("key", ["host", "path", "__proto__", "rejectUnauthorized"])
    def test_keys_of_others_are_refused(self, key: str) -> None:
        wrong(f"tls.{key}", tls={key: "x"})

    def test_our_own_certificate(self) -> None:
        assert parse_options(tls={"cert_file": "c", "key_file": "k"}).tls.key_file == "k"
        assert parse_options(tls={"cert_file": "both"}).tls.cert_file == "both"

    def test_a_path_object(self, tmp_path: object) -> None:
        assert TLSOptions(ca_file=tmp_path).ca_file == str(tmp_path)


class TestDeprecatedRate:
    def test_converted_and_the_new_form_is_told(self) -> None:
        with pytest.warns(DeprecationWarning, match=re.escape("rate='5/2s'")) as caught:
            options = parse_options(rate_limit=5, rate_delta=2_000)
        assert options.rate == (Rate(5, 2.0),)
        assert caught[0].filename == __file__

    def test_fractions_of_a_second_survive_the_advice(self) -> None:
        with pytest.warns(DeprecationWarning, match=re.escape("'5/1.5s'")):
            assert parse_options(rate_limit=5, rate_delta=1_500).rate == (Rate.parse("5/1.5s"),)

    @pytest.mark.parametrize("given", [{"rate_limit": 0}, {"rate_delta": 5_000}])
    def test_off(self, given: dict[str, int]) -> None:
        with pytest.warns(DeprecationWarning, match="leave both away"):
            assert parse_options(given).rate == ()

    def test_off_leaves_the_new_form_alone(self) -> None:
        with pytest.warns(DeprecationWarning, match="leave both away"):
            assert parse_options(rate_limit=0, rate="5/s").rate == (Rate(5),)

    def test_replace_neither_warns_nor_contradicts(self) -> None:
        with pytest.warns(DeprecationWarning, match="5/s"):
            options = parse_options(rate_limit=5)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert dataclasses.replace(options, host="h").rate == (Rate(5),)


class TestTravelling:
    """Options go to other processes, and say so where they cannot."""

    GIVEN: ClassVar[dict[str, Any]] = {
        "auth": ("me", "s3cr3t"),
        "tls": {"verify": False, "key_password": "s3cr3t", "cert_file": "c", "key_file": "k"},
        "defaults": {"from": "a@x.example", "headers": {"X-A": "s3cr3t"}},
        "access": "none",
        "proxy": {"url": "https://p.example", "user": "u", "password": "s3cr3t", "tls": {"verify": False}},
        "rate": ["5/s", "100/min"],
        "disable": {"CHUNKING"},
        "dkim": {"domain": "x.example", "selector": "s", "private_key": "-----BEGIN s3cr3t"},
        "pool": True,
        "max_age": 7,
    }

    @pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
    @pytest.mark.parametrize("given", [{}, GIVEN, {"service": "gmail"}], ids=["none", "many", "service"])
    def test_they_stay_the_same(self, again: Any, given: dict[str, Any]) -> None:
        options = parse_options(given)
        other = again(options)
        assert other == options
        assert repr(other) == repr(options)
        assert other.defaults == options.defaults
        with pytest.raises(TypeError):
            other.defaults["subject"] = "x"

    @pytest.mark.rule("LOG-01")
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("tls", ssl.create_default_context()),
            ("auth", {"user": "s3cr3t", "access_token": lambda: "s3cr3t"}),
            ("dial", lambda host, port, timeout: None),
            ("defaults", {"headers": {"s3cr3t": threading.Lock()}}),
        ],
    )
    def test_what_belongs_to_this_process_is_named(self, name: str, value: Any) -> None:
        options = parse_options({name: value})
        assert copy.deepcopy(options) is options
        with pytest.raises(ConfigurationError, match=f"{name}: holds something") as caught:
            pickle.dumps(options)
        assert caught.value.option == name
        assert "s3cr3t" not in str(caught.value)


class TestSecrets:
    @pytest.mark.rule("LOG-01")
    def test_no_repr_no_url_shows_them(self) -> None:
        options = parse_options(
            "smtps://me%40x:s3cr3t@mail.example.org",
            tls={"key_password": "s3cr3t"},
            defaults={"subject": "s3cr3t"},
        )
        for text in (
            repr(options),
            str(options),
            repr(options.auth),
            options.redacted_url(),
            f"{options.tls}",
        ):
            assert "s3cr3t" not in text
        assert options.redacted_url() == "smtps://me%40x:***@mail.example.org:465"
        token = Credentials("u", access_token="s3cr3t")
        assert "s3cr3t" not in repr(token)
        assert repr(token) == "Credentials(user='u', access_token=***)"

    @pytest.mark.rule("LOG-01")
    @pytest.mark.parametrize(
        "auth",
        [
            "s3cr3t",
            ("u", "s3cr3t\0"),
            ("u", "s3cr3t\ud800"),
            {"user": "", "pass": "s3cr3t"},
            ("u", "s3cr3t", 3),
            ["s3cr3t"],
        ],
    )
    def test_no_error_shows_them(self, auth: object) -> None:
        assert "s3cr3t" not in wrong("auth", auth=auth)

    def test_only_what_differs_is_shown(self) -> None:
        assert repr(Options()) == "Options()"
        assert repr(Options(host="h", max_connections=2)) == "Options(host='h', max_connections=2)"

    def test_where_it_leads(self) -> None:
        assert parse_options(host="::1", port=25).redacted_url() == "smtp://[::1]:25"
        assert parse_options("lmtp://u:p@h").redacted_url() == "lmtp://u:***@h:24"
        assert parse_options("lmtp:///run/lmtp").redacted_url() == "lmtp:///run/lmtp"
        assert parse_options(unix_socket="/run/smtp").redacted_url() == "smtp+unix:///run/smtp"


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.binary(max_size=5)
)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=4,
)


@given(
    st.dictionaries(
        st.sampled_from(sorted({*DEFAULTS, "url"} - {"rate_limit", "rate_delta"})), anything, max_size=4
    )
)
def test_any_mapping_gives_options_or_a_configuration_error(mapping: dict[str, object]) -> None:
    try:
        options = parse_options(mapping)
    except ConfigurationError:
        return
    assert options == dataclasses.replace(options)
    hash(options)

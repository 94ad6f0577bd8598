"""The URL form."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailpool.errors import ConfigurationError
from mailpool.options import Credentials, Options, Rate, TLSOptions, parse_options


def wrong(url: str, /, **keywords: object) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        parse_options(url, **keywords)
    return caught.value


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("smtp://mail.example.org", Options(host="mail.example.org")),
        ("smtp://mail.example.org/", Options(host="mail.example.org")),
        ("SMTP://mail.example.org:2525", Options(host="mail.example.org", port=2525)),
        ("smtps://mail.example.org", Options(host="mail.example.org", secure=True)),
        ("smtps://[::1]:465", Options(host="::1", port=465, secure=True)),
        ("lmtp://mail.example.org", Options(host="mail.example.org", lmtp=True)),
        ("LMTP://mail.example.org:2003/?pool=true", Options(host="mail.example.org", port=2003, lmtp=True, pool=True)),
        ("lmtp:///run/dovecot/lmtp", Options(unix_socket="/run/dovecot/lmtp", lmtp=True)),
        ("lmtp:///run/a%20b%3F?pool=true", Options(unix_socket="/run/a b?", lmtp=True, pool=True)),
        ("smtp://h?lmtp=true", Options(host="h", lmtp=True)),
        ("smtp://bücher.example", Options(host="xn--bcher-kva.example")),
        ("smtp://u:p@h", Options(host="h", auth=Credentials("u", "p"))),
        ("smtp://u%3Av:p%40%2F%3F%23%25@h", Options(host="h", auth=Credentials("u:v", "p@/?#%"))),
        ("smtp://u:p:q@h", Options(host="h", auth=Credentials("u", "p:q"))),
        ("smtp://u@x.org:p@q@h", Options(host="h", auth=Credentials("u@x.org", "p@q"))),
        ("smtp://u:p+q%20r@h", Options(host="h", auth=Credentials("u", "p+q r"))),
        ("smtp://%C3%BC:%C3%9F@h", Options(host="h", auth=Credentials("ü", "ß"))),
        ("smtp://?pool=true", Options(pool=True)),
        ("smtp://h?pool", Options(host="h", pool=True)),
        ("smtp://h/?pool=FALSE&&max_connections=7", Options(host="h", max_connections=7)),
        ("smtp://h?max_messages=-1&idle_timeout=1.5&deadline=9", Options(host="h", max_messages=-1, idle_timeout=1.5, deadline=9)),
        ("smtp://h?rate=14/s,10000%2Fday", Options(host="h", rate=(Rate(14), Rate(10_000, 86_400)))),
        ("smtp://h?disable=pipelining,chunking", Options(host="h", disable=frozenset({"PIPELINING", "CHUNKING"}))),
        ("smtp://h?name=192.0.2.1&starttls=required", Options(host="h", name="192.0.2.1", starttls="required")),
        ("smtp://h?name=1234", Options(host="h", name="1234")),
        ("smtp://h?tls.verify=false&tls.min_version=TLSv1.3", Options(host="h", tls=TLSOptions(verify=False, min_version="TLSv1.3"))),
        ("smtp://h?tls.cert_file=true", Options(host="h", tls=TLSOptions(cert_file="true"))),
        ("smtp://h?unix_socket=1.5", Options(host="h", unix_socket="1.5")),
        ("smtp://h?secure=true", Options(host="h", secure=True)),
    ],
)  # fmt: skip
def test_forms(url: str, options: Options) -> None:
    assert parse_options(url) == options
    assert parse_options({"url": url}) == options
    assert parse_options(url=url) == options


def test_smtp_leaves_port_465_its_tls() -> None:
    assert parse_options("smtp://h:465").effective_secure is True
    assert parse_options("smtp://h:587").effective_secure is False


@pytest.mark.rule("INJ-18")
@pytest.mark.parametrize(
    "url",
    [
        "smtp://h%0d%0aQUIT", "smtp://u%0d%0a:p@h", "smtp://u:p%0a@h", "smtp://u:p%00@h", "smtp://h?name=a%0d%0ab", "smtp://h?na%0d%0ame=a",
        "smtp://h\r\nQUIT", "smtp://h?name=a\nb", "\tsmtp://h", "smtp://h ", "smtp://u:p%C2%85@h",
    ],
)  # fmt: skip
def test_control_characters_in_any_disguise(url: str) -> None:
    assert wrong(url).option == "url"


@pytest.mark.rule("INJ-18")
@pytest.mark.parametrize(
    ("url", "option"),
    [
        ("smtp://h?pool=true&pool=true", "pool"), ("smtp://h?pool=true&po%6Fl=false", "pool"), ("smtp://h?__proto__=x", "__proto__"),
        ("smtp://h?__proto__.x=1", "__proto__.x"), ("smtp://h?auth.user=x", "auth.user"), ("smtp://h?tls.path=x", "tls.path"),
        ("smtp://h?tls.__proto__=x", "tls.__proto__"), ("smtp://h?tls=x", "tls"), ("smtp://h?host=other", "host"),
        ("smtp://h?port=26", "port"), ("smtp://h?auth=x", "auth"), ("smtp://h?defaults=x", "defaults"), ("smtp://h?sock=3", "sock"),
        ("smtp://h?url=smtp://x", "url"), ("smtp://h?maxConnections=3", "maxConnections"),
    ],
)  # fmt: skip
def test_keys_that_are_none(url: str, option: str) -> None:
    assert wrong(url).option == option


@pytest.mark.parametrize(
    ("url", "option"),
    [
        ("http://h", "url"), ("smtp:h", "url"), ("h:25", "url"), ("", "url"), ("direct:", "url"), ("smtp://h/path", "url"), ("smtp://h#x", "url"),
        ("smtp:///run/x", "url"), ("smtps:///run/x", "url"), ("lmtp://h/run/x", "url"), ("lmtp://:24/run/x", "url"), ("lmtp:///%00", "url"),
        ("lmtp://h?lmtp=false", "lmtp"), ("lmtp://h:25", "lmtp"), ("lmtp:///run/x?unix_socket=/y", "unix_socket"),
        ("smtp://h:", "url"), ("smtp://h:abc", "url"), ("smtp://h:99999", "port"), ("smtp://h:0", "port"), ("smtp://::1", "url"),
        ("smtp://[::1", "url"), ("smtp://[x]", "host"), ("smtp://u:%zz@h", "url"), ("smtp://u:%ff@h", "url"), ("smtp://u:p%@h", "url"),
        ("smtp://u@h", "auth"), ("smtp://:p@h", "auth"), ("smtp://u:@h", "auth"), ("smtp://h?pool=perhaps", "pool"),
        ("smtp://h?max_connections=many", "max_connections"), ("smtp://h?max_connections=5.5", "max_connections"),
        ("smtp://h?max_connections=", "max_connections"), ("smtp://h?idle_timeout=nan", "idle_timeout"),
        ("smtp://h?idle_timeout=soon", "idle_timeout"),
        ("smtp://h?socket_timeout=60000", "socket_timeout"), ("smtps://h?secure=false", "secure"), ("smtps://h?starttls=required", "starttls"),
    ],
)  # fmt: skip
def test_wrong(url: str, option: str) -> None:
    assert wrong(url).option == option


def test_a_user_alone_is_told_what_is_missing() -> None:
    assert "without a password" in str(wrong("smtp://u@h"))


@pytest.mark.rule("LOG-01")
@pytest.mark.parametrize(
    "url",
    [
        "smtp://u:s3cr3t/x@h",
        "smtp://u:25?s3cr3t@h",
        "smtp://u:s3cr3t#@h",
        "smtp://u:s3cr3t%@h",
        "smtp://u:s3cr3t@h:x",
        "smtp://u:s3cr3t @h",
    ],
)
def test_a_password_that_breaks_the_url_is_not_shown(url: str) -> None:
    assert "s3cr3t" not in str(wrong(url))


class TestBesideKeywords:
    def test_keywords_win(self) -> None:
        options = parse_options(
            "smtp://u:p@h:25/?max_connections=2&pool=true", host="other", auth=("v", "q"), max_connections=3
        )
        assert options == Options(
            host="other", port=25, auth=Credentials("v", "q"), pool=True, max_connections=3
        )

    def test_siblings_of_url_in_a_mapping_are_kept(self) -> None:
        assert parse_options({"url": "smtp://h", "max_connections": 9}).max_connections == 9

    def test_tls_is_merged(self) -> None:
        options = parse_options("smtp://h?tls.min_version=TLSv1.3&tls.verify=false", tls={"verify": True})
        assert options.tls == TLSOptions(min_version="TLSv1.3")

    def test_smtps_cannot_be_switched_off(self) -> None:
        error = wrong("smtps://h", secure=False)
        assert error.option == "secure"
        assert "smtps" in str(error)

    def test_lmtp_cannot_be_switched_off(self) -> None:
        error = wrong("lmtp://h", lmtp=False)
        assert error.option == "lmtp"
        assert "smtp://" in str(error)

    def test_a_keyword_may_switch_off_what_the_query_said(self) -> None:
        assert parse_options("smtp://h?secure=true", secure=False).effective_secure is False

    def test_two_urls(self) -> None:
        assert wrong("smtp://h", url="smtp://i").option == "url"


printable = st.text(st.characters(codec="utf-8", exclude_categories=("Cc",)), min_size=1, max_size=40)


@given(printable, printable)
def test_whatever_is_percent_encoded_comes_back(user: str, password: str) -> None:
    options = parse_options(f"smtp://{quote(user, safe='')}:{quote(password, safe='')}@h")
    assert options.auth == Credentials(user, password)


@pytest.mark.rule("INJ-18")
@given(
    st.text(max_size=60),
    st.sampled_from(["", "smtp://", "smtps://u:p@", "smtp://h?", "smtp://h/?tls.", "smtp://["]),
)
@example("secure=true&secure", "smtp://h?")
def test_any_url_gives_options_or_a_configuration_error(text: str, start: str) -> None:
    try:
        options = parse_options(start + text)
    except ConfigurationError:
        return
    for value in (options.host, options.name or "", options.servername or ""):
        assert value.isascii()
        assert value.isprintable()
        assert " " not in value

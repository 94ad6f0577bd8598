"""Services by name, and how a preset meets what the user said."""

from __future__ import annotations

import dataclasses
import datetime
import json
from importlib import resources
from typing import Any

import pytest

from mailpool import OAuth2
from mailpool.errors import ConfigurationError
from mailpool.options import Options, Rate, parse_options, presets


@pytest.mark.parametrize(
    ("name", "service"),
    [
        ("gmail", "gmail"), ("GMail", "gmail"), ("googlemail.com", "gmail"), ("someone@gmail.com", "gmail"), ("Google Mail", "gmail"),
        ("Outlook365", "microsoft365"), ("office 365", "microsoft365"), ("hotmail.com", "outlook"), ("ses", "ses-us-east-1"),
        ("SES-EU-WEST-1", "ses-eu-west-1"), ("SendinBlue", "brevo"), ("me@icloud.com", "icloud"), ("a@b@gmx.de", "gmx-de"),
    ],
)  # fmt: skip
def test_found_by(name: str, service: str) -> None:
    assert presets.find(name).name == service
    assert parse_options(service=name).service == service


@pytest.mark.parametrize(
    ("name", "hint"), [("gmial", "gmail"), ("sengrid", "sendgrid"), ("ses-eu-west-9", "ses-eu-west-1")]
)
def test_near_names(name: str, hint: str) -> None:
    with pytest.raises(ConfigurationError, match=hint) as caught:
        parse_options(service=name)
    assert caught.value.option == "service"


@pytest.mark.parametrize("name", ["zzzzzzzz", "someone@nowhere.invalid", "@", ".", "evil.gmail.com.invalid"])
def test_unknown(name: str) -> None:
    with pytest.raises(ConfigurationError, match="not known"):
        parse_options(service=name)


def test_with_no_near_name_the_error_says_what_else_to_give() -> None:
    with pytest.raises(ConfigurationError, match="give host and port"):
        parse_options(service="zzzzzzzz")


def test_it_fills_what_was_left_open() -> None:
    options = parse_options(service="gmail")
    assert (options.host, options.port, options.secure, options.max_recipients) == (
        "smtp.gmail.com",
        465,
        True,
        100,
    )
    options = parse_options(service="microsoft365")
    assert (options.effective_port, options.effective_secure, options.max_connections) == (587, False, 3)
    assert options.rate == (Rate(30, 60), Rate(10_000, 86_400, unit="recipients"))
    assert parse_options(service="ses-eu-west-1").idle_timeout == 8
    assert parse_options("smtp://u:p@?service=mailersend").max_messages == 5


def test_a_limit_never_raises_a_default() -> None:
    assert presets.find("sendgrid").limits["max_messages"].value == 5_000
    assert parse_options(service="sendgrid").max_messages == Options().max_messages
    assert parse_options(service="postmark").max_connections == Options().max_connections


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"host": "relay.example.org"}, {"host": "relay.example.org", "port": 465, "secure": True}),
        ({"port": 587}, {"host": "smtp.gmail.com", "effective_port": 587, "effective_secure": False}),
        ({"secure": False}, {"effective_port": 587, "effective_secure": False}),
        ({"port": None}, {"effective_port": 465, "effective_secure": True}),
        (
            {"starttls": "required"},
            {"effective_port": 587, "effective_secure": False, "starttls": "required"},
        ),
        ({"max_recipients": 7}, {"max_recipients": 7}),
        ({"max_recipients": None}, {"max_recipients": None}),
        ({"max_recipients": 1_000}, {"max_recipients": 1_000}),
    ],
)
def test_what_the_user_says_wins(given: dict[str, object], kept: dict[str, object]) -> None:
    options = parse_options(service="gmail", **given)
    assert {name: getattr(options, name) for name in kept} == kept


def test_the_user_s_rate_wins_in_either_form() -> None:
    assert parse_options(service="microsoft365", rate="5/s").rate == (Rate(5),)
    assert parse_options(service="microsoft365", rate=None).rate == ()
    with pytest.warns(DeprecationWarning, match="rate="):
        options = parse_options(service="microsoft365", rate_limit=5)
    assert (options.rate, options.max_connections) == ((Rate(5),), 3)


def test_starttls_moves_no_port_that_already_speaks_it() -> None:
    assert parse_options(service="mailtrap-sandbox", starttls="required").effective_port == 2525


# Names that people bring from other programs, each of which must be found.
BROUGHT = """
1und1, 126, 163, Aliyun, AliyunQiye, AOL, Aruba, Aruba PEC, Bluewin, BOL, DebugMail, Disroot, DynectEmail, Dynect,
ElasticEmail, Elastic Email, Ethereal, ethereal.email, FastMail, Feishu Mail, Feishu, FeishuMail, Forward Email, FE,
ForwardEmail, GandiMail, Gandi, Gandi Mail, Gmail, Google Mail, GmailWorkspace, GMX, Godaddy, GodaddyAsia, GodaddyEurope,
hot.ee, Hotmail, Outlook, Outlook.com, Hotmail.com, iCloud, Me, Mac, Infomaniak, KolabNow, Kolab, Loopia, Loops, mail.ee,
Mail.ru, Mailcatch.app, Maildev, MailerSend, Mailgun, Mailjet, Mailosaur, Mailtrap, Mandrill, Naver, OhMySMTP, One,
OpenMailBox, OMB, openmailbox.org, Outlook365, Postmark, PostmarkApp, Proton, ProtonMail, Proton.me, Protonmail.com,
Protonmail.ch, qiye.aliyun, QQ, QQex, QQ Enterprise, Resend, Runbox, SendCloud, SendGrid, SendinBlue, Brevo, SendPulse, SES,
SES-AP-NORTHEAST-1, SES-AP-NORTHEAST-2, SES-AP-NORTHEAST-3, SES-AP-SOUTH-1, SES-AP-SOUTHEAST-1, SES-AP-SOUTHEAST-2,
SES-CA-CENTRAL-1, SES-EU-CENTRAL-1, SES-EU-NORTH-1, SES-EU-WEST-1, SES-EU-WEST-2, SES-EU-WEST-3, SES-SA-EAST-1,
SES-US-EAST-1, SES-US-EAST-2, SES-US-GOV-EAST-1, SES-US-GOV-WEST-1, SES-US-WEST-1, SES-US-WEST-2, Seznam, Seznam Email,
SMTP2GO, Sparkpost, SparkPost Mail, Tipimail, TurboSMTP, TurboSMTP-EU, Tutanota, Yahoo, Yandex, Zimbra,
Zimbra Collaboration, Zoho, aol.com, aruba.it, pec.aruba.it, bluewin.ch, bol.com.br, disroot.org, fastmail.fm, www.feishu.cn,
forwardemail.net, gmail.com, googlemail.com, gmx.com, gmx.net, gmx.de, hotmail.com, outlook.com, me.com, mac.com, ik.me,
ikmail.com, etik.com, kolabnow.com, proton.me, protonmail.com, pm.me, qq.com, exmail.qq.com, runbox.com, seznam.cz, email.cz,
post.cz, spoluzaci.cz, sparkpost.com, tutanota.com, tuta.com, tutanota.de, tuta.io, yahoo.com, yandex.ru, aliyun.com
"""


@pytest.mark.parametrize("name", [name.strip() for name in BROUGHT.split(",")])
def test_names_from_other_programs_are_known(name: str) -> None:
    assert presets.find(name) is presets.find(f"  {name.upper()} ")
    if "." in name:
        assert presets.find(f"someone@{name}") is presets.find(name)


@pytest.mark.parametrize("preset", presets.services(), ids=lambda preset: preset.name)
def test_every_preset_is_whole(preset: presets.Preset) -> None:
    options = parse_options(service=preset.name, auth=("user", "password"))
    assert (options.host, options.port, options.secure) == (preset.host, preset.port, preset.secure)
    assert options.starttls == (preset.starttls or "auto")
    assert preset.secure is (preset.port == 465)
    # A login never goes in clear text to another machine.
    assert preset.secure or preset.starttls != "never" or options.is_loopback
    assert preset.starttls in (None, "required", "never")
    assert preset.oauth2 in (None, "google", "microsoft")
    assert preset.source in ("official", "listed")
    assert preset.description
    assert set(preset.limits) <= {*presets._OPTIONS, "max_size"}
    for limit in preset.limits.values():
        assert limit.source in ("official", "quoted", "reported")
        assert datetime.date.fromisoformat(limit.date)
    assert datetime.date.fromisoformat(preset.date)
    defaults = Options()
    for name in presets._OPTIONS:
        if name not in preset.limits:
            assert getattr(options, name) == getattr(defaults, name)
            continue
        fact, got, default = preset.limits[name].value, getattr(options, name), getattr(defaults, name)
        if name == "rate":
            assert [str(rate) for rate in got] == fact
        elif default is None:
            assert got == fact
        elif name == "disable":
            assert got == set(fact)
        else:
            assert got == min(fact, default)


@pytest.mark.parametrize("preset", presets.services(), ids=lambda preset: preset.name)
def test_whatever_the_user_says_wins(preset: presets.Preset) -> None:
    said: dict[str, Any] = {
        "host": "mail.example.org", "port": 2_626, "secure": False, "starttls": "opportunistic", "max_connections": 77,
        "max_messages": 777, "idle_timeout": 777.0, "rate": "777/s", "max_recipients": 777, "disable": {"DSN"},
    }  # fmt: skip
    options = parse_options(service=preset.name, **said)
    said |= {"rate": (Rate(777),), "disable": frozenset({"DSN"})}
    assert {name: getattr(options, name) for name in said} == said
    # One at a time as well: what belongs together does not drag back the other.
    for name, value in said.items():
        if not (name == "starttls" and preset.port == 465):
            assert getattr(parse_options(service=preset.name, **{name: value}), name) == value
    assert parse_options(service=preset.name, secure=True).starttls == "auto"
    assert parse_options(service=preset.name, port=465).effective_secure


def test_what_a_provider_offers_falsely_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    gmail = presets.find("gmail")
    limits = {"disable": presets.Limit(["CHUNKING"], "reported", "2026-11-22")}
    monkeypatch.setitem(presets._by_key(), "gmail", dataclasses.replace(gmail, limits=limits))
    assert parse_options(service="gmail").disable == {"CHUNKING"}
    assert parse_options(service="gmail", disable=()).disable == frozenset()


def test_no_two_services_answer_to_one_name() -> None:
    keys = [
        presets._key(key)
        for preset in presets.services()
        for key in {preset.name, *preset.aliases, *preset.domains}
    ]
    assert len(keys) == len({*keys}), sorted(key for key in keys if keys.count(key) > 1)
    assert len(presets.services()) >= 100


def test_the_file_says_each_thing_once_and_nothing_that_is_not_read() -> None:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs), pairs
        return dict(pairs)

    text = resources.files("mailpool.options").joinpath("services.json").read_text("utf-8")
    entries = json.loads(text, object_pairs_hook=once)["services"]
    fields = {field.name for field in dataclasses.fields(presets.Preset)} - {"name"} | {"like"}
    for name, entry in entries.items():
        assert set(entry) <= fields, name
        assert not ("like" in entry and "limits" in entry), name
        assert name == name.lower(), name
        if "like" in entry:
            assert "limits" in entries[entry["like"]], name


@pytest.mark.parametrize(
    ("search", "names"),
    [
        ("Gmail", ["gmail", "debugmail", "google-workspace-relay"]), ("me@icloud.com", ["icloud"]), ("eu-central", ["ses-eu-central-1"]),
        ("Sendinblue", ["brevo"]), ("europe, stockholm", ["ses-eu-north-1"]), ("smtp-pulse.com", ["sendpulse"]), ("nowhere", []),
        ("someone@mac.com", ["icloud"]),
    ],
)  # fmt: skip
def test_searching(search: str, names: list[str]) -> None:
    assert [preset.name for preset in presets.services(search)] == names


@pytest.mark.parametrize("nothing", ["", "  ", "!", "@"])
def test_searching_for_nothing_finds_nothing(nothing: str) -> None:
    assert presets.services(nothing) == ()


@pytest.mark.parametrize(("service", "host"), [("gmail", "googleapis"), ("microsoft365", "microsoftonline")])
def test_tokens_for_a_service_come_from_its_provider(service: str, host: str) -> None:
    auth = {"type": "OAuth2", "user": "me", "clientId": "app", "refreshToken": "r"}
    credentials = parse_options(service=service, auth=auth).auth
    assert credentials is not None
    assert isinstance(credentials.access_token, OAuth2)
    assert host in str(credentials.access_token.token_url)
    elsewhere = {
        "user": "me",
        "client_id": "app",
        "refresh_token": "r",
        "token_url": "https://t.example/token",
    }
    credentials = parse_options(service=service, auth=elsewhere).auth
    assert credentials is not None
    assert isinstance(credentials.access_token, OAuth2)
    assert credentials.access_token.token_url == "https://t.example/token"
    plain = parse_options(service=service, auth={"user": "me", "pass": "p"}).auth
    assert plain is not None
    assert plain.password == "p"

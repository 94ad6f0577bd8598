"""Services by name, and how a preset meets what the user said."""

from __future__ import annotations

import pytest

from mailpool import presets
from mailpool.errors import ConfigurationError
from mailpool.options import Options, Rate, parse_options


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


@pytest.mark.parametrize("preset", presets.every(), ids=lambda preset: preset.name)
def test_every_preset_is_whole(preset: presets.Preset) -> None:
    options = parse_options(service=preset.name)
    assert (options.host, options.port, options.secure) == (preset.host, preset.port, preset.secure)
    assert preset.secure is (preset.port == 465)
    assert set(preset.limits) <= {*presets._OPTIONS, "max_size"}
    for limit in preset.limits.values():
        assert limit.source in ("official", "quoted", "reported")
        assert len(limit.date) == len("2026-01-01")


def test_no_two_services_answer_to_one_name() -> None:
    keys = [
        presets._key(key)
        for preset in presets.every()
        for key in {preset.name, *preset.aliases, *preset.domains}
    ]
    assert len(keys) == len({*keys}), sorted(key for key in keys if keys.count(key) > 1)
    assert len(presets.every()) >= 25

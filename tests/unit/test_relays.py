"""Several relays, as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from mailpool import ConfigurationError, MemoryCarrier, Options, UsageError, create_transport
from mailpool.policy.balance import Strategy
from mailpool.testing import run_virtual
from mailpool.transports.relays import OF_THE_WHOLE, plan_of

A, B = "smtp://a.example.org", "smtps://me:secret@b.example.org?max_connections=2"


def plan(entries: Any, strategy: str = "failover", weights: Any = None, **keywords: Any) -> Any:
    return plan_of(entries, strategy, weights, False, keywords)


def test_what_is_said_for_all_holds_where_a_relay_does_not_say_otherwise() -> None:
    made, whole = plan(
        [A, B, {"host": "c.example.org", "pool": False}], pool=True, max_connections=7, port=25
    )
    a, b, c = (relay.options for relay in made.relays)
    assert (a.host, a.pool, a.max_connections, a.effective_port) == ("a.example.org", True, 7, 25)
    assert (b.effective_secure, b.max_connections) == (True, 2)
    assert b.auth is not None
    assert c.pool is False
    assert whole.max_connections == 16
    assert [relay.name for relay in made.relays] == [
        "a.example.org:25",
        "b.example.org:25",
        "c.example.org:25",
    ]


def test_what_concerns_messages_is_the_wholes_alone() -> None:
    made, whole = plan(
        [A, MemoryCarrier()],
        defaults={"subject": "x"},
        deadline=5,
        max_requeues=3,
        on_uncertain="fail",
        name="me.example",
    )
    assert (whole.deadline, whole.max_requeues, whole.on_uncertain, whole.name) == (
        5,
        3,
        "fail",
        "me.example",
    )
    assert whole.defaults == {"subject": "x"}
    for relay in made.relays:
        assert relay.options.deadline is None
        assert relay.options.defaults == {}
        assert relay.options.name == "me.example"
    # They let a message go, and do not keep it.
    assert (made.relays[0].options.max_requeues, made.relays[0].options.on_uncertain) == (0, "fail")


@pytest.mark.parametrize("entry", [A, {"url": A}, {"host": "a.example.org"}, Options(host="a.example.org")])
def test_forms_of_a_relay(entry: Any) -> None:
    made, _ = plan([entry], pool=True)
    assert made.relays[0].options.host == "a.example.org"
    assert made.relays[0].options.pool


@pytest.mark.parametrize(
    "entry", ["memory:?max_connections=3", {"carrier": MemoryCarrier(), "max_connections": 3}]
)
def test_forms_of_a_carrier_among_relays(entry: Any) -> None:
    made, _ = plan([A, entry], pool=True, rate="5/s")
    assert made.relays[1].carrier is not None
    assert made.relays[1].name == "memory"
    assert made.relays[1].options.max_connections == 3
    assert made.relays[1].options.rate == made.relays[0].options.rate


@pytest.mark.parametrize(
    ("entries", "keywords", "words"),
    [
        ([], {}, "at least one"),
        ([A, 7], {}, r"relays\[1\].*not int"),
        ([A, {"hots": "x"}], {}, r"relays\[1\].*hots"),
        ([A, {"carrier": MemoryCarrier}], {}, r"relays\[1\].*made of its class"),
        ([A, {"carrier": MemoryCarrier(), "host": "x"}], {}, r"relays\[1\].*host"),
        ([A, MemoryCarrier()], {"hots": 1}, "hots"),
        ([A], {"strategy": "random"}, "strategy.*failover, round-robin, least-busy"),
        ([A], {"weights": [1]}, "weights.*failover"),
        ([A, B], {"strategy": "round-robin", "weights": [1]}, "give 2"),
        ([A], {"strategy": "round-robin", "weights": [0]}, "above 0"),
        ([A], {"strategy": "round-robin", "weights": [True]}, "above 0"),
        ([A], {"move_deferred": 1}, "move_deferred"),
        (A, {"strategy": "failover"}, "list of relays"),
        (A, {"weights": [1]}, "list of relays"),
        (A, {"move_deferred": False}, "list of relays"),
        *[
            ([A, {"host": "b", name: None}], {}, rf"relays\[1\].*{name}.*once")
            for name in sorted(OF_THE_WHOLE)
        ],
    ],
)
def test_what_is_wrong_is_said_at_once(entries: Any, keywords: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        create_transport(entries, **keywords)


def test_no_secret_is_shown() -> None:
    transporter = create_transport([A, B], strategy=Strategy.ROUND_ROBIN, weights=(2, 1))
    assert "secret" not in repr(transporter)
    assert "b.example.org" in repr(transporter)


def test_a_login_for_one_message_needs_a_relay_that_logs_in() -> None:
    async def main() -> None:
        async with create_transport([MemoryCarrier()]) as transporter:
            with pytest.raises(UsageError, match="auth"):
                transporter.send_mail(MESSAGE, auth=("me", "secret"))

    run_virtual(main, timers=True)


def test_carriers_take_turns_and_pass_messages_on() -> None:
    one, other = MemoryCarrier(), MemoryCarrier()

    async def main() -> None:
        async with create_transport([one, other], strategy="round-robin", weights=(2, 1)) as transporter:
            for _ in range(30):
                await transporter.send_mail(MESSAGE)
            assert (await transporter.verify()).host == "memory"
            assert [relay.sent for relay in transporter.stats().relays] == [20, 10]
            assert "2 of 2 relays up" in repr(transporter)

    run_virtual(main, timers=True)
    assert (len(one.messages), len(other.messages)) == (20, 10)


MESSAGE = {"from": "me@example.org", "to": "you@example.org", "text": "Hello"}


def test_ready_options_are_not_filled_in_anew_by_their_service() -> None:
    through_a_tunnel = create_transport(service="gmail", host="localhost", port=10465, secure=True, rate=())
    made, _ = plan([through_a_tunnel.options, B], pool=True)
    first = made.relays[0].options
    assert (first.host, first.port, first.rate, first.pool) == ("localhost", 10465, (), True)


def test_what_ready_options_do_not_say_is_said_for_all() -> None:
    made, _ = plan([Options(host="a.example.org")], tls={"min_version": "TLSv1.3"}, max_connections=3)
    first = made.relays[0].options
    assert (first.tls.min_version, first.max_connections) == ("TLSv1.3", 3)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize(("name", "value"), [("service", "gmail"), ("maxConnections", 3), ("hots", "x")])
def test_ready_options_are_changed_by_nothing_that_would_be_lost(
    name: str, value: object, several: bool
) -> None:
    ready = Options(host="a.example.org")
    with pytest.raises(ConfigurationError, match=name) as caught:
        create_transport([ready] if several else ready, **{name: value})
    assert caught.value.option == name

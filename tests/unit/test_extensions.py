"""What a message asks of the server: checked when the message is made, and written as the standards have it."""

from __future__ import annotations

import datetime
import pickle
from typing import Any

import pytest

from mailpool import DeadlineExceeded, MessageError, UnsupportedByServer
from mailpool.message import Message, Sealed, seal
from mailpool.smtp import commands
from mailpool.smtp.capabilities import Capabilities
from mailpool.smtp.commands import InvalidCommand
from mailpool.smtp.transaction import Transaction, prepare

NOW = datetime.datetime(2026, 1, 5, 12, 0, tzinfo=datetime.UTC)
EVERYTHING = {
    "DSN": "",
    "REQUIRETLS": "",
    "MT-PRIORITY": "MIXER",
    "DELIVERBY": "",
    "FUTURERELEASE": "",
    "SMTPUTF8": "",
    "8BITMIME": "",
}


def sealed(to: Any = "b@example.org", defaults: dict[str, Any] | None = None, **fields: Any) -> Sealed:
    message = {"from": "a@example.org", "to": to, "text": "x", **fields}
    return seal(message, now=NOW, token=lambda: "t" * 32, defaults=defaults)


def transaction(message: Sealed, offered: dict[str, str] | None = None, waited: float = 0.0) -> Transaction:
    envelope = message.envelope
    capabilities = Capabilities(EVERYTHING if offered is None else offered)
    return prepare(
        envelope.sender, envelope.recipients, message.content, capabilities, None, message.extensions, waited
    )


def lines(message: Sealed, offered: dict[str, str] | None = None, waited: float = 0.0) -> list[str]:
    """What MAIL and the RCPTs say after their address."""
    said = transaction(message, offered, waited).commands[:-1]
    return [line.decode().removesuffix("\r\n").partition(">")[2] for line in said]


class TestNotifications:
    @pytest.mark.parametrize(
        ("dsn", "mail", "rcpt"),
        [
            ({"notify": "never"}, "", " NOTIFY=NEVER"),
            ({"notify": ["delay", "success"]}, "", " NOTIFY=SUCCESS,DELAY"),
            ({"notify": ("FAILURE",), "return": "headers"}, " RET=HDRS", " NOTIFY=FAILURE"),
            ({"return": "HDRS"}, " RET=HDRS", ""),
            ({"return": "full", "envid": "order-17"}, " RET=FULL ENVID=order-17", ""),
            ({"orcpt": True}, "", " ORCPT=rfc822;b@example.org"),
            ({"orcpt": "c@example.org"}, "", " ORCPT=rfc822;c@example.org"),
            ({"orcpt": "x400;/c=us/"}, "", " ORCPT=x400;/c+3Dus/"),
            ({"orcpt": "ü@example.org"}, "", " ORCPT=utf-8;\\x{FC}@example.org"),
            ({"orcpt": "UTF-8;a+ü@example.org"}, "", " ORCPT=utf-8;a\\x{2B}\\x{FC}@example.org"),
        ],
    )
    def test_as_they_are_written(self, dsn: dict[str, Any], mail: str, rcpt: str) -> None:
        assert lines(sealed(dsn=dsn)) == [mail, rcpt]

    @pytest.mark.rule("INJ-08")
    @pytest.mark.parametrize(
        ("given", "written"),
        [
            ("a b", "a+20b"),
            ("a=b", "a+3Db"),
            ("a+b", "a+2Bb"),
            ("+0D+0A", "+2B0D+2B0A"),
            ("a NOTIFY=NEVER", "a+20NOTIFY+3DNEVER"),
            ("a> SIZE=1", "a>+20SIZE+3D1"),
        ],
    )
    def test_inj08_what_could_end_a_parameter_is_encoded(self, given: str, written: str) -> None:
        assert lines(sealed(dsn={"envid": given})) == [f" ENVID={written}", ""]
        assert lines(sealed(dsn={"orcpt": f"rfc822;{given}"})) == ["", f" ORCPT=rfc822;{written}"]

    @pytest.mark.rule("INJ-08")
    @pytest.mark.parametrize(
        "bad", ["a\r\nRSET", "a\nb", "a\rb", "a\0b", "a\x7fb", "a\tb", "\u2028", "\ud800", ""]
    )
    def test_inj08_control_characters_are_refused(self, bad: str) -> None:
        for dsn, field in (
            ({"envid": bad}, "dsn.envid"),
            ({"orcpt": bad}, "dsn.orcpt"),
            ({"orcpt": f"utf-8;{bad}"}, "dsn.orcpt"),
            ({"recipients": {"b@example.org": {"orcpt": f"rfc822;{bad}"}}}, "dsn.recipients.orcpt"),
        ):
            with pytest.raises(MessageError) as caught:
                sealed(dsn=dsn)
            assert caught.value.field == field

    @pytest.mark.rule("INJ-08")
    @pytest.mark.parametrize(
        "dsn", [{"envid": "ä"}, {"orcpt": "rfc822;ü@x.org"}, {"orcpt": "ü;x"}, {"envid": "\u760a"}]
    )
    def test_inj08_what_is_not_ascii_has_no_place_there(self, dsn: dict[str, Any]) -> None:
        if dsn == {"orcpt": "ü;x"}:  # no type: an address with a semicolon in it
            assert lines(sealed(dsn=dsn)) == ["", " ORCPT=utf-8;\\x{FC};x"]
            return
        with pytest.raises(MessageError, match="ASCII"):
            sealed(dsn=dsn)

    def test_what_is_too_long(self) -> None:
        assert lines(sealed(dsn={"envid": "e" * 100}))[0] == f" ENVID={'e' * 100}"
        assert lines(sealed(dsn={"envid": "=" * 33}))[0] == f" ENVID={'+3D' * 33}"
        for dsn in ({"envid": "e" * 101}, {"envid": "=" * 34}, {"orcpt": "x" * 494}, {"orcpt": "ü" * 60}):
            with pytest.raises(MessageError):
                sealed(dsn=dsn)

    @pytest.mark.rule("INJ-09")
    @pytest.mark.parametrize(
        "notify",
        [
            "",
            [],
            ["never", "delay"],
            ["sometimes"],
            "success,failure",
            "NEVER\r\nRSET",
            7,
            [None],
            {"delay": 1, "x": 2},
        ],
    )
    def test_inj09_what_is_no_wish_for_notifications(self, notify: Any) -> None:
        for dsn in ({"notify": notify}, {"recipients": {"b@example.org": {"notify": notify}}}):
            with pytest.raises(MessageError, match="notify"):
                sealed(dsn=dsn)

    @pytest.mark.rule("INJ-09")
    @pytest.mark.parametrize("bad", ["", "body", "FULL\r\nRSET", "hdrs ", True, 1, ["full"]])
    def test_inj09_what_can_not_be_returned(self, bad: Any) -> None:
        with pytest.raises(MessageError) as caught:
            sealed(dsn={"return": bad})
        assert caught.value.field == "dsn.return"

    @pytest.mark.rule("INJ-09")
    def test_inj09_small_letters_and_repetitions_are_put_right(self) -> None:
        dsn = {"notify": ["Delay", "FAILURE", "delay"], "return": "Full"}
        assert lines(sealed(dsn=dsn)) == [" RET=FULL", " NOTIFY=FAILURE,DELAY"]

    def test_each_recipient_may_have_its_own(self) -> None:
        dsn = {
            "notify": "failure",
            "orcpt": True,
            "recipients": {"C@Example.ORG": {"notify": "never"}, "ü@example.org": {"orcpt": True}},
        }
        message = sealed(["b@example.org", "C@example.org", "ü@example.org"], dsn=dsn)
        assert lines(message)[1:] == [
            " NOTIFY=FAILURE ORCPT=rfc822;b@example.org",
            " NOTIFY=NEVER",
            " ORCPT=utf-8;\\x{FC}@example.org",
        ]

    @pytest.mark.parametrize(
        ("dsn", "field"),
        [
            ("failure", "dsn"),
            (True, "dsn"),
            ({"ret": "HDRS"}, "ret"),
            ({"recipients": ["b@example.org"]}, "dsn.recipients"),
            ({"recipients": {"x@example.org": {}}}, "dsn.recipients"),
            ({"recipients": {"no address": {}}}, "dsn.recipients"),
            ({"recipients": {7: {}}}, "dsn.recipients"),
            ({"recipients": {"b@example.org": "never"}}, "dsn.recipients"),
            ({"recipients": {"b@example.org": {"envid": "x"}}}, "envid"),
        ],
    )
    def test_what_makes_no_sense(self, dsn: Any, field: str) -> None:
        with pytest.raises(MessageError) as caught:
            sealed(dsn=dsn)
        assert caught.value.field == field

    def test_one_original_address_is_not_that_of_all(self) -> None:
        with pytest.raises(MessageError, match="whose it is"):
            sealed(["b@example.org", "c@example.org"], dsn={"orcpt": "d@example.org"})

    @pytest.mark.parametrize("dsn", [None, False, {}, {"notify": None}])
    def test_nothing_is_asked(self, dsn: Any) -> None:
        message = sealed(dsn=dsn)
        assert message.extensions is None
        assert lines(message, {}) == ["", ""]


class TestTheOthers:
    @pytest.mark.parametrize(
        ("fields", "mail"),
        [
            ({"require_tls": True}, " REQUIRETLS"),
            ({"require_tls": False}, ""),
            ({"mt_priority": -9}, " MT-PRIORITY=-9"),
            ({"mt_priority": 0}, " MT-PRIORITY=0"),
            ({"deliver_by": 60}, " BY=60;R"),
            ({"deliver_by": {"seconds": 60, "otherwise": "notify", "trace": True}}, " BY=60;NT"),
            ({"hold_for": 86_400}, " HOLDFOR=86400"),
            ({"hold_until": NOW}, " HOLDUNTIL=2026-01-05T12:00:00Z"),
            ({"hold_until": "2026-01-05T12:00:00.5+02:00"}, " HOLDUNTIL=2026-01-05T10:00:00Z"),
            ({"hold_until": "0099-01-05T12:00:00Z"}, " HOLDUNTIL=0099-01-05T12:00:00Z"),
        ],
    )
    def test_as_they_are_written(self, fields: dict[str, Any], mail: str) -> None:
        assert lines(sealed(**fields)) == [mail, ""]

    @pytest.mark.rule("INJ-10")
    @pytest.mark.parametrize(
        "fields",
        [
            {"require_tls": 1},
            {"require_tls": "yes"},
            {"mt_priority": 10},
            {"mt_priority": "3\r\nRSET"},
            {"mt_priority": True},
            {"deliver_by": 0},
            {"deliver_by": -1},
            {"deliver_by": 1.5},
            {"deliver_by": "60;R\r\nRSET"},
            {"deliver_by": 1_000_000_000},
            {"deliver_by": {}},
            {"deliver_by": {"seconds": 60, "otherwise": "R\r\n"}},
            {"deliver_by": {"seconds": 60, "trace": "T"}},
            {"deliver_by": {"seconds": 60, "mode": "R"}},
            {"hold_for": 0},
            {"hold_for": "60"},
            {"hold_for": 10_000_000_000},
            {"hold_until": NOW.replace(tzinfo=None)},
            {"hold_until": "tomorrow\r\nRSET"},
            {"hold_until": 60},
            {
                "hold_until": datetime.datetime.max.replace(
                    tzinfo=datetime.timezone(datetime.timedelta(hours=-1))
                )
            },
            {"hold_for": 60, "hold_until": NOW},
            {"optional_extensions": {"REQUIRETLS"}},
            {"optional_extensions": "X-MINE"},
            {"optional_extensions": 7},
            {"mail_options": ["RET=FULL\r\nRSET"]},
            {"rcpt_options": ["NOTIFY=NEVER SIZE=1"]},
        ],
    )
    def test_inj10_what_no_server_is_told(self, fields: dict[str, Any]) -> None:
        with pytest.raises(MessageError) as caught:
            sealed(**fields)
        assert str(caught.value.field).partition(".")[0] in (*fields, "mode")

    @pytest.mark.rule("INJ-10")
    def test_inj10_nothing_unchecked_reaches_the_wire(self) -> None:
        """Whoever makes the value by hand, past all checks, is stopped at the last place."""
        message = sealed(dsn={"return": "full"})
        object.__setattr__(message.extensions.dsn, "ret", "FULL\r\nRSET")
        with pytest.raises(InvalidCommand):
            transaction(message)
        with pytest.raises(InvalidCommand):
            commands.rcpt("b@example.org", " NOTIFY=NEVER\r\nRSET")


class TestWhatTheServerLacks:
    @pytest.mark.parametrize(
        ("fields", "keyword"),
        [
            ({"dsn": {"notify": "never"}}, "DSN"),
            ({"dsn": {"return": "full"}}, "DSN"),
            ({"mt_priority": 3}, "MT-PRIORITY"),
            ({"deliver_by": 60}, "DELIVERBY"),
            ({"hold_for": 60}, "FUTURERELEASE"),
            ({"hold_until": NOW}, "FUTURERELEASE"),
        ],
    )
    def test_is_an_error_unless_the_message_can_do_without(
        self, fields: dict[str, Any], keyword: str
    ) -> None:
        others = {name: value for name, value in EVERYTHING.items() if name != keyword}
        with pytest.raises(UnsupportedByServer, match=keyword) as caught:
            transaction(sealed(**fields), others)
        assert not caught.value.temporary
        # What another one may lack helps nothing.
        with pytest.raises(UnsupportedByServer, match=keyword):
            transaction(
                sealed(**fields, optional_extensions={"DSN", "DELIVERBY", "MT-PRIORITY"} - {keyword}), others
            )
        assert lines(sealed(**fields, optional_extensions=[keyword.lower()]), others) == ["", ""]
        assert lines(sealed(**fields, optional_extensions=keyword)) == lines(sealed(**fields))

    @pytest.mark.rule("TLS-11")
    @pytest.mark.parametrize("offered", [{}, {"REQUIRETLSX": ""}, {"STARTTLS": "REQUIRETLS"}])
    def test_tls11_requiretls_that_is_not_offered(self, offered: dict[str, str]) -> None:
        with pytest.raises(UnsupportedByServer, match="REQUIRETLS"):
            transaction(sealed(require_tls=True), offered)

    @pytest.mark.parametrize(
        ("fields", "offer", "words"),
        [
            ({"deliver_by": 59}, {"DELIVERBY": "60"}, "less than 60 s"),
            ({"hold_for": 61}, {"FUTURERELEASE": "60 2026-01-05T12:00:00Z"}, "for 60 s at most"),
            (
                {"hold_until": NOW + datetime.timedelta(seconds=1)},
                {"FUTURERELEASE": "60 2026-01-05T12:00:00Z"},
                "until",
            ),
        ],
    )
    def test_its_bounds(self, fields: dict[str, Any], offer: dict[str, str], words: str) -> None:
        with pytest.raises(UnsupportedByServer, match=words):
            transaction(sealed(**fields), offer)

    @pytest.mark.parametrize(
        ("fields", "offer"),
        [
            ({"deliver_by": 60}, {"DELIVERBY": "60"}),
            ({"deliver_by": {"seconds": 1, "otherwise": "notify"}}, {"DELIVERBY": "60"}),
            ({"deliver_by": 1}, {"DELIVERBY": "nonsense"}),
            ({"hold_for": 60}, {"FUTURERELEASE": "60 2026-01-05T12:00:00Z"}),
            ({"hold_for": 61}, {"FUTURERELEASE": ""}),
            ({"hold_until": NOW}, {"FUTURERELEASE": "60 2026-01-05T12:00:00Z"}),
            ({"hold_until": NOW}, {"FUTURERELEASE": "60 2025-01-05T12:00:00"}),
            ({"hold_until": NOW}, {"FUTURERELEASE": "60 never"}),
        ],
    )
    def test_what_is_within_them(self, fields: dict[str, Any], offer: dict[str, str]) -> None:
        assert lines(sealed(**fields), offer)[0]

    def test_the_time_to_deliver_runs_while_the_message_waits(self) -> None:
        message = sealed(deliver_by=60)
        assert lines(message, waited=9.5) == [" BY=50;R", ""]
        for waited in (59.5, 60.0, 3_600.0):
            with pytest.raises(DeadlineExceeded, match="60 s"):
                transaction(message, waited=waited)
        patient = sealed(deliver_by={"seconds": 60, "otherwise": "notify"})
        assert lines(patient, waited=61) == [" BY=-1;N", ""]


WISHES: dict[str, Any] = {"require_tls": True, "dsn": {"return": "headers"}}


class TestWhereTheyComeFrom:
    def test_a_message_object(self) -> None:
        message = Message(from_="a@example.org", to="b@example.org", text="x", **WISHES)
        assert lines(seal(message, now=NOW, token=lambda: "t"))[0] == " RET=HDRS REQUIRETLS"

    @pytest.mark.parametrize("own", [{}, {"dsn": None}, {"dsn": {"return": "full"}}])
    def test_defaults_hold_for_every_kind_of_message(self, own: dict[str, Any]) -> None:
        from email.message import EmailMessage

        raw = {"raw": b"Subject: x\r\n\r\n", "envelope": {"from": "", "to": "b@example.org"}, **own}
        ret = {"{}": " RET=HDRS", "{'dsn': None}": ""}.get(str(own), " RET=FULL")
        for message in ({"from": "a@example.org", "to": "b@example.org", **own}, raw):
            done = seal(message, now=NOW, token=lambda: "t", defaults=WISHES)
            assert lines(done)[0] == f"{ret} REQUIRETLS"
        stdlib = EmailMessage()
        stdlib["From"], stdlib["To"] = "a@example.org", "b@example.org"
        stdlib.set_content("x")
        done = seal(stdlib, now=NOW, token=lambda: "t", defaults=WISHES)
        assert lines(done)[0] == " RET=HDRS REQUIRETLS"

    def test_they_stay_with_a_message_that_is_changed_or_kept(self) -> None:
        message = sealed(**WISHES)
        for same in (
            message.with_header("X-One", "1"),
            message.with_content(b"Subject: y\r\n\r\n"),
            pickle.loads(pickle.dumps(message)),
        ):
            assert same.extensions == message.extensions
            assert lines(same)[0] == " RET=HDRS REQUIRETLS"

    def test_they_have_a_hash(self) -> None:
        assert len({sealed(**WISHES).extensions, sealed(**WISHES).extensions}) == 1


@pytest.mark.parametrize(
    ("fields", "hint"),
    [
        ({"requireTLSExtensionEnabled": True}, "'require_tls'"),
        ({"dsn": {"ret": "HDRS"}}, "'return'"),
        ({"dsn": {"id": "1"}}, "'envid'"),
        ({"holdFor": 60}, "'hold_for'"),
    ],
)
def test_names_from_elsewhere(fields: dict[str, Any], hint: str) -> None:
    with pytest.raises(MessageError, match=hint):
        sealed(**fields)

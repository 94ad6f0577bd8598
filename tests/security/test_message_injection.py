"""Nothing that a field holds can start a header, end the header, or reach another recipient."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from mailpool.errors import MessageError
from mailpool.message import seal

NOW = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)
BREAKS = ["\r\n", "\r", "\n", "\r\n ", "\n\t", "\n\n", "\r\n\r\n", "\0"]
GOOD: dict[str, Any] = {"from": "a@x.example", "to": "b@y.example"}


def octets(fields: dict[str, Any]) -> bytes:
    return b"".join(seal(fields, now=NOW, token=lambda: "0123").content.blocks())


@pytest.mark.rule("HDR-01")
@pytest.mark.parametrize("line_break", BREAKS)
@pytest.mark.parametrize(
    ("field", "make"),
    [
        ("subject", lambda evil: evil),
        ("subject", lambda evil: "é" + evil),
        ("from", lambda evil: f"{evil} <a@x>"),
        ("from", lambda evil: (evil, "a@x")),
        ("sender", lambda evil: (evil, "a@x")),
        ("to", lambda evil: {"name": evil, "address": "a@x"}),
        ("to", lambda evil: {"name": "", "address": f"a@x{evil}"}),
        ("cc", lambda evil: [f"a@x{evil}"]),
        ("bcc", lambda evil: f"a@x, {evil}"),
        ("reply_to", lambda evil: ("é" + evil, "a@x")),
        ("message_id", lambda evil: f"<a@x{evil}>"),
        ("in_reply_to", lambda evil: f"<a@x>{evil}"),
        ("references", lambda evil: ["<a@x>", evil]),
        ("date", lambda evil: f"Mon, 05 Jan 2026 00:00:00 +0000{evil}"),
        ("priority", lambda evil: f"high{evil}"),
        ("headers", lambda evil: {"X-A": evil}),
        ("headers", lambda evil: {"X-A": ["ok", "é" + evil]}),
        ("headers", lambda evil: {"X-A" + evil: "v"}),
        ("headers", lambda evil: {"Subject": evil}),
        ("headers", lambda evil: {"Cc": f"a@x{evil}"}),
    ],
)
def test_a_line_break_in_a_header_is_refused(field: str, make: Any, line_break: str) -> None:
    with pytest.raises(MessageError) as caught:
        octets(GOOD | {field: make(f"x{line_break}Evil: 1")})
    assert caught.value.field
    assert str(caught.value).isprintable()


@pytest.mark.rule("HDR-03")
@pytest.mark.parametrize("value", ["a\nb", "a\n.\nb", "a\n\nb", "a\r\n\r\nb", "\na", "a\n", "a\r\n b"])
def test_no_line_break_passes_in_a_custom_value(value: str) -> None:
    with pytest.raises(MessageError):
        octets(GOOD | {"headers": {"X-A": value}})


@pytest.mark.rule("HDR-02")
@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a:", "a:b", "a\x7f", "a\0", "é", "a\r\n", "a\tb", "x" * 77, 5, None]
)
def test_a_name_of_a_header_is_printable_ascii(name: Any) -> None:
    with pytest.raises(MessageError) as caught:
        octets(GOOD | {"headers": {name: "v"}})
    assert caught.value.field == "headers"


@pytest.mark.parametrize(
    "char", ["\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\x1b", "\x7f"]
)
def test_other_line_separators_are_never_raw(char: str) -> None:
    """Some parsers end a line at these; encoded they are text."""
    data = octets(
        GOOD
        | {
            "subject": f"a{char}b",
            "headers": {"X-A": f"a{char}b"},
            "attachments": [{"content": b"", "filename": f"a{char}b"}],
        }
    )
    assert char.encode() not in data


@pytest.mark.rule("HDR-10")
@pytest.mark.parametrize(
    "name",
    ["<b@evil.example>", "b@evil.example,", 'x" <b@evil.example>, "', "(", "\\", "a: b;", "\u202eevil"],
)
def test_a_name_cannot_become_an_address(name: str) -> None:
    import email.policy
    from email.parser import BytesParser

    message = BytesParser(policy=email.policy.default).parsebytes(
        octets(GOOD | {"to": [(name, "b@y.example")]})
    )
    assert [(a.display_name, a.addr_spec) for a in message["to"].addresses] == [(name, "b@y.example")]


@pytest.mark.rule("FIL-03")
def test_a_path_is_a_regular_file_or_an_error(tmp_path: Any) -> None:
    import os

    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, tmp_path, "/dev/zero", f"file://{tmp_path}", "http://127.0.0.1/"):
        with pytest.raises(MessageError, match="path"):
            octets(GOOD | {"attachments": [{"path": path}]})


@pytest.mark.rule("HDR-16")
def test_many_headers_and_many_attachments_take_linear_time() -> None:
    headers = {f"X-{n}": "v" for n in range(20_000)}
    attachments = [{"content": b"x"} for _ in range(5_000)]
    assert octets(GOOD | {"headers": headers, "attachments": attachments}).count(b"\r\nX-") == 20_000


@pytest.mark.rule("DOS-03")
def test_surrogates_alone_end() -> None:
    assert octets(GOOD | {"subject": "\ud800" * 10_000})

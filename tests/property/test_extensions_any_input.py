"""Whatever a message asks for, it is refused with the field's name, or a strict server reads exactly what was meant."""

from __future__ import annotations

import datetime
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpool import MessageError
from mailpool.message import seal
from mailpool.smtp.capabilities import Capabilities
from mailpool.smtp.transaction import prepare
from mailpool.testing.syntax import parse_mail, parse_rcpt

NOW = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)
OFFERED = dict.fromkeys(
    ["DSN", "REQUIRETLS", "MT-PRIORITY", "DELIVERBY", "FUTURERELEASE", "SMTPUTF8", "8BITMIME"], ""
)
TEXT = st.text(
    st.characters(categories=["Cc", "Cs", "L", "P", "S", "Z"]) | st.sampled_from("\r\n\0 =+;<>\\"),
    max_size=20,
)
JUNK = TEXT | st.integers() | st.none() | st.booleans() | st.lists(TEXT, max_size=2) | st.floats()
NOTIFY = st.sampled_from(["never", "Success", "FAILURE", "delay"]) | JUNK
DSN = st.fixed_dictionaries(
    {},
    optional={
        "notify": NOTIFY | st.lists(NOTIFY, max_size=3),
        "return": st.sampled_from(["full", "Headers"]) | JUNK,
        "envid": JUNK,
        "orcpt": JUNK | TEXT.map("rfc822;{}".format) | TEXT.map("utf-8;{}".format),
    },
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "dsn": DSN | JUNK,
        "require_tls": JUNK,
        "mt_priority": st.integers(-10, 10) | JUNK,
        "deliver_by": st.integers(1, 100) | JUNK,
        "hold_for": st.integers(1, 100) | JUNK,
        "hold_until": st.datetimes(timezones=st.timezones() | st.none()) | JUNK,
        "optional_extensions": JUNK,
    },
)


def from_xtext(text: str) -> str:
    return re.sub(r"\+([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), text)


def from_utf8_address(text: str) -> str:
    return re.sub(r"\\x\{([0-9A-F]{2,6})\}", lambda found: chr(int(found[1], 16)), text)


@pytest.mark.rule("INJ-08")
@pytest.mark.rule("INJ-09")
@given(FIELDS)
def test_a_strict_server_reads_what_was_meant(fields: dict[str, Any]) -> None:
    message = {"from": "a@example.org", "to": "b@example.org", "text": "x", **fields}
    try:
        sealed = seal(message, now=NOW, token=lambda: "t")
    except MessageError as error:
        named = str(error.field)
    else:
        named = ""
    if named:
        assert named.partition(".")[0] in fields
        return
    t = prepare(
        "a@example.org", ["b@example.org"], sealed.content, Capabilities(OFFERED), None, sealed.extensions
    )
    mail, rcpt = (line.decode("ascii") for line in t.commands[:2])
    assert mail.endswith("\r\n")
    assert rcpt.endswith("\r\n")
    _, said = parse_mail(mail[5:-2], OFFERED)
    address, told = parse_rcpt(rcpt[5:-2], OFFERED)
    assert address == "b@example.org"
    assert ("REQUIRETLS" in said) == (fields.get("require_tls") is True)
    for name, field in (("MT-PRIORITY", "mt_priority"), ("HOLDFOR", "hold_for")):
        assert said.get(name) == (None if fields.get(field) is None else str(fields[field]))
    dsn = fields.get("dsn") or {}
    assert from_xtext(said.get("ENVID") or "") == (dsn.get("envid") or "")
    orcpt = dsn.get("orcpt")
    if isinstance(orcpt, str):
        kind, _, written = str(told["ORCPT"]).partition(";")
        read = (from_utf8_address if kind == "utf-8" else from_xtext)(written)
        assert (
            orcpt in (read, f"{kind};{read}", f"{kind.upper()};{read}")
            or orcpt.lower() == f"{kind};{read}".lower()
        )
    else:
        assert told.get("ORCPT") == ("rfc822;b@example.org" if orcpt else None)

"""Any content, cut anywhere: a strict server reads exactly its lines."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailpool.smtp.data import DotStuffer

pieces = st.one_of(
    st.sampled_from([b".", b"..", b"\r", b"\n", b"\r\n", b"\r\n.\r\n", b"a", b"\n.\n", b"\0"]),
    st.binary(max_size=6),
)
contents = st.lists(pieces, max_size=20).map(b"".join)
pytestmark = [pytest.mark.rule("DAT-01"), pytest.mark.rule("DAT-04")]


def stuff(blocks: list[bytes]) -> bytes:
    stuffer = DotStuffer()
    return b"".join([stuffer.feed(block) for block in blocks]) + stuffer.finish()


def normalise(content: bytes) -> bytes:
    """What the server is to have: every line end CRLF, the last one too."""
    content = re.sub(rb"\r\n|\r|\n", b"\n", content)
    if content and not content.endswith(b"\n"):
        content += b"\n"
    return content.replace(b"\n", b"\r\n")


def unstuff(wire: bytes) -> bytes:
    """RFC 5321 §4.5.2, octet by octet."""
    content = bytearray()
    position = 0
    while wire[position : position + 3] != b".\r\n":
        if wire[position] == ord("."):
            position += 1
        end = wire.index(b"\r\n", position) + 2
        content += wire[position:end]
        position = end
    assert position + 3 == len(wire), "the data ended early"
    return bytes(content)


@settings(deadline=None, max_examples=500)
@given(contents)
def test_a_strict_server_reads_it_back(content: bytes) -> None:
    wire = stuff([content])
    assert unstuff(wire) == normalise(content)
    assert b"\r" not in wire.replace(b"\r\n", b"")
    assert b"\n" not in wire.replace(b"\r\n", b"")


@settings(deadline=None, max_examples=300)
@given(st.lists(pieces, max_size=20))
def test_cuts_change_nothing(blocks: list[bytes]) -> None:
    whole = b"".join(blocks)
    assert stuff(blocks) == stuff([whole])
    assert stuff([whole[i : i + 1] for i in range(len(whole))]) == stuff([whole])

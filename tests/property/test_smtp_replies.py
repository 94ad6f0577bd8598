"""Whatever a server sends, and however the network cuts it: the same replies, the same violation, nothing unsafe."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailpool.results import Reply
from mailpool.smtp.replies import MAX_LINE, ReplyParser

CODES = [b"220", b"250", b"354", b"421", b"550", b"999", b"25", b""]
texts = st.one_of(st.binary(max_size=12), st.just(b"x" * 300))
lines = st.builds(
    lambda code, mark, text, end: code + mark + text + end,
    st.sampled_from(CODES),
    st.sampled_from([b" ", b"-", b"", b"x"]),
    texts,
    st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\r\n"]),
)
likely = st.builds(
    lambda code, body, last: (
        b"".join(code + b"-" + t.replace(b"\n", b"") + b"\r\n" for t in body) + code + b" " + last
    ),
    st.sampled_from([b"250", b"550"]),
    st.lists(texts, max_size=3),
    st.just(b"ok\r\n"),
)
streams = st.lists(st.one_of(lines, likely, likely), max_size=8).map(b"".join)


def parse(data: bytes, cuts: list[int]) -> tuple[list[Reply], str | None, bool]:
    parser = ReplyParser()
    replies: list[Reply] = []
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        replies += parser.feed(data[start:end])
    return replies, parser.violation, parser.violation is None and parser.has_leftover


@settings(deadline=None)
@given(st.data(), streams)
def test_any_split_gives_the_same(data: st.DataObject, stream: bytes) -> None:
    whole = parse(stream, [])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    assert parse(stream, cuts) == whole
    assert parse(stream, list(range(1, len(stream)))) == whole


@pytest.mark.rule("SRV-01")
@settings(deadline=None)
@given(st.integers(-3, 3), st.integers(-4, 4), st.sampled_from([b"\r\n", b"\n"]))
@example(0, -1, b"\r\n")
def test_any_split_of_a_line_near_the_cap(around: int, cut: int, end: bytes) -> None:
    line = b"250 " + b"x" * (MAX_LINE - 4 + around) + end
    whole = parse(line, [])
    assert (whole[1] is None) == (around <= 0)
    assert parse(line, [len(line) + min(cut, 0)]) == whole
    assert parse(line, [max(cut, 0)]) == whole


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(200, 599), st.lists(texts, min_size=1, max_size=4)), max_size=6))
def test_what_was_written_is_read(replies: list[tuple[int, list[bytes]]]) -> None:
    """An independent writer of replies: each comes back octet for octet, and nothing else does."""
    wire, expected = b"", []
    for code, body in replies:
        clean = [text.replace(b"\n", b"").rstrip(b"\r") for text in body]
        for i, text in enumerate(clean):
            wire += b"%d%s%s\r\n" % (code, b" " if i == len(clean) - 1 else b"-", text)
        expected.append(Reply(code, tuple(clean)))
    assert parse(wire, []) == (expected, None, False)


@pytest.mark.rule("SRV-05")
@settings(deadline=None)
@given(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(lambda t: t.encode("utf-8", "replace"))))
def test_no_text_drives_a_terminal_or_breaks_a_log_line(raw: bytes) -> None:
    reply = Reply(550, (raw, raw))
    for shown in (str(reply), repr(reply), *reply.lines):
        assert not any(unicodedata.category(char) == "Cc" for char in shown)
        assert len(shown.splitlines()) <= 1
    assert reply.text.count("\n") == 1

"""Whatever the less usual fields hold, readers get it back."""

from __future__ import annotations

import datetime
import email.policy
import html
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailpool.errors import MessageError
from mailpool.message import Sealed, seal

NOW = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)
LINES = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r"), max_size=300),
    st.text("ab =.\n\t-_éя>", max_size=300),
    st.builds(
        lambda text, times: text * times, st.text("ab é\n", min_size=1, max_size=40), st.integers(1, 60)
    ),
)
FLOWED = st.one_of(
    LINES,
    st.lists(st.sampled_from(["word", "> ", ">", " ", "  ", "\n", "-- ", "From ", "x" * 90, "é", "."]), max_size=60).map("".join),
)  # fmt: skip
ENCODINGS = st.sampled_from([None, "quoted-printable", "base64"])


def sealed(**fields: Any) -> Sealed:
    return seal(
        {"from": "a@x.example", "to": "b@y.example"} | fields, now=NOW, token=lambda: "0123456789abcdef"
    )


def parsed(result: Sealed) -> EmailMessage:
    data = b"".join(result.content.blocks())
    lines = data.split(b"\r\n")
    assert max(map(len, lines)) <= 998
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    assert all(line.strip() for line in data.partition(b"\r\n\r\n")[0].split(b"\r\n"))
    assert data.isascii() or result.content.eight_bit
    return BytesParser(EmailMessage, policy=email.policy.default).parsebytes(data)


def texts(message: EmailMessage) -> dict[str, str]:
    leaves = [part for part in message.walk() if not part.is_multipart()]
    return {part.get_content_type(): part.get_payload(decode=True).decode() for part in leaves}


def read_flowed(text: str) -> list[tuple[int, str]]:
    """RFC 3676 §4.1, written anew: paragraphs with their depth of quotation."""
    paragraphs: list[tuple[int, str]] = []
    goes_on = False
    for line in text.split("\r\n"):
        rest = line.lstrip(">")
        depth = len(line) - len(rest)
        rest = rest.removeprefix(" ")
        if goes_on and paragraphs[-1][0] == depth and rest != "-- ":
            paragraphs[-1] = depth, paragraphs[-1][1] + rest
        else:
            paragraphs.append((depth, rest))
        goes_on = rest.endswith(" ") and rest != "-- "
    return paragraphs


@given(FLOWED, ENCODINGS)
@settings(max_examples=400)
@example("a " * 37 + "-- " + "x" * 80, None)
@example("> " + "a " * 36 + "-- " + "x" * 80, None)
@example(" " * 200 + "x", None)
@example(">" * 90 + " a b", None)
def test_flowed_text_is_read_as_it_was_written(text: str, encoding: str | None) -> None:
    result = sealed(text=text, html="h", text_format="flowed", encoding=encoding)
    message = parsed(result)
    expected = []
    for line in text.split("\n"):
        depth = len(line) - len(line.lstrip(">"))
        rest = line.rstrip(" ").lstrip(">").removeprefix(" ") if depth else line.rstrip(" ")
        expected.append((depth, "-- " if line == "-- " else rest))
    written = texts(message)["text/plain"]
    assert read_flowed(written) == expected
    for line in written.split("\r\n"):
        assert len(line) <= 78 or " " not in line.strip("> ").removeprefix("-- ")


@given(LINES, LINES, LINES, st.sampled_from([None, "Q", "B"]), ENCODINGS)
@settings(max_examples=200)
def test_every_alternative_comes_back(
    text: str, amp: str, event: str, words: str | None, encoding: str | None
) -> None:
    result = sealed(
        text=text, amp=amp, calendar=event, alternatives=[{"content_type": "text/x", "content": text}],
        text_encoding=words, encoding=encoding,
    )  # fmt: skip
    read = texts(parsed(result))
    shown = {
        "text/plain": text,
        "text/x-amp-html": amp,
        "text/calendar": event,
        "application/ics": event,
        "text/x": text,
    }
    assert read == {kind: content.replace("\n", "\r\n") for kind, content in shown.items()}


@given(st.lists(st.text("ab \t\r\n:é\0\x7f;=?", max_size=40), max_size=4))
@settings(max_examples=300)
@pytest.mark.rule("HDR-03")
def test_prepared_values_are_one_header_or_an_error(values: list[str]) -> None:
    try:
        result = sealed(headers={"X-A": [{"prepared": value} for value in values]})
    except MessageError:
        return
    message = parsed(result)
    read = [" ".join(value.split()) for value in message.get_all("X-A", [])]
    assert read == [" ".join(value.split()) for value in values]
    assert len(message.keys()) == 7 + len(values)


@given(
    st.lists(
        st.tuples(st.binary(min_size=1, max_size=60), st.sampled_from(["gif", "png", "svg+xml"])), max_size=4
    ),
    st.data(),
)
@pytest.mark.rule("DOS-01")
def test_images_in_html_come_back(images: list[tuple[bytes, str]], data: st.DataObject) -> None:
    import base64
    from urllib.parse import quote

    pieces = []
    for octets, kind in images:
        plain = data.draw(st.booleans())
        value = quote(octets, safe="") if plain else base64.b64encode(octets).decode()
        marks = data.draw(st.sampled_from(['"', "'", ""]))
        uri = html.escape(f"data:image/{kind}{'' if plain else ';base64'},{value}")
        pieces.append(f"<IMG alt={marks}x{marks} src={marks}{uri}{marks}>")
    message = parsed(sealed(html="<p>".join(pieces), attach_data_urls=True))
    leaves = [part for part in message.walk() if not part.is_multipart()]
    page = leaves[0].get_payload(decode=True).decode()
    found = {
        part["content-id"]: (part.get_payload(decode=True), part.get_content_subtype()) for part in leaves[1:]
    }
    assert len(found) == len(set(images))
    shown = [found[f"<{piece.rstrip('>').strip(chr(34)).strip(chr(39))}>"] for piece in
             (part.split("src=")[1].strip("'\"").removeprefix("cid:") for part in page.split("<p>") if part.strip())]  # fmt: skip
    assert shown == images

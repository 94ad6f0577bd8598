"""Letters to many: what is filled in where, what is refused by name, and what is prepared only once."""

from __future__ import annotations

import dataclasses
import datetime
import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailpool import create_transport
from mailpool.errors import AddressError, MessageError
from mailpool.message import Attachment, MailMerge, Markup, Merged, Message, Sealed, seal
from mailpool.message.merge import plan as plans
from mailpool.message.merge.pattern import Pattern
from mailpool.options.access import Access

NOW = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)
FROM = {"from": "News <n@x.example>"}


def sealed(merged: Merged, **more: Any) -> Sealed:
    return merged.sealed(now=NOW, token=lambda: "0123456789abcdef", **more)


def octets(merged: Merged, **more: Any) -> bytes:
    return b"".join(sealed(merged, **more).content.blocks())


@pytest.fixture
def composings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One item for each message that was composed to prepare a letter."""
    if not str(plans.__file__).endswith(".py"):
        pytest.skip("in a compiled wheel nothing can be put in the place of a function")
    seen: list[int] = []
    composed = plans.composed

    def counting(*arguments: Any) -> Any:
        seen.append(1)
        return composed(*arguments)

    monkeypatch.setattr(plans, "composed", counting)
    return seen


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("a", "a"),
        ("{n}", "V"),
        ("{n}{n} {m}", "VV W"),
        ("{{n}}", "{n}"),
        ("{{{n}}}", "{V}"),
        ("}}{{", "}{"),
        ("p {{ color: red }} {n}", "p { color: red } V"),
        ("{first name} {Straße} {a-b} {_1}", "F S A U"),
    ],
)
def test_pattern(text: str, shown: str) -> None:
    values = {"n": "V", "m": "W", "first name": "F", "Straße": "S", "a-b": "A", "_1": "U"}
    assert Pattern(text, "text", "text").filled(values) == shown


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "}",
        "{}",
        "{ n}",
        "{n }",
        "{n.a}",
        "{n[0]}",
        "{n!r}",
        "{n:>9}",
        "{0.x}",
        "{a  b}",
        "{a{b}}",
        "{n\n}",
        "{{n}",
        "{n}}",
    ],
)
@pytest.mark.parametrize("field", ["subject", "text", "html"])
def test_what_is_no_placeholder_is_refused(text: str, field: str) -> None:
    with pytest.raises(MessageError, match=field) as caught:
        MailMerge({**FROM, field: text})
    assert caught.value.field == field


def test_a_value_is_never_a_placeholder() -> None:
    letter = MailMerge({**FROM, "text": "{a} {b}"})
    assert letter.fill(a="{b}", b="{a}").fields()["text"] == "{b} {a}"


def test_names_are_told() -> None:
    letter = MailMerge(
        {**FROM, "subject": "{a}", "text": "{b}", "html": "{c}", "headers": {"X-A": ["{d}", "{a}"]}}
    )
    assert letter.names == {"a", "b", "c", "d"}
    assert repr(letter) == "<MailMerge of a, b, c, d>"


def test_a_missing_value_and_one_too_many_are_named() -> None:
    letter = MailMerge({**FROM, "text": "{name} {city}"})
    with pytest.raises(MessageError, match=r"\{city\}") as caught:
        letter.fill(to="a@b.example", name="A")
    assert caught.value.field == "city"
    with pytest.raises(MessageError, match=r"\{citi\}.*city, name") as caught:
        letter.fill(to="a@b.example", name="A", citi="B")
    assert caught.value.field == "citi"


def test_a_row_may_hold_more_than_the_letter_asks_for() -> None:
    letter = MailMerge({**FROM, "text": "{name} {number}"})
    row = {"name": "A", "email": "a@b.example"}
    merged = letter.fill(row, to=row["email"], number=7)
    assert merged.fields()["text"] == "A 7"
    assert (merged.to, merged.values) == ("a@b.example", {"name": "A", "number": 7})


@pytest.mark.parametrize("value", [None, 1.5, True, b"x", ["x"], object()])
def test_a_value_is_text_or_a_whole_number(value: Any) -> None:
    """Found when it is sealed, so that one bad row does not end a batch."""
    merged = MailMerge({**FROM, "text": "{name}"}).fill(to="a@b.example", name=value)
    with pytest.raises(MessageError, match=r"\{name\}.*" + type(value).__name__) as caught:
        sealed(merged)
    assert caught.value.field == "name"


def test_an_address_that_is_none_is_an_error_of_that_message() -> None:
    merged = MailMerge({**FROM, "text": "t"}).fill(to="broken")
    with pytest.raises(AddressError, match="to: "):
        sealed(merged)


@pytest.mark.parametrize("name", ["to", "cc", "bcc", "reply_to", "envelope"])
def test_names_of_fields_are_no_names_of_values(name: str) -> None:
    with pytest.raises(MessageError, match=f"{{{name}}}"):
        MailMerge({**FROM, "text": f"{{{name}}}"})


@pytest.mark.parametrize(
    ("letter", "field"),
    [
        ({"raw": b"x", "envelope": {"from": "", "to": "a@b"}}, "raw"),
        ({**FROM, "message_id": "<a@b>"}, "message_id"),
        ({**FROM, "text": b"bytes"}, "text"),
        ({**FROM, "html": {"path": "x.html"}}, "html"),
        ({**FROM, "plain": "x"}, "plain"),
        ({**FROM, "headers": {"Reply-To": "{name} <a@b>"}}, "headers"),
        ({**FROM, "headers": {"X-A": "{"}}, "headers[X-A]"),
        ({**FROM, "attachments": [{"content": iter([b"x"])}]}, "attachments[0].content"),
        ({**FROM, "attachments": [Attachment(content=io.BytesIO())]}, "attachments[0].content"),
    ],
)
def test_what_no_letter_can_be(letter: Any, field: str) -> None:
    with pytest.raises(MessageError) as caught:
        MailMerge(letter)
    assert caught.value.field == field


@pytest.mark.parametrize("name", ["list", "headers"])
def test_what_holds_itself_is_refused(name: str) -> None:
    """It was gone through until Python gave up."""
    endless: list[Any] = []
    endless.append(endless)
    for value in (endless, {"help": endless}, [{"unsubscribe": [endless]}]):
        fields = {"from": "a@x.example", "subject": "x", "text": "{name}"}
        given = [("X-Field", value)] if name == "headers" else value
        with pytest.raises(MessageError) as caught:
            MailMerge(fields | {name: given})
        assert caught.value.field == name


def test_only_fields_make_a_letter() -> None:
    with pytest.raises(MessageError, match="letter"):
        MailMerge("text")


def test_a_message_object_is_a_letter() -> None:
    letter = MailMerge(Message(from_="n@x.example", subject="{s}", text="t"))
    assert b"\r\nSubject: Hi\r\n" in octets(letter.fill(to="a@b.example", s="Hi"))


def test_changes_afterwards_do_not_change_the_letter() -> None:
    fields: dict[str, Any] = {**FROM, "text": "{a}", "attachments": [{"content": b"x"}]}
    row = {"a": "1"}
    letter = MailMerge(fields)
    merged = letter.fill(row, to="a@b.example")
    before = octets(merged)
    fields["text"], row["a"] = "other", "2"
    fields["attachments"].append({"content": b"y"})
    assert octets(merged) == before


# -- HTML ------------------------------------------------------------------------------------------------------------


def test_values_are_escaped_in_html_alone() -> None:
    letter = MailMerge({**FROM, "subject": "{v}", "text": "{v}", "html": '<a title="{v}">'})
    fields = letter.fill(v="<b> & \"c\" 'd'").fields()
    assert fields["subject"] == fields["text"] == "<b> & \"c\" 'd'"
    assert fields["html"] == '<a title="&lt;b&gt; &amp; &quot;c&quot; &#x27;d&#x27;">'


def test_markup_is_html_already() -> None:
    import markupsafe

    letter = MailMerge({**FROM, "text": "{v}", "html": "{v}"})
    for markup in (Markup("<b>x</b>"), markupsafe.Markup("<b>x</b>")):
        fields = letter.fill(v=markup).fields()
        assert fields["text"] == fields["html"] == "<b>x</b>"
        assert type(fields["html"]) is str
    assert Markup("a").__html__() == "a"


# -- once ------------------------------------------------------------------------------------------------------------


def test_the_letter_is_composed_once(composings: list[int], tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"\0" * 1000)
    letter = MailMerge(
        {
            **FROM,
            "cc": "c@x.example",
            "bcc": "h@x.example",
            "subject": "Issue {n} für {name}",
            "text": "Liebe {name}",
            "html": "<p>{name}</p><img src='cid:i'>",
            "headers": {
                "List-Unsubscribe": "<https://x.example/{n}>",
                "List-Id": "n.x.example",
                "X-Priority": "{n}",
            },
            "attachments": [{"path": file}, {"content": b"x", "cid": "i"}],
            "in_reply_to": "<a@b>",
            "envelope": {"from": "bounce@x.example"},
        }
    )
    first = sealed(letter.fill(to="a@b.example", n=1, name="Zoë"))
    file.unlink()
    second = sealed(letter.fill(to="b@b.example", n=2, name="Bo", envelope={"from": "bounce+2@x.example"}))
    assert composings == [1]
    assert first.envelope.sender == "bounce@x.example"
    assert second.envelope.sender == "bounce+2@x.example"
    assert second.envelope.recipients == ("b@b.example", "c@x.example", "h@x.example")
    assert b"<https://x.example/2>" in b"".join(second.content.blocks())


def test_what_needs_eight_bits_says_so() -> None:
    inner = {"content": "From: a@b\r\n\r\né".encode(), "content_type": "message/rfc822"}
    plain, eight = (
        sealed(MailMerge({**FROM, "text": "{n}", "attachments": files}).fill(to="a@b.example", n=1)).content
        for files in ([], [inner])
    )
    assert (plain.eight_bit, eight.eight_bit, eight.utf8_headers) == (False, True, False)


@pytest.mark.parametrize("url", ["https://x.example/u/{n}", "{url}", "mailto:{n}@x.example"])
def test_each_recipient_has_a_url_to_unsubscribe(composings: list[int], url: str) -> None:
    letter = MailMerge(
        {
            **FROM,
            "text": "t",
            "list": {"id": "n.x.example", "unsubscribe": [{"url": url, "comment": "{n}"}, "u@x.example"]},
            "x_mailer": "m",
            "auto_submitted": "auto-generated",
            "recipient_limit": 1,
        }
    )
    values = {
        name: value
        for name, value in {"n": 7, "url": "https://x.example/u/7"}.items()
        if name in letter.names
    }
    merged = letter.fill(to="a@b.example", **values)
    ordinary = seal(merged.fields(), now=NOW, token=lambda: "0123456789abcdef")
    assert octets(merged) == octets(merged) == b"".join(ordinary.content.blocks())
    assert b"u/7>" in octets(merged) or b"<mailto:7@x.example>" in octets(merged)
    assert composings == [1]
    assert letter._plans[0][2] is not None
    with pytest.raises(MessageError, match="recipient_limit"):
        sealed(letter.fill(to="a@b.example, c@d.example", **values))


def test_a_prepared_header_stays_as_it_is() -> None:
    letter = MailMerge(
        {**FROM, "text": "{n}", "headers": {"X-A": [{"prepared": "{x}"}, "{n}"], "X-B": {"prepared": "{"}}}
    )
    head = octets(letter.fill(to="a@b.example", n=1))
    assert b"X-A: {x}\r\nX-A: 1\r\nX-B: {\r\n" in head


@pytest.mark.parametrize(
    "field",
    [
        {"text_encoding": "B"},
        {"encoding": "base64"},
        {"text_format": "flowed"},
        {"attach_data_urls": True},
        {"normalize_header_key": str.upper},
        {"base_boundary": "b"},
        {"amp": "<html>"},
        {"calendar": "BEGIN:VCALENDAR\r\nEND:VCALENDAR"},
        {"alternatives": [{"content_type": "text/markdown", "content": "*"}]},
        {"envelope": {"use_8bitmime": True}},
    ],
)
def test_what_has_a_say_in_the_text_is_composed_as_ever(field: dict[str, Any]) -> None:
    letter = MailMerge({**FROM, "text": "Grüße {n}", "html": "<p>{n}", "subject": "{n}", **field})
    merged = letter.fill(to="a@b.example", n="é")
    ordinary = seal(merged.fields(), now=NOW, token=lambda: "0123456789abcdef")
    assert octets(merged) == b"".join(ordinary.content.blocks())


def test_the_keys_of_a_letter_sign_its_messages() -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key = {"domain": "x.example", "selector": "s", "private_key": pem.decode()}
    seal = create_transport(host="x")._preparation.seal
    for dkim, count in ((key, 1), (False, 0)):
        merged = MailMerge({**FROM, "text": "{n}", "dkim": dkim}).fill(to="a@b.example", n=1)
        assert b"".join(seal(merged).content.blocks()).count(b"DKIM-Signature:") == count


def test_each_transporter_has_its_own_preparation(composings: list[int]) -> None:
    letter = MailMerge({"text": "{n}"})
    transporters = [create_transport(host="x", defaults={"from": f"{name}@x.example"}) for name in ("a", "b")]
    for number, transporter in itertools.product(range(3), transporters):
        merged = letter.fill(to="r@y.example", n=number)
        assert transporter._preparation.seal(merged).envelope.sender == transporter.options.defaults["from"]
    assert composings == [1, 1]


@pytest.mark.rule("FIL-01")
def test_a_letter_reads_no_file_that_the_transporter_forbids(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"x")
    letter = MailMerge({**FROM, "text": "{n}", "attachments": [{"path": file}]})
    merged = letter.fill(to="a@b.example", n=1)
    assert sealed(merged)
    for _ in range(2):
        with pytest.raises(MessageError, match="path"):
            sealed(merged, access=Access.of("none"))


def test_a_message_id_is_fresh() -> None:
    letter = MailMerge({**FROM, "text": "{n}"})
    seal = create_transport(host="x")._preparation.seal
    merged = letter.fill(to="a@b.example", n=1)
    assert len({seal(merged).message_id for _ in range(20)}) == 20


@pytest.mark.rule("HDR-15")
@pytest.mark.parametrize("where", ["text", "value", "html"])
def test_no_boundary_occurs_in_what_is_filled_in(where: str) -> None:
    token = "0123456789abcdef"
    evil = f"--=_0.{token}--"
    letter = MailMerge(
        {
            **FROM,
            "text": f"text {evil if where == 'text' else ''}",
            "html": f"{{v}} {evil if where == 'html' else ''}",
        }
    )
    data = octets(letter.fill(to="a@b.example", v=evil if where == "value" else "v"))
    assert data.count(evil.encode()) == 1
    assert f'boundary="=_0.1.{token}"'.encode() in data


def test_marks_in_the_letter_itself_do_no_harm() -> None:
    """Whoever knows what stands for the values while a letter is prepared gains nothing."""
    for mark in (plans._MARK, plans._STEM, plans._TO, f"{plans._MARK}text"):
        fields = {
            **FROM,
            "to": "x@y.example",
            "subject": mark,
            "text": f"{mark} {{n}}",
            "headers": {"X-A": mark},
        }
        data = octets(MailMerge(fields).fill(to="a@b.example", n=5))
        assert data.count(mark.encode()) == 3
        assert f"{mark} 5".encode() in data


def test_lenient_addresses_are_repaired_as_ever() -> None:
    merged = MailMerge({**FROM, "text": "{n}"}).fill(to="a@b.example; c@d.example", n=1)
    with pytest.raises(AddressError):
        sealed(merged)
    result = sealed(merged, lenient=True)
    assert result.envelope.recipients == ("a@b.example", "c@d.example")
    assert result.repairs


def test_a_batch_goes_on_after_a_bad_row() -> None:
    letter = MailMerge({**FROM, "subject": "{s}", "text": "t"})
    seal = create_transport(host="x")._preparation.seal

    def rows() -> Iterator[Merged]:
        for subject in ("good", "bad\r\nBcc: x@y.example", "good"):
            yield letter.fill(to="a@b.example", s=subject)

    outcomes = []
    for merged in rows():
        try:
            outcomes.append(bool(seal(merged)))
        except MessageError as error:
            outcomes.append(error.field == "")
    assert outcomes == [True, False, True]


def test_all_fields_of_a_message_are_thought_of() -> None:
    """A new field makes letters slow until somebody has looked whether it depends on the text."""
    known = {field.name.rstrip("_") for field in dataclasses.fields(Message)}
    assert known >= plans._INDEPENDENT


# -- once wrong, now proven ------------------------------------------------------------------------------------------


def test_all_messages_of_a_letter_are_of_the_letter_that_was_given() -> None:
    octets_of_one = bytearray(b"first")
    given: dict[str, Any] = {
        **FROM,
        "text": "{name}",
        "headers": {"X-A": ["first"]},
        "attachments": [{"filename": "first", "content": octets_of_one}],
    }
    letter = MailMerge(given)
    prepared = octets(letter.fill(to="a@y.example", name="A"))
    given["headers"]["X-A"][0] = given["attachments"][0]["filename"] = "second"
    octets_of_one[:] = b"other"
    assert octets(letter.fill(to="a@y.example", name="A")) == prepared
    # With a Cc of its own a message is composed by itself.
    composed = octets(letter.fill(to="a@y.example", cc="c@y.example", name="A"))
    assert composed.replace(b"Cc: c@y.example\r\n", b"") == prepared


def test_a_number_that_python_does_not_write_is_refused_by_name() -> None:
    with pytest.raises(MessageError, match="too long") as caught:
        octets(MailMerge(FROM | {"text": "{n}"}).fill(to="a@y.example", n=10**5_000))
    assert caught.value.field == "n"

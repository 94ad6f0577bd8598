"""Messages of all shapes, made by dice with a seed, each with what a reader has to find in it.

A shape is a function that takes the dice and returns a ``Letter``; ``@shape`` puts it into the corpus. For a new field
of messages write a new shape, or let ``anything`` roll for it.
"""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from .reading import Part, People, Read

SENDER: Final = ("", "sender@x.example")


@dataclass(frozen=True)
class Letter:
    """Fields as ``seal`` takes them, and what is to be read in what it writes."""

    shape: str
    fields: dict[str, Any]
    expected: Read


Shape = Callable[[random.Random], tuple[dict[str, Any], Read]]
SHAPES: list[tuple[Shape, int]] = []


def shape(times: int) -> Callable[[Shape], Shape]:
    """Puts a shape into the corpus, rolled so many times."""

    def add(make: Shape) -> Shape:
        SHAPES.append((make, times))
        return make

    return add


def corpus(seed: int = 4) -> list[Letter]:
    """All letters, the same for the same seed."""
    letters = []
    for make, times in SHAPES:
        name = make.__name__
        for number in range(times):
            dice = random.Random(f"{seed} {name} {number}")
            fields, expected = make(dice)
            fields = {"from": SENDER[1], "to": "to@y.example", **fields}
            expected = replace(
                expected,
                senders=expected.senders or (SENDER,),
                to=expected.to or (("", "to@y.example"),),
            )
            letters.append(Letter(f"{name} {number}", fields, expected))
    return letters


# -- what the dice choose from ---------------------------------------------------------------------------------------

WORDS = [
    "hello", "Zürich", "用户", "😀", "é", "e\u0301", "אבג", "\u202eevil", "ﬀ", "𝔘𝔫𝔦", "=?utf-8?q?a?=", "=?", "?=", "a=b", "=20", "_", "100%", "%41",
    '"quoted"', "back\\slash", "<b@y.example>", "a,b", "a;b", "a:b", "(c)", "[d]", "'", "''en''", "*", "x" * 30, "é" * 40, "\u00a0", "\u200b", "\ufeff",
    ".", "..", "-", "--", "~", "`", "|", "#1", "&amp;", "http://x.example/?a=b&c=%20", "re:", "=", "==",
]  # fmt: skip
LINES = [
    "", "", ".", "..", ". ", "a", "trailing ", "trailing\t", " leading", "\tleading", "From here", ">From there", "=", "=20", "a=", "=C3=A9", "é", "é ",
    "--", "-- ", "--=_1.0123456789abcdef", "--=_1.0123456789abcdef--", "x" * 75, "x" * 76, "x" * 77, "x" * 75 + " ", "x" * 76 + "\t", "é" * 25, "é" * 26,
    "x" * 73 + "é", "x" * 74 + "é", "x" * 997, "x" * 998, "x" * 999, "x" * 2000, "é" * 1000, "w " * 600, "a\x0bb", "a\x0cb", "a\x1bb", "a\x7fb", "a\u2028b",
    "a\x85b", "😀" * 30, "𝔘" * 17, "begin 644 x", "Content-Type: text/html", "=?utf-8?q?a?=", "\ufeffbom", "&lt;", "\\", '"',
]  # fmt: skip
NAMES = [
    "", "Ann", "Ann Lee", "Ann  Lee", "Lee, Ann", "O'Neil", 'Ann "A" Lee', "Ann \\ Lee", "Ann B. Lee", "<b@y.example>", "b@y.example,", "a: b;", "(Ann)",
    "Jürgen", "用户", "😀", "Jürgen Müller-Lüdenscheidt von und zu Hohenstein", "用户" * 30, "x" * 66, "x" * 67, "x" * 200, "w " * 80 + "w", "=?utf-8?q?a?=", "=?",
    "\u202eevil", "א ב", "e\u0301", "a@b", "é,b", "é (c)", "é <d@e>", "_", "a_b é", "?", "=", "a=é", "a\u2028b", "''", "\u00a0a\u00a0", "[Team]", "a;b", "*",
]  # fmt: skip
# As given, and as it has to be read.
ADDRESSES = [
    ("a@x.example", "a@x.example"), ("Ann.Lee+tag@X.Example", "Ann.Lee+tag@x.example"), ("o'neil@x.example", "o'neil@x.example"),
    ('"john doe"@x.example', '"john doe"@x.example'), ('"john"@x.example', "john@x.example"), ("a..b@x.example", '"a..b"@x.example'),
    ('"a@b"@x.example', '"a@b"@x.example'), ('"a,b"@x.example', '"a,b"@x.example'), ('"a\\"b"@x.example', '"a\\"b"@x.example'),
    ("a@Bücher.example", "a@xn--bcher-kva.example"), ("a@faß.example", "a@xn--fa-hia.example"), ("a@例え。jp", "a@xn--r8jz45g.jp"),
    ("a@[192.0.2.1]", "a@[192.0.2.1]"), ("a=b?c@x.example", "a=b?c@x.example"), ("{a}|b@x.example", "{a}|b@x.example"), ("a/b@x.example", "a/b@x.example"),
    ("a" * 64 + "@" + "b" * 63 + ".example", "a" * 64 + "@" + "b" * 63 + ".example"), ("a" * 180 + "@x.example", "a" * 180 + "@x.example"),
]  # fmt: skip
FILENAMES = [
    "a.txt", "a b.txt", "Zürich.pdf", "用户.png", "😀.gif", "e\u0301.txt", 'quo"te.txt', "back\\slash.txt", "semi;colon.txt", "com,ma.txt", "per%41cent.txt",
    "it's.txt", "utf-8''a.txt", "star*.txt", "eq=ual.txt", "=?utf-8?q?a?=.txt", "a/b/../c.txt", "..", ".", ".hidden", "no extension", "x" * 60 + ".txt",
    "x" * 61 + ".txt", "x" * 200 + ".txt", "é" * 100 + ".txt", "用" * 80, "a\u2028b.txt", "\u202egpj.exe", "tab\there.txt", " lead.txt", "trail.txt ", "a  b.txt",
    "[1].txt", "(1).txt", "<1>.txt", "a@b.txt", "a:b.txt", "a?b.txt", "''", "'", '"', '""', "'a'", "&#1234;.txt", "%", "%zz", "a.tar.gz", "ünï cödé (1).docx",
]  # fmt: skip
TYPES = [
    "application/octet-stream",
    "application/pdf",
    "image/png",
    "text/csv",
    "text/plain",
    "text/x-odd; charset=utf-8",
    "a/b",
]


def some(dice: random.Random, choices: list[str], most: int, between: str) -> str:
    return between.join(dice.choices(choices, k=dice.randint(1, most)))


def a_subject(dice: random.Random) -> str:
    return some(dice, WORDS, dice.choice((1, 3, 12, 40)), dice.choice((" ", " ", "  ", "")))


def a_text(dice: random.Random) -> str:
    return some(dice, LINES, dice.choice((1, 3, 12)), "\n") + dice.choice(("", "\n", "\n\n", " ", " \n"))


def octets(dice: random.Random) -> bytes:
    return dice.choice(
        (
            b"",
            b"\0",
            b"\r\n.\r\n",
            b"\n",
            b"a\nb",
            b"a\r\nb\rc",
            b"\0\r",
            dice.randbytes(57),
            dice.randbytes(58),
            dice.randbytes(dice.randint(0, 3000)),
        )
    )


def people(dice: random.Random, most: int = 3) -> tuple[list[dict[str, str]], People]:
    given, read = [], []
    for _ in range(dice.randint(1, most)):
        name = dice.choice(NAMES)
        address, normal = dice.choice(ADDRESSES)
        given.append({"name": name, "address": address})
        read.append((name, normal))
    return given, tuple(read)


def files(dice: random.Random, most: int = 3) -> tuple[list[dict[str, Any]], tuple[Part, ...]]:
    given, read = [], []
    for _ in range(dice.randint(1, most)):
        name, kind, content = dice.choice(FILENAMES), dice.choice(TYPES), octets(dice)
        given.append({"filename": name, "content": content, "content_type": kind})
        read.append(Part(name, kind.partition(";")[0], content))
    return given, tuple(read)


def as_octets(text: str) -> bytes:
    """The text of a part as it travels."""
    return text.replace("\r\n", "\n").replace("\n", "\r\n").encode()


# -- the shapes ------------------------------------------------------------------------------------------------------


@shape(60)
def subjects(dice: random.Random) -> tuple[dict[str, Any], Read]:
    subject = a_subject(dice)
    return {"subject": subject, "text": "x"}, Read(subject=subject, text="x")


@shape(60)
def plain_subjects(dice: random.Random) -> tuple[dict[str, Any], Read]:
    """ASCII alone, which is folded and not encoded."""
    words = ["a", "bc", "def", "x" * 30, "x" * 75, "x" * 80, ".", "=?", "?=", '"', "(", ",", "_"]
    subject = some(dice, words, 40, " ")
    subject = "".join(
        dice.choice((" ", " ", "  ", "\t", "   ", " \t")) if char == " " else char for char in subject
    )
    return {"subject": subject, "text": "x"}, Read(subject=subject, text="x")


@shape(20)
def letters_within_letters(dice: random.Random) -> tuple[dict[str, Any], Read]:
    """A message as an attachment; the reader has to leave it alone."""
    inside = (
        b"From: a@x.example\r\nSubject: inside\r\nContent-Type: text/html\r\n\r\n<p>"
        + dice.choice((b"a", b"\xc3\xa9"))
        + b"</p>\r\n"
    )
    given = [{"content": inside, "content_type": "message/rfc822", "filename": "a.eml"}]
    return {"text": "x", "attachments": given}, Read(
        text="x", parts=(Part("a.eml", "message/rfc822", inside),)
    )


@shape(60)
def texts(dice: random.Random) -> tuple[dict[str, Any], Read]:
    text = a_text(dice)
    return {"text": text}, Read(text=text)


@shape(30)
def pages(dice: random.Random) -> tuple[dict[str, Any], Read]:
    html = a_text(dice)
    return {"html": html}, Read(html=html)


@shape(40)
def alternatives(dice: random.Random) -> tuple[dict[str, Any], Read]:
    text, html = a_text(dice), a_text(dice)
    return {"text": text, "html": html}, Read(text=text, html=html)


@shape(60)
def addresses(dice: random.Random) -> tuple[dict[str, Any], Read]:
    to, read_to = people(dice)
    sender, read_sender = people(dice, 1)
    cc, read_cc = people(dice)
    reply_to, read_reply_to = people(dice, 2)
    return (
        {"from": sender, "to": to, "cc": cc, "reply_to": reply_to, "text": "x"},
        Read(senders=read_sender, to=read_to, cc=read_cc, reply_to=read_reply_to, text="x"),
    )


@shape(10)
def many_recipients(dice: random.Random) -> tuple[dict[str, Any], Read]:
    to, read = people(dice, 60)
    return {"to": to, "text": "x"}, Read(to=read, text="x")


@shape(10)
def lists_as_text(dice: random.Random) -> tuple[dict[str, Any], Read]:
    """Groups, comments, encoded words and folded white space are read, and written anew."""
    to = 'Team: "Lee, Ann" <a@x.example>, b@x.example (Bob);, (c) =?utf-8?q?Z=C3=BC?= <C@X.example>,\td@x.example'
    read = (("Lee, Ann", "a@x.example"), ("Bob", "b@x.example"), ("Zü", "C@x.example"), ("", "d@x.example"))
    return {"to": to, "text": "x"}, Read(to=read, text="x")


@shape(20)
def international_addresses(dice: random.Random) -> tuple[dict[str, Any], Read]:
    """These need SMTPUTF8, and their header fields are raw UTF-8 (RFC 6532)."""
    name = dice.choice(NAMES)
    return (
        {"to": (name, "用户@Bücher.example"), "subject": "ü", "text": "x"},
        Read(to=((name, "用户@bücher.example"),), subject="ü", text="x"),
    )


@shape(len(FILENAMES))
def names_of_files(dice: random.Random) -> tuple[dict[str, Any], Read]:
    given, read = files(dice, 1)
    return {"text": "x", "attachments": given}, Read(text="x", parts=read)


@shape(40)
def attachments(dice: random.Random) -> tuple[dict[str, Any], Read]:
    given, read = files(dice)
    return {"attachments": given}, Read(parts=read)


@shape(40)
def inline(dice: random.Random) -> tuple[dict[str, Any], Read]:
    image, name = octets(dice), dice.choice(FILENAMES)
    html = f'<img src="cid:one@x.example">{a_text(dice)}'
    picture = {"content": image, "cid": "one@x.example", "filename": name, "content_type": "image/png"}
    return {"html": html, "attachments": [picture]}, Read(
        html=html, parts=(Part(name, "image/png", image, "one@x.example"),)
    )


@shape(60)
def binary_parts(dice: random.Random) -> tuple[dict[str, Any], Read]:
    """Parts without any encoding (RFC 3030), among others."""
    given, read = files(dice)
    for file in given:
        if dice.random() < 0.8:
            file["transfer_encoding"] = "binary"
    text, html = a_text(dice), a_text(dice)
    return (
        {"text": text, "html": html, "attachments": given, "encoding": dice.choice((None, "binary"))},
        Read(text=text, html=html, parts=read),
    )


@shape(10)
def empty(dice: random.Random) -> tuple[dict[str, Any], Read]:
    return dice.choice(
        (
            ({"text": ""}, Read(text="")),
            ({"html": ""}, Read(html="")),
            ({"text": "", "html": ""}, Read(text="", html="")),
            ({"text": "", "attachments": [{"content": b"", "filename": "e", "content_type": "a/b"}]}, Read(text="", parts=(Part("e", "a/b", b""),))),
        )
    )  # fmt: skip


@shape(80)
def anything(dice: random.Random) -> tuple[dict[str, Any], Read]:
    """Everything at once."""
    text, html, subject = a_text(dice), a_text(dice), a_subject(dice)
    to, read_to = people(dice)
    given, read = files(dice)
    picture = {
        "content": octets(dice),
        "cid": "p@x.example",
        "filename": "p.png",
        "content_type": "image/png",
    }
    shown = Part("p.png", "image/png", picture["content"], "p@x.example")
    return (
        {"subject": subject, "to": to, "text": text, "html": html, "attachments": [*given, picture], "priority": "high"},
        Read(subject=subject, to=read_to, text=text, html=html, parts=(shown, *read)),
    )  # fmt: skip


@shape(60)
def readers_of_all_kinds(dice: random.Random) -> tuple[dict[str, Any], Read]:
    """All alternatives there are, in the order in which they are written, and an event."""
    text, html = a_text(dice), a_text(dice)
    fields: dict[str, Any] = {
        "text": text,
        "html": html,
        "encoding": dice.choice((None, None, "base64", "quoted-printable")),
    }
    alternatives: list[Part] = []
    for name, kind in (("watch_html", "text/watch-html"), ("amp", "text/x-amp-html")):
        if dice.random() < 0.5:
            fields[name] = a_text(dice)
            alternatives.append(Part("", kind, as_octets(fields[name])))
    attached: list[Part] = []
    if dice.random() < 0.5:
        event = f"BEGIN:VCALENDAR\nMETHOD:REQUEST\nSUMMARY:{some(dice, WORDS, 4, ' ')}\nEND:VCALENDAR\n"
        name = dice.choice(FILENAMES)
        fields["calendar"] = {"content": event, "filename": name}
        alternatives.append(Part("", "text/calendar", as_octets(event)))
        attached.append(Part(name, "application/ics", as_octets(event)))
    if dice.random() < 0.5:
        markdown = a_text(dice)
        fields["alternatives"] = [{"content_type": "text/markdown", "content": markdown}]
        alternatives.append(Part("", "text/markdown", as_octets(markdown)))
    return fields, Read(text=text, html=html, parts=(*alternatives, *attached))


@shape(30)
def lists_and_words(dice: random.Random) -> tuple[dict[str, Any], Read]:
    """Header fields of other kinds beside those that are compared, and encoded words of either kind."""
    subject = a_subject(dice)
    to, read_to = people(dice)
    return (
        {
            "subject": subject,
            "to": to,
            "text": "x",
            "text_encoding": dice.choice((None, "Q", "B")),
            "x_mailer": a_subject(dice),
            "headers": {"X-Any": a_subject(dice)},
            "list": {
                "id": {"id": "news.x.example", "comment": dice.choice(NAMES)},
                "unsubscribe": ["https://x.example/?a=<b>", "leave@x.example"],
                "help": {"url": "https://x.example/", "comment": dice.choice(NAMES)},
            },
        },
        Read(subject=subject, to=read_to, text="x"),
    )


@shape(20)
def flowed_text(dice: random.Random) -> tuple[dict[str, Any], Read]:
    """Paragraphs that readers may wrap anew; those of the corpus do not, and see the lines."""
    words = [word for word in WORDS if word.isascii() and not word.startswith((">", "-"))]
    text = "\n".join(some(dice, words, 8, " ")[:70].rstrip() for _ in range(3))
    return {"text": text, "text_format": "flowed"}, Read(text=text)


@shape(20)
def images_in_the_page(dice: random.Random) -> tuple[dict[str, Any], Read]:
    image = dice.randbytes(200)
    uri = f"data:image/png;base64,{base64.b64encode(image).decode()}"
    html = f'<p>{some(dice, WORDS, 4, " ")}</p><img src="{uri}">'
    cid = f"{hashlib.sha256(b'image/png' + bytes(1) + image).hexdigest()[:32]}@images.invalid"
    return {"html": html, "attach_data_urls": True}, Read(
        html=html.replace(uri, f"cid:{cid}"), parts=(Part("image-1.png", "image/png", image, cid),)
    )

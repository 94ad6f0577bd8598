"""The messages: text and HTML of about 2 KB together, to one recipient, each another one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SENDER = "Example Shop <shop@example.com>"
ENVELOPE_SENDER = "shop@example.com"

_ASCII = """\
your order left our warehouse this morning. The parcel service will
bring it within two working days. Nobody needs to be at home: it fits
the letter box, and the driver leaves a card if it does not.

What is in the parcel:

    1  desk lamp, brushed steel                      49.00
    2  bulb, warm white, 6 W                          9.80
       postage                                        4.90

You may send back within 30 days what you do not like. The form is in
the parcel; write the number of the order on it, and we pay for the way
back. Questions go to the address above and are answered by people.
"""
_UTF8 = """\
Ihre Bestellung hat heute früh unser Lager verlassen. Die Post bringt
sie in zwei Werktagen. Es muß niemand zu Hause sein: das Päckchen paßt
in den Briefkasten, und wenn nicht, läßt der Fahrer eine Karte da.

Was im Päckchen ist:

    1  Schreibtischlampe, Stahl gebürstet          49,00 €
    2  Glühlampe, warmweiß, 6 W                     9,80 €
       Porto für die Zustellung                     4,90 €

Was Ihnen nicht gefällt, können Sie binnen 30 Tagen zurückschicken. Das
Formular liegt bei; schreiben Sie die Nummer der Bestellung darauf, die
Rücksendung zahlen wir. Über Ihre Fragen freuen wir uns: schöne Grüße!
"""


def _page(text: str) -> str:
    paragraphs = "\n".join(
        f'<p style="margin: 0 0 1em 0">\n{p.strip()}\n</p>' for p in text.split("\n\n") if p.strip()
    )
    return f'<html>\n<body style="font-family: sans-serif">\n<h1>Example Shop</h1>\n{paragraphs}\n</body>\n</html>\n'


LETTERS: dict[str, dict[str, str]] = {
    "ascii": {
        "subject": "Your order has been shipped, number ",
        "hello": "Hello reader number ",
        "text": _ASCII,
        "html": _page(_ASCII),
    },
    "utf8": {
        "subject": "Ihre Bestellung für Köln ist unterwegs, Nummer ",
        "hello": "Schönen guten Tag, Leser Nummer ",
        "text": _UTF8,
        "html": _page(_UTF8),
    },
}


def recipient(number: int, refused_every: int = 0) -> str:
    """The address of a message; the sink refuses those that begin with ``refused``."""
    if refused_every and number % refused_every == refused_every - 1:
        return f"refused{number}@example.org"
    return f"reader{number}@example.org"


def fields(letter: dict[str, str], number: int, to: str) -> dict[str, Any]:
    """One message, as a program would fill it in."""
    return {
        "from": SENDER,
        "to": f"Reader {number} <{to}>",
        "subject": f"{letter['subject']}{number}",
        "text": f"{letter['hello']}{number},\n\n{letter['text']}",
        "html": f"<p>{letter['hello']}{number},</p>\n{letter['html']}",
    }


def merge_letter(letter: dict[str, str]) -> dict[str, Any]:
    """The same message with a placeholder for its number."""
    return {
        "from": SENDER,
        "subject": f"{letter['subject']}{{number}}",
        "text": f"{letter['hello']}{{number}},\n\n{letter['text']}",
        "html": f"<p>{letter['hello']}{{number}},</p>\n{letter['html']}",
    }


def write(folder: Path) -> None:
    """What clients in other languages read: the letters as JSON, and one finished message with CRLF and with LF."""
    from mailpool import create_transport

    (folder / "letters.json").write_text(json.dumps({"sender": SENDER, "letters": LETTERS}))
    sealed = create_transport(host="127.0.0.1")._preparation.seal(fields(LETTERS["ascii"], 1, recipient(1)))
    octets = b"".join(sealed.content.blocks())
    (folder / "message.eml").write_bytes(octets)
    (folder / "message.lf").write_bytes(octets.replace(b"\r\n", b"\n"))
    (folder / "attachment.bin").write_bytes(bytes((i * 7919 >> 3) & 255 for i in range(1 << 20)))

"""What commands may look like (RFC 5321 §4.1), and nothing more lenient."""

from __future__ import annotations

import re
from collections.abc import Mapping

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]"
_LOCAL = rf'(?:{_ATEXT}+(?:\.{_ATEXT}+)*|"(?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*")'
_LABEL = r"[A-Za-z0-9\u0080-\U0010ffff](?:[A-Za-z0-9\u0080-\U0010ffff-]*[A-Za-z0-9\u0080-\U0010ffff])?"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[\x21-\x5a\x5e-\x7e]+\])"
_PATH = re.compile(rf"<({_LOCAL}@{_DOMAIN})>", re.ASCII)
_HELO = re.compile(rf"{_DOMAIN}", re.ASCII)
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^\x00-\x20=\x7f]+))?")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+")
_ORCPT = re.compile(r"[A-Za-z0-9-]+;.+")

Parameters = dict[str, str | None]
_Known = Mapping[str, tuple[str, re.Pattern[str] | None]]

# Which extensions a parameter belongs to, and what its value may be.
_MAIL = {
    "SIZE": ("SIZE", re.compile(r"\d{1,20}")),
    "BODY": ("8BITMIME BINARYMIME", re.compile(r"7BIT|8BITMIME|BINARYMIME", re.IGNORECASE)),
    "SMTPUTF8": ("SMTPUTF8", None),
    "RET": ("DSN", re.compile(r"FULL|HDRS", re.IGNORECASE)),
    "ENVID": ("DSN", _XTEXT),
    "AUTH": ("AUTH", _XTEXT),
    "REQUIRETLS": ("REQUIRETLS", None),
    "MT-PRIORITY": ("MT-PRIORITY", re.compile(r"-?\d")),
    "HOLDFOR": ("FUTURERELEASE", re.compile(r"\d{1,9}")),
    "HOLDUNTIL": ("FUTURERELEASE", re.compile(r"\S+")),
    "BY": ("DELIVERBY", re.compile(r"-?\d{1,9};[NRnr][Tt]?")),
}
_RCPT = {
    "NOTIFY": (
        "DSN",
        re.compile(r"NEVER|(?:SUCCESS|FAILURE|DELAY)(?:,(?:SUCCESS|FAILURE|DELAY))*", re.IGNORECASE),
    ),
    "ORCPT": ("DSN", _ORCPT),
}


class Refused(Exception):
    """The reply to a command that is wrong."""

    def __init__(self, reply: str) -> None:
        super().__init__(reply)
        self.reply = reply


def check_helo(name: str) -> None:
    """Raise ``Refused`` unless ``name`` is a domain or an address literal."""
    if not _HELO.fullmatch(name) or len(name) > 255:
        raise Refused("501 5.5.4 a domain or an address literal is needed")


def parse_mail(rest: str, announced: dict[str, str]) -> tuple[str, Parameters]:
    """The reverse-path and the parameters of ``MAIL``; ``rest`` is what follows the verb."""
    address, parameters = _parse("FROM:", rest, announced, _MAIL)
    body = parameters.get("BODY")
    wide = None if body is None or body.upper() == "7BIT" else body.upper()
    # RFC 3030 §3: BINARYMIME is nothing without CHUNKING.
    if wide and (wide not in announced or (wide == "BINARYMIME" and "CHUNKING" not in announced)):
        raise Refused(f"555 5.5.4 BODY={wide} was not announced")
    return address, parameters


def parse_rcpt(rest: str, announced: dict[str, str]) -> tuple[str, Parameters]:
    """The forward-path and the parameters of ``RCPT``."""
    address, parameters = _parse("TO:", rest, announced, _RCPT)
    if not address:
        raise Refused("501 5.1.3 a recipient is needed")
    return address, parameters


def parse_chunk(rest: str) -> tuple[int, bool] | None:
    """Size and whether it is the last, of ``BDAT`` (RFC 3030); ``None`` if it is malformed."""
    found = re.fullmatch(r"(\d{1,15})( LAST)?", rest, re.IGNORECASE | re.ASCII)
    return (int(found[1]), found[2] is not None) if found else None


def _parse(word: str, rest: str, announced: dict[str, str], known: _Known) -> tuple[str, Parameters]:
    if rest[: len(word)].upper() != word:
        raise Refused(f"501 5.5.4 {word}<address> is needed")
    rest = rest[len(word) :]
    if rest.startswith("<>"):
        address, end = "", 2
    elif rest.lower().startswith("<postmaster>") and word == "TO:":
        address, end = rest[1:11], 12
    elif (found := _PATH.match(rest)) is not None:
        address, end = found[1], found.end()
    else:
        raise Refused(f"501 5.1.{7 if word == 'FROM:' else 3} that is no address in angle brackets")
    if len(address.rpartition("@")[0].encode()) > 64 or len(address.encode()) > 254:
        raise Refused("501 5.1.3 the address is too long")
    return address, _parameters(rest[end:], announced, known)


def _parameters(text: str, announced: dict[str, str], known: _Known) -> Parameters:
    parameters: Parameters = {}
    if not text:
        return parameters
    if not text.startswith(" "):
        raise Refused("501 5.5.4 a space is needed after the address")
    for part in text[1:].split(" "):
        found = _PARAMETER.fullmatch(part)
        if found is None:
            raise Refused("501 5.5.4 malformed parameter")
        name, value = found[1].upper(), found[2]
        extensions, values = known.get(name, ("", None))
        if announced.keys().isdisjoint(extensions.split()):
            raise Refused(f"555 5.5.4 parameter {name} is not known here")
        if name in parameters:
            raise Refused(f"501 5.5.4 parameter {name} comes twice")
        if (value is not None) if values is None else (value is None or not values.fullmatch(value)):
            raise Refused(f"501 5.5.4 parameter {name} has a wrong value")
        parameters[name] = value
    return parameters

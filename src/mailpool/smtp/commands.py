"""The commands of a mail transaction, as bytes that cannot carry a second command or a smuggled parameter.

Addresses were checked when the envelope was built; they are checked once more here, at the last place before the wire.
"""

from __future__ import annotations

import functools
import re

# Reverse-path and forward-path (RFC 5321 §4.1.2, RFC 6531 §3.3). Inside a quoted local part only control
# characters are excluded; outside also white space, angle brackets and quotes.
_PATH = re.compile(
    r"""(?: "(?:[^\x00-\x1f\x7f"\\]|\\[^\x00-\x1f\x7f])*" | [^\x00-\x20\x7f<>"]+ )
        (?: @ [^\x00-\x20\x7f<>"@]+ )?""",
    re.VERBOSE,
)
_PARAMETERS = re.compile(r"(?: [A-Za-z0-9][A-Za-z0-9-]*(?:=[\x21-\x3c\x3e-\x7e]+)?)*+")
_MECHANISM = re.compile(r"[A-Z0-9][A-Z0-9_-]{0,19}")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]*={0,2}")
_DOMAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}|\[[A-Za-z0-9.:]{1,253}\]")

DATA = b"DATA\r\n"
RSET = b"RSET\r\n"
QUIT = b"QUIT\r\n"
NOOP = b"NOOP\r\n"
STARTTLS = b"STARTTLS\r\n"


class InvalidCommand(ValueError):
    """A value that must not reach the wire. It is a bug of the caller when it comes this far."""


def mail(sender: str, parameters: str = "", *, size: int | None = None) -> bytes:
    """``MAIL FROM:<sender>`` (RFC 5321 §4.1.1.2).

    :param sender: the reverse-path, empty for the null one
    :param parameters: starts with a space, or is empty
    :param size: octets of the message, for ``SIZE=`` (RFC 1870 §3)
    """
    line = _mail_from(sender)
    if size is not None:
        line = b"%s SIZE=%d" % (line, size)
    if parameters:
        _check_parameters(parameters)
        line += parameters.encode("ascii")
    return line + b"\r\n"


@functools.lru_cache(maxsize=256)  # a program sends from few addresses
def _mail_from(sender: str) -> bytes:
    if sender and _PATH.fullmatch(sender) is None:
        raise InvalidCommand(f"{sender!r} is no reverse-path")
    return _encoded(f"MAIL FROM:<{sender}>")


def rcpt(recipient: str, parameters: str = "") -> bytes:
    """``RCPT TO:<recipient>`` (RFC 5321 §4.1.1.3)."""
    if _PATH.fullmatch(recipient) is None:
        raise InvalidCommand(f"{recipient!r} is no forward-path")
    if parameters:
        _check_parameters(parameters)
    return _encoded(f"RCPT TO:<{recipient}>{parameters}\r\n")


def bdat(size: int) -> bytes:
    """``BDAT size LAST``, which ``size`` octets of content follow at once (RFC 3030 §2)."""
    return b"BDAT %d LAST\r\n" % size


def hello(verb: str, name: str) -> bytes:
    """``EHLO``, ``HELO`` or ``LHLO`` with the client's own name or bracketed address literal (RFC 5321 §4.1.1.1)."""
    if _DOMAIN.fullmatch(name) is None:
        raise InvalidCommand(f"{name!r} is no domain and no address literal")
    return f"{verb} {name}\r\n".encode("ascii")


def auth(mechanism: str, initial_response: bytes | None) -> bytes:
    """``AUTH`` with an initial response where there is one (RFC 4954 §4). ``initial_response`` is base64 already."""
    if _MECHANISM.fullmatch(mechanism) is None:
        raise InvalidCommand(f"{mechanism!r} is no SASL mechanism")
    if initial_response is None:
        return f"AUTH {mechanism}\r\n".encode("ascii")
    if _BASE64.fullmatch(initial_response) is None:
        raise InvalidCommand("the initial response is no base64")
    # An empty initial response is written as a lone equals sign.
    return b"AUTH %s %s\r\n" % (mechanism.encode("ascii"), initial_response or b"=")


def _encoded(line: str) -> bytes:
    try:
        return line.encode()
    except UnicodeEncodeError:
        raise InvalidCommand(f"{line!r} holds half of a surrogate pair") from None


def _check_parameters(parameters: str) -> None:
    if _PARAMETERS.fullmatch(parameters) is None:
        raise InvalidCommand(f"{parameters!r} are no parameters")

"""The parameters of MAIL and RCPT that a message asked for, for one server; what it lacks is said before MAIL."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterable

from ..errors import DeadlineExceeded, UnsupportedByServer
from ..extensions import DeliverBy, Dsn, Extensions
from ..results import Phase
from .capabilities import Capabilities

_plain_in_xtext = frozenset(map(chr, range(0x21, 0x7F))) - set("+=")
_plain_in_utf8_address = _plain_in_xtext - {"\\"}
_ABOUT = {
    "DSN": "delivery status notifications (RFC 3461)",
    "MT-PRIORITY": "priorities (RFC 6710)",
    "DELIVERBY": "delivery within a time (RFC 2852)",
    "FUTURERELEASE": "holding messages back (RFC 4865)",
}


def mail_parameters(extensions: Extensions, capabilities: Capabilities, waited: float) -> str:
    """What MAIL says; each parameter with a space before it.

    :param waited: seconds since the message was given to the transporter
    :raises UnsupportedByServer: the server lacks an extension that is not optional, or bounds it lower
    :raises DeadlineExceeded: the time by which it was to be delivered is over
    """
    text = ""
    dsn = extensions.dsn
    if dsn is not None and _offered("DSN", extensions, capabilities):
        if dsn.ret is not None:
            text += f" RET={dsn.ret}"
        if dsn.envid is not None:
            text += f" ENVID={xtext(dsn.envid)}"
    if extensions.require_tls:
        if "REQUIRETLS" not in capabilities:
            raise UnsupportedByServer(
                "require_tls: needs a server that offers REQUIRETLS over verified TLS (RFC 8689), and this connection "
                "has no such TLS, or the server does not offer it",
                phase=Phase.MAIL,
            )
        text += " REQUIRETLS"
    if extensions.mt_priority is not None and _offered("MT-PRIORITY", extensions, capabilities):
        text += f" MT-PRIORITY={extensions.mt_priority}"
    if extensions.deliver_by is not None and _offered("DELIVERBY", extensions, capabilities):
        text += _deliver_by(extensions.deliver_by, capabilities.keywords["DELIVERBY"], waited)
    held = extensions.hold_for is not None or extensions.hold_until is not None
    if held and _offered("FUTURERELEASE", extensions, capabilities):
        text += _hold(extensions, capabilities.keywords["FUTURERELEASE"])
    return text


def rcpt_parameters(
    extensions: Extensions, capabilities: Capabilities, recipients: Iterable[str]
) -> list[str]:
    """What each RCPT says."""
    dsn = extensions.dsn
    if dsn is None or "DSN" not in capabilities:
        return ["" for _ in recipients]
    return [_rcpt(dsn, address) for address in recipients]


def _rcpt(dsn: Dsn, address: str) -> str:
    wishes = dsn.recipients.get(address, dsn.everybody)
    text = f" NOTIFY={','.join(wishes.notify)}" if wishes.notify else ""
    if wishes.orcpt:
        if isinstance(wishes.orcpt, tuple):
            kind, original = wishes.orcpt
        else:
            kind, original = "rfc822" if address.isascii() else "utf-8", address
        text += f" ORCPT={kind};{utf8_address(original) if kind == 'utf-8' else xtext(original)}"
    return text


def xtext(text: str) -> str:
    """Printable ASCII as one word (RFC 3461 §4)."""
    return "".join(char if char in _plain_in_xtext else f"+{ord(char):02X}" for char in text)


def utf8_address(text: str) -> str:
    """An address as one word of ASCII that every server takes (RFC 6533 §3: utf-8-addr-xtext)."""
    return "".join(char if char in _plain_in_utf8_address else f"\\x{{{ord(char):02X}}}" for char in text)


def _offered(keyword: str, extensions: Extensions, capabilities: Capabilities) -> bool:
    """Whether to use it; false when the message may go without."""
    if keyword in capabilities:
        return True
    if keyword in extensions.optional:
        return False
    raise UnsupportedByServer(
        f"the message asks for {_ABOUT[keyword]}, and the server does not offer {keyword}; if it may go without, say "
        f"optional_extensions={{'{keyword}'}}",
        phase=Phase.MAIL,
    )


def _deliver_by(wish: DeliverBy, offer: str, waited: float) -> str:
    left = math.floor(wish.seconds - waited)
    if wish.mode == "R":
        if left <= 0:
            raise DeadlineExceeded(
                f"deliver_by: the {wish.seconds} s by which the message was to be delivered are over",
                phase=Phase.MAIL,
            )
        least = _number(offer)
        if least is not None and left < least:
            raise UnsupportedByServer(
                f"deliver_by: {left} s are left, and the server takes no message for less than {least} s",
                phase=Phase.MAIL,
            )
    return f" BY={left};{wish.mode}{'T' if wish.trace else ''}"


def _hold(extensions: Extensions, offer: str) -> str:
    """The server says for how many seconds it holds a message at most, and until when."""
    longest, _, latest = offer.partition(" ")
    if extensions.hold_for is not None:
        most = _number(longest)
        if most is not None and extensions.hold_for > most:
            raise UnsupportedByServer(
                f"hold_for: the server holds a message for {most} s at most", phase=Phase.MAIL
            )
        return f" HOLDFOR={extensions.hold_for}"
    until = extensions.hold_until
    assert until is not None
    bound = _moment(latest)
    if bound is not None and until > bound:
        raise UnsupportedByServer(
            f"hold_until: the server holds messages until {latest} at most", phase=Phase.MAIL
        )
    return f" HOLDUNTIL={until.isoformat()[:19]}Z"


def _number(text: str) -> int | None:
    found = re.match(r"[0-9]{1,9}(?![^ ])", text)
    return int(found[0]) if found else None


def _moment(text: str) -> datetime.datetime | None:
    try:
        found = datetime.datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return None if found.utcoffset() is None else found

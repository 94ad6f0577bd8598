"""The fields of a message that ask something of the server, checked: what is in an ``Extensions`` can be written as it is."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ..address import Envelope
from ..address.mailbox import normal_address
from ..errors import AddressError, MessageError
from ..extensions import DeliverBy, Dsn, Extensions, RecipientDsn
from .fields import refuse_unknown

NAMES: Final = frozenset(
    ("dsn", "require_tls", "mt_priority", "deliver_by", "hold_for", "hold_until", "optional_extensions")
)
_RECIPIENT_KEYS: Final = frozenset(("notify", "orcpt"))
_DSN_KEYS: Final = _RECIPIENT_KEYS | {"return", "envid", "recipients"}
_DELIVER_BY_KEYS: Final = frozenset(("seconds", "otherwise", "trace"))
_OTHERWISE: Final = {"return": "R", "notify": "N"}
_RETURN: Final = {"full": "FULL", "headers": "HDRS", "hdrs": "HDRS"}
_NOTIFY: Final = ("SUCCESS", "FAILURE", "DELAY")  # as they are written
_OPTIONAL: Final = frozenset(("DSN", "MT-PRIORITY", "DELIVERBY", "FUTURERELEASE"))
_MOST_SECONDS: Final = 999_999_999  # nine digits, in both standards
_is_printable = re.compile(r"[\x20-\x7e]+").fullmatch
_is_typed = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]{0,31});(.*)", re.DOTALL).fullmatch
_search_control = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]").search
# RFC 3461 §4.2 and §4.4: what their encoded forms may have at most.
_LONGEST_ENVID: Final = 100
_LONGEST_ORCPT: Final = 500


def asked_for(fields: Mapping[str, Any], envelope: Envelope) -> Extensions | None:
    """What ``fields`` ask of the server; ``None`` where that is nothing.

    Raises ``MessageError`` that names the field; nothing that could end a command or add a parameter is let through.
    """
    get = fields.get
    found = Extensions(
        dsn=_dsn(get("dsn"), envelope),
        require_tls=_flag(get("require_tls"), "require_tls"),
        mt_priority=_whole(get("mt_priority"), "mt_priority", -9, 9),
        deliver_by=_deliver_by(get("deliver_by")),
        hold_for=_whole(get("hold_for"), "hold_for", 1, _MOST_SECONDS),
        hold_until=_moment(get("hold_until")),
        optional=_optional(get("optional_extensions")),
    )
    if found.hold_for is not None and found.hold_until is not None:
        raise MessageError("hold_until: hold_for is given too; keep one of the two", field="hold_until")
    return found if found.asked else None


# -- notifications (RFC 3461) ----------------------------------------------------------------------------------------


def _dsn(given: object, envelope: Envelope) -> Dsn | None:
    if given is None or given is False:
        return None
    if not isinstance(given, Mapping):
        raise MessageError("dsn: give a mapping with notify, return, envid, orcpt, recipients", field="dsn")
    refuse_unknown(given, _DSN_KEYS, "dsn")
    everybody = _wishes(given, "dsn")
    if isinstance(everybody.orcpt, tuple) and len(envelope.recipients) > 1:
        raise MessageError(
            "dsn.orcpt: is one address, and the message has several recipients; give True for each one's own, or "
            "say in dsn.recipients whose it is",
            field="dsn.orcpt",
        )
    found = Dsn(
        ret=_return(given.get("return")),
        envid=_envid(given.get("envid")),
        everybody=everybody,
        recipients=_by_recipient(given.get("recipients"), envelope),
    )
    return None if found == Dsn() else found


def _by_recipient(given: object, envelope: Envelope) -> dict[str, RecipientDsn]:
    field = "dsn.recipients"
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise MessageError(f"{field}: give a mapping of addresses to notify and orcpt", field=field)
    found = {}
    for address, wishes in given.items():
        try:
            normal = normal_address(address) if isinstance(address, str) else None
        except AddressError as error:
            raise AddressError(f"{field}: {error}", field=field) from None
        if normal not in envelope.recipients:
            raise MessageError(f"{field}: the message is not for {address!r:.80}", field=field)
        if not isinstance(wishes, Mapping):
            raise MessageError(f"{field}: {address!r:.80} needs a mapping with notify, orcpt", field=field)
        refuse_unknown(wishes, _RECIPIENT_KEYS, field)
        found[normal] = _wishes(wishes, field)
    return found


def _wishes(given: Mapping[str, Any], where: str) -> RecipientDsn:
    return RecipientDsn(
        notify=_notify(given.get("notify"), f"{where}.notify"),
        orcpt=_orcpt(given.get("orcpt"), f"{where}.orcpt"),
    )


def _notify(given: object, field: str) -> tuple[str, ...]:
    if given is None:
        return ()
    words = [given] if isinstance(given, str) else list(given) if isinstance(given, Iterable) else [given]
    known = {word.upper() if isinstance(word, str) else None for word in words}
    if known == {"NEVER"}:
        return ("NEVER",)
    if not known or not known <= set(_NOTIFY):
        raise MessageError(
            f"{field}: {given!r:.80} is neither 'never' alone nor some of 'success', 'failure' and 'delay'",
            field=field,
        )
    return tuple(word for word in _NOTIFY if word in known)


def _return(given: object) -> Any:
    if given is None:
        return None
    found = _RETURN.get(given.lower()) if isinstance(given, str) else None
    if found is None:
        raise MessageError(f"dsn.return: {given!r:.60} is not 'headers' or 'full'", field="dsn.return")
    return found


def _envid(given: object) -> str | None:
    if given is None:
        return None
    if not isinstance(given, str) or not _is_printable(given) or _encoded_length(given) > _LONGEST_ENVID:
        raise MessageError(
            f"dsn.envid: {given!r:.80} is not printable ASCII text of at most {_LONGEST_ENVID} characters, of which "
            "each space, = and + counts as three",
            field="dsn.envid",
        )
    return given


def _orcpt(given: object, field: str) -> tuple[str, str] | bool:
    if given is None or isinstance(given, bool):
        return bool(given)
    if not isinstance(given, str) or not given or _search_control(given):
        raise MessageError(
            f"{field}: {given!r:.80} is no address; give one, such as 'rfc822;you@example.org', or True",
            field=field,
        )
    typed = _is_typed(given)
    kind, address = (
        (typed[1].lower(), typed[2]) if typed else ("rfc822" if given.isascii() else "utf-8", given)
    )
    if not address or not (kind == "utf-8" or address.isascii()):
        raise MessageError(
            f"{field}: {given!r:.80} needs an address of ASCII characters; others have the type 'utf-8;'",
            field=field,
        )
    if len(kind) + 1 + _encoded_length(address) > _LONGEST_ORCPT:
        raise MessageError(f"{field}: the address is longer than {_LONGEST_ORCPT} characters", field=field)
    return kind, address


def _encoded_length(text: str) -> int:
    return sum(1 if "!" <= char <= "~" and char not in "+=" else 3 if char.isascii() else 10 for char in text)


# -- the others ------------------------------------------------------------------------------------------------------


def _deliver_by(given: object) -> DeliverBy | None:
    """RFC 2852 §4."""
    if given is None:
        return None
    if not isinstance(given, Mapping):
        given = {"seconds": given}
    refuse_unknown(given, _DELIVER_BY_KEYS, "deliver_by")
    seconds = _whole(given.get("seconds"), "deliver_by", 1, _MOST_SECONDS)
    if seconds is None:
        raise MessageError("deliver_by: seconds is missing", field="deliver_by")
    otherwise: Any = given.get("otherwise", "return")
    if not isinstance(otherwise, str) or otherwise not in _OTHERWISE:
        raise MessageError(
            f"deliver_by.otherwise: {otherwise!r:.60} is not 'return' or 'notify'",
            field="deliver_by.otherwise",
        )
    mode: Any = _OTHERWISE[otherwise]
    return DeliverBy(seconds=seconds, mode=mode, trace=_flag(given.get("trace"), "deliver_by.trace"))


def _moment(given: object) -> datetime.datetime | None:
    """RFC 4865 §4, as the errata have it: a time of RFC 3339."""
    if given is None:
        return None
    moment = given
    if isinstance(given, str):
        try:
            moment = datetime.datetime.fromisoformat(given)
        except ValueError:
            moment = None
    if not isinstance(moment, datetime.datetime) or moment.utcoffset() is None:
        raise MessageError(
            f"hold_until: {given!r:.60} is not an aware datetime, or ISO 8601 text with its offset",
            field="hold_until",
        )
    try:
        return moment.astimezone(datetime.UTC).replace(microsecond=0)
    except OverflowError:
        raise MessageError(f"hold_until: {given!r:.60} is out of range", field="hold_until") from None


def _optional(given: object) -> frozenset[str]:
    field = "optional_extensions"
    if given is None:
        return frozenset()
    names = [given] if isinstance(given, str) else list(given) if isinstance(given, Iterable) else [given]
    known = {name.upper() if isinstance(name, str) else None for name in names}
    if "REQUIRETLS" in known:
        raise MessageError(
            f"{field}: REQUIRETLS cannot be optional: leave require_tls away instead", field=field
        )
    if "BINARYMIME" in known:
        raise MessageError(
            f"{field}: BINARYMIME cannot be optional, as a message is not composed anew for a server without it: use "
            "the transfer encoding base64 instead",
            field=field,
        )
    if not known <= _OPTIONAL:
        raise MessageError(f"{field}: {given!r:.80}; known are {', '.join(sorted(_OPTIONAL))}", field=field)
    return frozenset(name for name in known if name)


def _whole(given: object, field: str, least: int, most: int) -> int | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int) or not least <= given <= most:
        raise MessageError(
            f"{field}: {given!r:.60} is not a whole number from {least:,} to {most:,}", field=field
        )
    return given


def _flag(given: object, field: str) -> bool:
    if not (given is None or isinstance(given, bool)):
        raise MessageError(f"{field}: give True or False", field=field)
    return bool(given)

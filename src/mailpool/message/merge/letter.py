"""A letter, and the messages that are made from it."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from ...address import Addresses, Envelope
from ...errors import MessageError
from ...options.access import Access
from ..awaiting import DEEPEST, in_lists, must_wait, own_copy
from ..custom_headers import is_field
from ..fields import Message, header_pairs, message_fields
from ..folding import field_name
from ..seal import ANY_FILE, Sealed, seal
from .pattern import Pattern, Value
from .plan import NoPlan, Plan, sample
from .text_part import Values, values_of

_TEXTS: Final = ("subject", "text", "html")
_FILLED: Final = frozenset(("to", "cc", "bcc", "reply_to", "envelope"))
_PLANNED: Final = frozenset(("envelope",))  # what else may differ without composing the message anew
_NOTHING: Final[Mapping[str, Any]] = {}
_MOST_PLANS: Final = 8


class MailMerge:
    """A letter to many people, prepared once: a message whose ``subject``, ``text``, ``html``, ``list`` and values of
    ``headers`` may have placeholders.

    ``{name}`` stands for a value that `fill` is given; ``{{`` and ``}}`` are braces, also in style sheets. In ``html``
    values are escaped, unless they are `Markup`. In the subject and in headers they are checked and encoded as ever (RFC
    2047): a value can start no header. Nowhere is a value a placeholder again.

    What is sent is to the octet what would be sent if the values were in the fields of an ordinary message. What does not
    depend on the values, attachments above all, is encoded once: the longer the letter, the more it saves.

    :param message: the fields, as a mapping or a `Message`. Addresses are the same for all, or given to `fill`
    :raises MessageError: a field cannot be sent as it is, or has a brace that belongs to no placeholder
    """

    def __init__(self, message: Mapping[str, Any] | Message) -> None:
        if not isinstance(message, Mapping | Message):
            raise MessageError(f"a letter is a mapping or a Message of fields, not {type(message).__name__}")
        # A copy: letters of a batch are the same whatever the caller changes meanwhile.
        fields = own_copy(in_lists(message_fields(message, None)[0]))
        given = {name: value for name, value in fields.items() if value is not None}
        for name in ("raw", "message_id"):
            if name in given:
                raise MessageError(f"{name}: a letter has none, for every message is another one", field=name)
        self._patterns: list[Pattern] = []
        for name in _TEXTS:
            if name in given:
                if not isinstance(given[name], str):
                    kind = type(given[name]).__name__
                    raise MessageError(f"{name}: a letter needs it as text, not as {kind}", field=name)
                given[name] = self._pattern(given[name], name, name)
        self._headers: list[tuple[str, Pattern]] = []
        if given.get("headers"):
            given["headers"] = [self._header(*pair) for pair in header_pairs(given["headers"], "headers")]
        if "list" in given:
            given["list"] = _each(
                given["list"], str, lambda text: self._pattern(text, "list", "list"), "list"
            )
        if "attachments" in given:
            given["attachments"] = _kept_attachments(given["attachments"])
        # Asked as if all were allowed: who asks then asks again for each message.
        self._may_wait = must_wait(
            {name: given[name] for name in given if name not in _TEXTS}, Access(urls=True)
        )
        self._given = given
        self.names: Final = frozenset(name for pattern in self._patterns for name in pattern.names)
        for name in sorted(self.names & _FILLED):
            raise MessageError(f"{{{name}}}: this is the name of a field; choose another", field=name)
        self._html_names = tuple(
            {name for pattern in self._patterns if pattern.key == "html" for name in pattern.names}
        )
        self._plans: list[tuple[Mapping[str, Any] | None, Access, Plan | None]] = []
        self._fields(sample)  # it says what is nested too deep

    def fill(
        self,
        values: Mapping[str, Value] = _NOTHING,
        /,
        *,
        to: Addresses = None,
        cc: Addresses = None,
        bcc: Addresses = None,
        reply_to: Addresses = None,
        envelope: Envelope | Mapping[str, Addresses] | None = None,
        **more: Value,
    ) -> Merged:
        """The message to one recipient, for ``send_mail``, ``send_soon`` and ``send_many``.

        It is written when it is sent. So an address that is none, or a value that cannot be sent, is an error of that
        message, and ``send_many`` goes on with the next one.

        :param values: a row, of which only what the letter asks for is used
        :param to: as the field of this name; likewise ``cc``, ``bcc``, ``reply_to``, ``envelope``
        :param more: values by name, in addition; each must be one that the letter asks for. A value is text, a whole
            number, or `Markup`
        :raises MessageError: a value is missing, or there is no placeholder for it; ``field`` names it
        """
        if more:
            for name in more:
                if name not in self.names:
                    known = ", ".join(sorted(self.names)) or "none"
                    raise MessageError(
                        f"{{{name}}}: the letter has no such placeholder, but {known}", field=name
                    )
            values = {**values, **more}
        try:
            taken = {name: values[name] for name in self.names}
        except KeyError as error:
            name = error.args[0]
            raise MessageError(
                f"{{{name}}}: the letter asks for it, and there is no value", field=name
            ) from None
        if cc is bcc is reply_to is envelope is None:
            return Merged(self, taken, to, _NOTHING)
        addressed = {"cc": cc, "bcc": bcc, "reply_to": reply_to, "envelope": envelope}
        return Merged(
            self, taken, to, {name: value for name, value in addressed.items() if value is not None}
        )

    def _plan_with(self, defaults: Mapping[str, Any] | None, access: Access) -> Plan | None:
        """What is prepared for a transporter with these defaults and this access; None if nothing can be.

        It is no sooner than here that the letter may read a file: who says so is the transporter.
        """
        for known, allowed, plan in self._plans:
            if known is defaults and (allowed is access or allowed == access):
                return plan
        fields, unusual = message_fields(self._fields(sample), defaults)
        patterns = {pattern.key: pattern for pattern in self._patterns if pattern.names}
        listing = self._listing if "list" in patterns else None
        made: Plan | None
        try:
            made = Plan(fields, unusual, patterns, self._headers, listing, access)
        except NoPlan:
            made = None
        self._plans = [(defaults, access, made), *self._plans[: _MOST_PLANS - 1]]
        return made

    def _pattern(self, text: str, field: str, key: str) -> Pattern:
        pattern = Pattern(text, field, key)
        self._patterns.append(pattern)
        return pattern

    def _header(self, given: object, value: Any) -> tuple[str, Any]:
        name = field_name(given, "headers")

        def pattern_of(text: str) -> Pattern:
            pattern = self._pattern(text, f"headers[{name}]", f"header{len(self._patterns)}")
            if pattern.names:
                if is_field(name):
                    raise MessageError(
                        f"headers[{name}]: nothing is filled in here; give this field to fill",
                        field="headers",
                    )
                self._headers.append((name, pattern))
            return pattern

        if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
            return name, [pattern_of(item) if isinstance(item, str) else item for item in value]
        return name, pattern_of(value) if isinstance(value, str) else value

    def _fields(self, text_of: Callable[[Pattern], str]) -> dict[str, Any]:
        """The fields of an ordinary message, with ``text_of(…)`` in place of each pattern."""
        fields = dict(self._given)
        for name in (*_TEXTS, "headers", "list"):
            if name in fields:
                fields[name] = _each(fields[name], Pattern, text_of, name)
        return fields

    def _listing(self, values: Values) -> Any:
        return _each(self._given["list"], Pattern, lambda pattern: pattern.filled(values.texts), "list")

    def __repr__(self) -> str:
        return f"<MailMerge of {', '.join(sorted(self.names)) or 'nothing'}>"


class Merged:
    """A letter with the values for one recipient; ``to`` and ``values`` are as they were given. `MailMerge.fill` makes it.

    It is written when it is sent, so that a hundred thousand of them are small.
    """

    __slots__ = ("_addressed", "_letter", "to", "values")

    def __init__(
        self, letter: MailMerge, values: Mapping[str, Value], to: Addresses, addressed: Mapping[str, Any]
    ) -> None:
        self._letter = letter
        self.values = values
        self.to = to
        self._addressed = addressed

    @property
    def for_all(self) -> Mapping[str, Any]:
        """The fields that are the same in all messages of the letter, as they were given."""
        return self._letter._given

    @property
    def may_wait(self) -> bool:
        """Whether something of it may have to be awaited before it is sealed."""
        return self._letter._may_wait

    def fields(self) -> dict[str, Any]:
        """The same as the fields of an ordinary message, with every value in its place.

        :raises MessageError: a value is neither text nor a whole number
        """
        text, html = values_of(self.values, self._letter._html_names)
        fields = self._letter._fields(
            lambda pattern: pattern.filled((html if pattern.key == "html" else text).texts)
        )
        for name, value in (("to", self.to), *self._addressed.items()):
            if value is not None:
                fields[name] = value
        return fields

    def sealed(
        self,
        *,
        now: datetime.datetime,
        token: Callable[[], str],
        hostname: str = "localhost",
        defaults: Mapping[str, Any] | None = None,
        access: Access = ANY_FILE,
        lenient: bool = False,
    ) -> Sealed:
        """The message as octets and envelope; the arguments and the errors are those of ``seal``."""
        fresh = token()
        addressed = self._addressed
        if not (self.to is None or lenient or (addressed and not addressed.keys() <= _PLANNED)):
            plan = self._letter._plan_with(defaults, access)
            if plan is not None:
                text, html = values_of(self.values, self._letter._html_names)
                try:
                    sealed = plan.composed(
                        self.to, addressed.get("envelope"), text, html, now, fresh, hostname
                    )
                except NoPlan:
                    pass
                else:
                    return Sealed(*sealed)
        return seal(
            self.fields(),
            now=now,
            token=lambda: fresh,
            hostname=hostname,
            defaults=defaults,
            access=access,
            lenient=lenient,
        )

    def __repr__(self) -> str:
        return f"<Merged message of {self._letter!r}>"


def _kept_attachments(attachments: Any) -> Any:
    """The attachments as what can be read for more than one message."""
    if not isinstance(attachments, Iterable) or isinstance(attachments, str | bytes | Mapping):
        return attachments  # the composer says what is wrong with it
    kept = list(attachments)
    for number, attachment in enumerate(kept):
        content = (
            attachment.get("content")
            if isinstance(attachment, Mapping)
            else getattr(attachment, "content", None)
        )
        if not isinstance(content, str | bytes | bytearray | memoryview | None):
            field = f"attachments[{number}].content"
            raise MessageError(
                f"{field}: a {type(content).__name__} can be read only once; give octets, text or a path",
                field=field,
            )
    return kept


def _each(given: Any, kind: type[Any], made: Callable[[Any], Any], field: str, depth: int = 0) -> Any:
    """``given`` with ``made(…)`` of all that is a ``kind`` in it, in lists and mappings within one another."""
    if isinstance(given, kind):
        return made(given)
    if not isinstance(given, Mapping | list | tuple):
        return given
    if depth == DEEPEST:  # perhaps it is in itself
        raise MessageError(f"{field}: lists and mappings are nested deeper than in any field", field=field)
    if isinstance(given, Mapping):
        return {key: _each(value, kind, made, field, depth + 1) for key, value in given.items()}
    return [_each(value, kind, made, field, depth + 1) for value in given]

"""The one way from what callers give to a sealed message: defaults, clock and dice come in here."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import os
import socket
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from email.message import Message as StdlibMessage
from functools import partial
from typing import Any

from ..errors import MessageError
from ..message import Merged, Message, Sealed, seal
from ..message.awaiting import CONTENT_FIELDS, awaited, in_lists, must_wait, own_copy
from ..message.dkim import LoadedKey, Signatures, signed, takes_long
from ..message.fields import message_fields
from ..message.letter import letter
from ..message.seal import sealed_octets
from ..message.smime import LoadedSmime, Protection, protected
from ..message.sources import Found
from ..net import cancelled
from ..options import Options
from .hooks import Hooks, in_a_task
from .signing_threads import SigningThreads

AnyMessage = Mapping[str, Any] | Message | StdlibMessage | Sealed | Merged


class Preparation:
    """Seals the messages of one transporter.

    ``hooks`` are the user's. ``access`` is what messages may read: it comes from the options, and nothing that belongs to
    a message can reach it.
    """

    def __init__(self, options: Options, repaired: Callable[[str, str], None] = lambda *_: None) -> None:
        """``repaired`` is told the Message-ID and each thing that was repaired in the addresses of a message."""
        self.hooks = Hooks()
        self._hostname = options.name or socket.gethostname() or "localhost"
        self._defaults = options.defaults or None
        self._access = options.access
        self._lenient = options.addresses == "lenient"
        self._repaired = repaired
        self._signs = options.smime is not None or options.dkim is not None
        self._protection = Protection(options.smime)
        self._signatures = Signatures(options.dkim)
        self._is_ordinary = not (self._defaults or self._lenient or self._signs)
        self._is_plain = not _may_wait(options.defaults)
        self._threads = SigningThreads()
        self._second = -1
        self._moment = datetime.datetime.min

    def prepare(self, message: AnyMessage, *, may_wait: bool = True) -> Sealed | Coroutine[Any, Any, Sealed]:
        """The message as octets and envelope, or the rest of the way there if something has to be awaited first.

        All that comes before the first thing that has to be awaited has been done then. A message that is sealed already
        stays as it is.

        :param may_wait: whether signing that takes long may be awaited too, done by a thread
        :raises MessageError: a field cannot be sent as it is, or a hook failed
        """
        # By far the most messages are text alone; each further look at them would be felt.
        if self._is_ordinary and type(message) is dict and not self.hooks.are_there:
            if "raw" in message:
                finished = sealed_octets(message)
                if finished is not None:
                    return finished
            else:
                found = letter(message, self._now(), _token)
                if found is not None:
                    return Sealed(*found)
        if type(message) is dict and self._is_plain and not self.hooks.are_there:
            for value in message.values():
                if type(value) is not str:
                    break
            else:
                if not (self._signs or "dkim" in message or "smime" in message):
                    return self._seal(message, self._defaults)
        if isinstance(message, Sealed):
            return message
        sealed: Sealed | None = None
        if isinstance(message, Merged):
            if self._is_plain and not (message.may_wait or self.hooks.are_there):
                sealed = self._filled(message)
                message = message.for_all
            else:
                message = message.fields()
        elif self._is_plain and not self.hooks.are_there and not _may_wait(message):
            sealed = self._seal(message, self._defaults)
        if sealed is not None:
            if not self._may_sign(message):
                return sealed
            steps = self._signed(sealed, message, may_wait)
        else:
            steps = self._steps(message, may_wait)
        try:
            steps.send(None)
        except StopIteration as done:
            done_at_once: Sealed = done.value
            return done_at_once
        return steps

    def seal(self, message: AnyMessage) -> Sealed:
        """The same for those who cannot wait.

        :raises MessageError: something has to be awaited first, besides what ``prepare`` raises
        """
        prepared = self.prepare(message, may_wait=False)
        if isinstance(prepared, Sealed):
            return prepared
        prepared.close()
        raise MessageError("the message holds something that has to be awaited; send it with send_mail")

    async def _steps(self, message: Mapping[str, Any] | Message | StdlibMessage, may_wait: bool) -> Sealed:
        final, defaults = message, self._defaults
        if isinstance(message, Mapping | Message):
            raw = message.raw if isinstance(message, Message) else message.get("raw")
            if raw is None:
                message, defaults = message_fields(message, defaults)[0], None
            else:
                message = message_fields(message, None)[0]
            fields = in_lists(message)
            # Copies: what a hook changes, and what the caller changes while something is awaited, stays with them.
            if self.hooks.are_there:
                fields = in_lists(await self.hooks.run("compose", own_copy(fields), Mapping))
            if must_wait(fields, self._access):
                fields = own_copy(fields)
                await in_a_task()
                fields = await self._awaited(fields)
            final = fields
        sealed: Sealed = await self.hooks.run("sealed", self._seal(final, defaults), Sealed)
        # A copy: the hook may keep its own.
        return await self._signed(dataclasses.replace(sealed), final, may_wait)

    async def _awaited(self, fields: dict[str, Any]) -> dict[str, Any]:
        try:
            return await awaited(fields, self._access, self._fetch)
        except asyncio.CancelledError as error:
            if cancelled.is_ours():
                raise
            raise MessageError("a content could not be read: what it waited for was cancelled") from error

    def _may_sign(self, message: object) -> bool:
        """Whether there may be keys for ``message``; by far the most bring none of their own."""
        return self._signs or type(message) is not dict or "dkim" in message or "smime" in message

    async def _signed(self, sealed: Sealed, message: object, may_wait: bool) -> Sealed:
        """Last of all, and DKIM after S/MIME: whatever changed the content after this would break the signature."""
        if not self._may_sign(message):
            return sealed
        smime, keys = self._protection.of(message), self._signatures.keys_for(message)
        if smime is None and not keys:
            return sealed
        work = partial(_sign, sealed, smime, keys, self._now())
        if not (may_wait and takes_long(sealed.content.size, keys)):
            return work()
        await in_a_task()
        return await self._threads.run(work)

    async def close(self, timeout: float) -> None:
        """End what `prepare` has started beside the event loop.

        :param timeout: seconds for what is under way
        """
        await self._threads.close(timeout)

    def _filled(self, message: Merged) -> Sealed:
        sealed = message.sealed(
            now=self._now(),
            token=_token,
            hostname=self._hostname,
            defaults=self._defaults,
            access=self._access,
            lenient=self._lenient,
        )
        return self._told(sealed)

    def _seal(
        self,
        message: Mapping[str, Any] | Message | StdlibMessage,
        defaults: Mapping[str, Any] | None,
    ) -> Sealed:
        sealed = seal(
            message,
            now=self._now(),
            token=_token,
            hostname=self._hostname,
            defaults=defaults,
            access=self._access,
            lenient=self._lenient,
        )
        return self._told(sealed)

    def _told(self, sealed: Sealed) -> Sealed:
        if sealed.repairs:
            for repair in sealed.repairs:
                self._repaired(sealed.message_id, repair)
        return sealed

    async def _fetch(self, url: str, headers: Mapping[str, str] | None, field: str) -> Found:
        # Imported late: it needs an extra, and few programs have it fetch anything.
        from ..net.fetch import fetch

        return await fetch(url, headers, field, self._access)

    def _now(self) -> datetime.datetime:
        """The local time to the second, which is all that Date tells; the same object within one second."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._moment = datetime.datetime.fromtimestamp(second).astimezone()
        return self._moment


def _sign(
    sealed: Sealed, smime: LoadedSmime | None, keys: Sequence[LoadedKey], now: datetime.datetime
) -> Sealed:
    content = sealed.content
    if smime is not None:
        content = protected(content, smime, now, _token())
    if keys:
        content = signed(content, keys, int(now.timestamp()))
    return dataclasses.replace(sealed, content=content)


def _token() -> str:
    return os.urandom(16).hex()


def _may_wait(message: Mapping[str, Any] | Message | StdlibMessage) -> bool:
    """Whether any content may have to be awaited, by the look of it; nearly always the answer is no."""
    if isinstance(message, Message):
        contents = [getattr(message, name, None) for name in CONTENT_FIELDS]
    elif isinstance(message, Mapping):
        contents = [message[name] for name in CONTENT_FIELDS if name in message]
    else:
        return False
    return not all(content is None or isinstance(content, str | bytes) for content in contents)

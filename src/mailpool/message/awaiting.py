"""Contents that have to be awaited before a message can be sealed: async iterators, async files, and URLs.

Nothing is awaited here but what the message holds and the ``fetch`` that is handed in.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Mapping
from typing import Any, Final, TypeAlias

from ..errors import MessageError
from ..options.access import Access
from .contents import is_url
from .fields import Attachment, Fields
from .sources import Found, Spool

# Fetch(url, header fields, field of the message): the content behind the URL.
Fetch: TypeAlias = Callable[[str, Mapping[str, str] | None, str], Awaitable[Found]]

# The fields that hold contents, or lists of things that do.
CONTENT_FIELDS: Final[tuple[str, ...]] = (
    "text",
    "html",
    "attachments",
    "raw",
    "alternatives",
    "calendar",
    "amp",
    "watch_html",
)
_LISTS: Final = ("attachments", "alternatives")
_READ: Final = 65_536
# After so many pieces of a content others have their turn.
_TURN: Final = 64
# Nothing that a message can hold is nested deeper.
DEEPEST: Final = 8


def must_wait(fields: Fields, access: Access) -> bool:
    """Whether any content of a message has to be awaited."""
    return any(_must_wait(fields[name], access) for name in CONTENT_FIELDS if name in fields)


def _must_wait(value: Any, access: Access, depth: int = 0) -> bool:
    if value is None or isinstance(value, str | bytes) or depth == DEEPEST:
        return False
    if isinstance(value, list | tuple):
        return any(_must_wait(item, access, depth + 1) for item in value)
    if isinstance(value, Attachment):
        return (
            _must_wait(value.content, access, depth + 1)
            or _must_wait(value.raw, access, depth + 1)
            or (access.urls and (_is_url(value.href) or _is_url(value.path)))
        )
    if isinstance(value, Mapping):
        return (
            _must_wait(value.get("content"), access, depth + 1)
            or _must_wait(value.get("raw"), access, depth + 1)
            or (access.urls and (_is_url(value.get("href")) or _is_url(value.get("path"))))
        )
    return _is_async(value)


def _is_url(value: object) -> bool:
    return isinstance(value, str) and is_url(value.strip())


def _is_async(value: object) -> bool:
    return hasattr(value, "__aiter__") or inspect.iscoroutinefunction(getattr(value, "read", None))


def in_lists(fields: Fields) -> dict[str, Any]:
    """The same fields with lists for what else could be gone through only once."""
    listed = dict(fields)
    for name in _LISTS:
        value = fields.get(name)
        if isinstance(value, Iterable) and not isinstance(value, str | bytes | list | tuple | Mapping):
            listed[name] = list(value)
    return listed


def own_copy(fields: Fields) -> dict[str, Any]:
    """The same fields in mappings and lists that nobody else holds.

    Contents are not copied, but for octets that can change.
    """
    return {name: _own(value) for name, value in fields.items()}


def _own(value: Any, depth: int = 0) -> Any:
    if type(value) in (str, bytes, int, bool) or depth == DEEPEST:
        return value
    if isinstance(value, list | tuple):
        items = [_own(item, depth + 1) for item in value]
        # What is no plain list or tuple is a value of a kind of its own.
        return items if type(value) is list else tuple(items) if type(value) is tuple else value
    if isinstance(value, Mapping):
        pairs = [(name, _own(item, depth + 1)) for name, item in value.items()]
        own = dict(pairs)
        return own if len(own) == len(pairs) else value  # some have several values of a name
    if isinstance(value, Attachment):
        return Attachment(
            **{one.name: _own(getattr(value, one.name), depth + 1) for one in dataclasses.fields(value)}
        )
    return bytes(value) if isinstance(value, bytearray | memoryview) else value


async def awaited(fields: Fields, access: Access, fetch: Fetch) -> dict[str, Any]:
    """The same fields with what was awaited in place of what had to be.

    Raises ``MessageError`` that names the field of a content that could not be read.
    """
    ready = dict(fields)
    for name in CONTENT_FIELDS:
        if name in fields and _must_wait(fields[name], access):
            ready[name] = await _awaited(fields[name], name, access, fetch)
    return ready


async def _awaited(value: Any, field: str, access: Access, fetch: Fetch) -> Any:
    if not _must_wait(value, access):
        return value
    if isinstance(value, list | tuple):
        return [
            await _awaited(item, f"{field}[{number}]", access, fetch) for number, item in enumerate(value)
        ]
    if isinstance(value, Attachment):
        given = {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
        return Attachment(**await _awaited_mapping(given, field, access, fetch))
    if isinstance(value, Mapping):
        return await _awaited_mapping(dict(value), field, access, fetch)
    return await _read(value, field, access)


async def _awaited_mapping(given: dict[str, Any], field: str, access: Access, fetch: Fetch) -> dict[str, Any]:
    for name in ("content", "raw"):
        if given.get(name) is not None:
            given[name] = await _awaited(given[name], f"{field}.{name}", access, fetch)
    for name in ("href", "path"):
        if access.urls and _is_url(given.get(name)) and given.get("content") is None:
            url, headers = given.pop(name).strip(), given.pop("http_headers", None)
            given["content"] = await fetch(url, headers, f"{field}.{name}")
    return given


async def _read(source: Any, field: str, access: Access) -> Found:
    spool = Spool(field, access.max_size)
    try:
        pieces: AsyncIterator[Any] = _read_file(source) if _has_read(source) else aiter(source)
        try:
            read = 0
            async for piece in pieces:
                spool.write(piece)
                read += 1
                if not read % _TURN:
                    await _others_turn()
        finally:
            # Its clean-up is not left to the garbage collector, which would do it in a task that nobody awaits.
            close = getattr(pieces, "aclose", None)
            if close is not None:
                await close()
        return Found(spool.finish())
    except MessageError:
        raise
    except Exception as error:  # whatever the caller's own code raises
        raise MessageError(f"{field}: it could not be read: {error}", field=field) from error
    finally:
        spool.close()


@types.coroutine
def _others_turn() -> Generator[None, None, None]:
    """Let the event loop do something else: a source that never waits would hold up everything."""
    yield


def _has_read(source: object) -> bool:
    return inspect.iscoroutinefunction(getattr(source, "read", None))


async def _read_file(file: Any) -> AsyncIterator[Any]:
    # Async files that can be iterated give lines; blocks are cheaper.
    while piece := await file.read(_READ):
        yield piece

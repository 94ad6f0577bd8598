"""What a message may make the program read: files of this machine, and URLs.

The value only says it; `mailpool.message.files` and `mailpool.net.fetch` are the two places that read, and both ask it.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigurationError

# What others send us is bounded even if nobody said how much.
_MOST_FETCHED = 50 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What messages may read. It belongs to a transporter; nothing in a message, its defaults or a hook changes it.

    ``Access.of("none")`` allows neither files nor URLs: right for fields that strangers have a hand in.

    :param files: whether a message may name files; or a directory: only the regular files below it, wherever links
        lead, and relative paths start there
    :param urls: whether it may name ``http:`` and ``https:`` URLs, which are fetched before the message is sealed
    :param max_size: octets of any one content; ``None``: 50 MiB of what a URL or a data URI holds, and no bound for
        files and for what the program gives itself
    :param timeout: seconds for a URL from the look-up of its name to the last octet, redirects included
    :param max_redirects: of a URL; 0 allows none
    :param private_addresses: whether a URL may lead to this machine or a private network; otherwise every address is
        checked before it is connected to
    :raises ConfigurationError: a value has the wrong type or range
    """

    files: bool | str | os.PathLike[str] = True
    urls: bool = False
    max_size: int | None = None
    timeout: float = 30.0
    max_redirects: int = 5
    private_addresses: bool = False

    def __post_init__(self) -> None:
        files = self.files
        if not isinstance(files, bool):
            path: Any = os.fspath(files) if isinstance(files, os.PathLike) else files
            if not isinstance(path, str) or not path or "\0" in path:
                raise _wrong("files", "must be True, False or a directory", files)
            # What it is relative to must not change with the working directory.
            object.__setattr__(self, "files", os.path.realpath(path))
        for name in ("urls", "private_addresses"):
            if not isinstance(getattr(self, name), bool):
                raise _wrong(name, "must be True or False", getattr(self, name))
        if self.max_size is not None and (not _is_whole(self.max_size) or self.max_size < 1):
            raise _wrong("max_size", "must be a number of octets, or None", self.max_size)
        if not _is_whole(self.max_redirects) or self.max_redirects < 0:
            raise _wrong("max_redirects", "must be a whole number", self.max_redirects)
        if isinstance(self.timeout, bool) or not isinstance(self.timeout, int | float):
            raise _wrong("timeout", "must be a number of seconds", self.timeout)
        if not 0 < self.timeout < math.inf:
            raise _wrong("timeout", "must be a number of seconds above 0", self.timeout)

    @property
    def most_fetched(self) -> int:
        """Octets that a URL or a data URI may hold."""
        return _MOST_FETCHED if self.max_size is None else self.max_size

    @classmethod
    def of(cls, value: object) -> Access:
        """From what people write: an ``Access``, ``"none"``, or a mapping of its fields."""
        if isinstance(value, cls):
            return value
        if value == "none":
            return cls(files=False, urls=False)
        if isinstance(value, Mapping):
            given: dict[str, Any] = dict(value)
            known = [field.name for field in dataclasses.fields(cls)]
            for name in given:
                if name not in known:
                    raise ConfigurationError(
                        f"access: unknown field {name!r:.60}; known are {', '.join(known)}", option="access"
                    )
            return cls(**given)
        raise ConfigurationError(
            f"access: must be an Access, 'none' or a mapping, not {type(value).__name__}", option="access"
        )


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _wrong(name: str, what: str, value: object) -> ConfigurationError:
    return ConfigurationError(f"access.{name} {what}, not {value!r:.80}", option="access")

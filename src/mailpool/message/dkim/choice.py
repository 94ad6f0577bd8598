"""Which keys sign a message: those of the transporter, or those that the message brings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ...errors import ConfigurationError, MessageError
from ...options.dkim_key import DkimKey, dkim_keys
from ..fields import Message
from .private_keys import LoadedKey, load_key

Keys = tuple[LoadedKey, ...]


class Signatures:
    """The keys of one transporter, each read once. Those of its options are read now.

    :raises ConfigurationError: one of them cannot be used
    """

    def __init__(self, keys: tuple[DkimKey, ...] | None) -> None:
        self._usual = tuple(map(load_key, keys or ()))
        # A program that sends for many domains gives the same keys again and again.
        self._load = lru_cache(maxsize=256)(load_key)

    def keys_for(self, message: object) -> Keys:
        """The keys for ``message``; none if it is not to be signed.

        :raises MessageError: those that it brings cannot be used; it is not sent unsigned in place of that
        """
        given: Any = None
        if type(message) is dict or isinstance(message, Mapping):
            given = message.get("dkim")
        elif isinstance(message, Message):
            given = message.dkim
        if given is None:
            return self._usual
        if given is False:
            return ()
        try:
            keys = dkim_keys("dkim", given)
            # Messages are made of what others wrote, and no message makes us read a file as if it were a key.
            if any(isinstance(key.private_key, os.PathLike) for key in keys):
                raise MessageError(
                    "dkim: a message cannot name the file of a key; give the key itself, or the option dkim",
                    field="dkim",
                )
            return tuple(map(self._load, keys))
        except ConfigurationError as error:
            raise MessageError(str(error), field="dkim") from None

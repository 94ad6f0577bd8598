"""Which S/MIME a message gets: that of the transporter, or that which the message brings."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from ...errors import ConfigurationError, MessageError
from ...options.smime_identity import Smime
from .credentials import LoadedSmime, load_smime


class Protection:
    """The S/MIME of one transporter, whose certificates and key are read now, once.

    :raises ConfigurationError: they cannot be used
    """

    def __init__(self, smime: Smime | None) -> None:
        self._usual = None if smime is None else load_smime(smime)
        self._load = lru_cache(maxsize=256)(load_smime)

    def of(self, message: object) -> LoadedSmime | None:
        """What ``message`` is signed and encrypted with, if it is.

        :raises MessageError: what it brings cannot be used; it is not sent unprotected in place of that
        """
        # Neither a message of the standard library nor any other has such an attribute by accident.
        own = message.get("smime") if isinstance(message, Mapping) else getattr(message, "smime", None)
        if own is None:
            return self._usual
        if own is False:
            return None
        try:
            smime = Smime.of(own)
            if smime.files:
                raise MessageError(
                    "smime: a message cannot name the files of keys and certificates; give them themselves, or the "
                    "option smime",
                    field="smime",
                )
            return self._load(smime)
        except ConfigurationError as error:
            raise MessageError(str(error), field="smime") from None

"""Arguments of carriers, checked when the carrier is made and not by the first message."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ..errors import ConfigurationError


def checked_path(name: str, value: object) -> str:
    """The path ``value`` as text.

    :raises ConfigurationError: it is none
    """
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str) or not text or "\0" in text:
        raise ConfigurationError(f"{name}: must be a path, not {value!r:.80}", option=name)
    return text


def checked_seconds(name: str, value: object) -> float:
    """``value`` as a number of seconds, at most a day. Text may come from a URL.

    :raises ConfigurationError: it is none
    """
    seconds = 0.0
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            seconds = float(value)
        except ValueError:
            seconds = 0.0
    if not 0 < seconds < 86_400:
        raise ConfigurationError(f"{name}: must be a number of seconds, not {value!r:.80}", option=name)
    return seconds


def checked_texts(name: str, value: object) -> list[str]:
    """The texts of a sequence.

    :raises ConfigurationError: it is none, or holds something else
    """
    texts: list[Any] = (
        list(value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else [None]
    )
    if not all(isinstance(text, str) and "\0" not in text for text in texts):
        raise ConfigurationError(f"{name}: must be a sequence of texts, not {value!r:.80}", option=name)
    return texts


def checked_count(name: str, value: object) -> int:
    """``value`` as a whole number above 0.

    :raises ConfigurationError: it is none
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{name}: must be a whole number above 0, not {value!r:.80}", option=name)
    return value

"""A plugin for pytest that keeps the octets of each message composed in a run, one line of hex each.

``pytest -p parsers.recorder`` with the file to write in ``MAILPOOL_RECORD``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from mailpool.message import seal as _  # noqa: F401  the module of that name has to be loaded

LARGEST = 100_000


@pytest.fixture(autouse=True, scope="session")
def _recorded() -> Iterator[None]:
    import sys

    module: Any = sys.modules["mailpool.message.seal"]
    composed = module.composed
    kept: set[str] = set()

    def recording(*arguments: Any) -> Any:
        result = composed(*arguments)
        content = result[1]
        if content.size is not None and content.size <= LARGEST:
            kept.add(b"".join(content.blocks()).hex())
        return result

    module.composed = recording
    yield
    module.composed = composed
    with open(os.environ["MAILPOOL_RECORD"], "w") as record:
        record.writelines(f"{line}\n" for line in sorted(kept))

"""How a fixture gives a real server to a test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import pytest
from servers import NotAvailable
from servers.daemon import Daemon

D = TypeVar("D", bound=Daemon)


def running(daemon: D) -> Iterator[D]:
    """Started; ended and removed after the test. The test is skipped where it cannot be had."""
    try:
        daemon.__enter__()
    except NotAvailable as reason:
        pytest.skip(str(reason))
    yield daemon
    daemon.__exit__()

"""A plugin for pytest: only the tests that carry the ID in ``MAILPOOL_CHECK``."""

from __future__ import annotations

import os

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = os.environ["MAILPOOL_CHECK"]
    carrying = [item for item in items if any(mark.args[0] == wanted for mark in item.iter_markers("rule"))]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(carrying)])
    items[:] = carrying

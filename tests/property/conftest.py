"""What is beside the tests is found by them, as no import mode of pytest does by itself, and its asserts say what they saw."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest.register_assert_rewrite("against_server", "strict_server")

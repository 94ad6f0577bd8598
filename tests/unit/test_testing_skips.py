"""In CI nothing is skipped in silence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"

TESTS = """\
import pytest

def test_passes(): pass

@pytest.mark.parametrize("n", [1])
def test_skipped(n): pytest.skip("no luck")

@pytest.mark.xfail(reason="known")
def test_known(): assert False
"""


def run(folder: Path, allowed: str, ci: str, *more: str) -> tuple[int, str]:
    tests = folder / "tests"
    tests.mkdir()
    (tests / "conftest.py").write_text(CONFTEST.read_text())
    (tests / "allowed-skips.txt").write_text(allowed)
    (tests / "test_some.py").write_text(TESTS)
    (tests / "test_module.py").write_text('import pytest\npytest.skip("not here", allow_module_level=True)\n')
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        "--rootdir",
        str(folder),
    ]
    done = subprocess.run(
        [*command, "--asyncio-mode=auto", *more, str(tests)],
        env={**os.environ, "CI": ci, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_a_skip_in_ci_fails_with_its_reason(tmp_path: Path) -> None:
    status, output = run(tmp_path, "", "true")
    assert status != 0
    assert "no luck" in output or "not here" in output
    assert "has to be listed in tests/allowed-skips.txt" in output


def test_so_it_is_where_processes_share_the_tests(tmp_path: Path) -> None:
    status, output = run(tmp_path, "tests/test_module.py\n", "true", "-n", "1")
    assert status != 0
    assert "no luck" in output
    assert "has to be listed in tests/allowed-skips.txt" in output
    assert "1 failed, 1 passed, 1 skipped, 1 xfailed" in output


@pytest.mark.parametrize("listed", ["tests/test_some.py::test_skipped[1]", "tests/test_some.py::*  # reason"])
def test_a_listed_skip_is_allowed(tmp_path: Path, listed: str) -> None:
    status, output = run(tmp_path, f"{listed}\ntests/test_module.py\n", "true")
    assert status == 0, output
    assert "1 passed, 2 skipped, 1 xfailed" in output


def test_elsewhere_skips_are_skips(tmp_path: Path) -> None:
    status, output = run(tmp_path, "", "")
    assert status == 0, output

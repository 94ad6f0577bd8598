"""``mailpool services``, as a program."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("typer")

from mailpool import services

PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"


def mailpool(*arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "mailpool.cli", "services", *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=250, check=False,
        env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def test_all_of_them() -> None:
    status, out, _ = mailpool()
    assert status == 0
    told = [line.split()[0] for line in out.splitlines()[1:-1]]
    assert told == [preset.name for preset in services()]
    assert f"{len(services())} services" in out


def test_the_one_on_the_page() -> None:
    shown = re.search(r"\$ mailpool services icloud\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert shown is not None
    _, out, _ = mailpool("someone@icloud.com")
    assert [line.rstrip() for line in out.splitlines()] == shown[1].splitlines()


def test_the_one_that_is_meant_comes_first_and_is_told_in_full() -> None:
    _, out, _ = mailpool("zoho")
    assert "smtp.zoho.com port 465" in out
    assert re.search(r"^zoho-eu .* smtp\.zoho\.eu ", out, re.MULTILINE)


def test_for_programs() -> None:
    status, out, _ = mailpool("--json")
    assert status == 0
    told = {entry["name"]: entry for entry in json.loads(out)}
    assert list(told) == [preset.name for preset in services()]
    assert told["icloud"]["limits"]["max_recipients"] == {"value": 500, "source": "official", "date": "2026-11-22"}  # fmt: skip
    assert told["gmail"]["aliases"] == ["google mail"]


@pytest.mark.parametrize("arguments", [["nowhere"], ["nowhere", "--json"]])
def test_none_is_found(arguments: list[str]) -> None:
    status, out, err = mailpool(*arguments)
    assert status == 1
    assert out.strip() in ("", "[]")
    assert "Traceback" not in err

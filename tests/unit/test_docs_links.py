"""Links lead somewhere, and no tracked file tells of the machine that it was written on."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
FENCE = re.compile(r"^(```+).*?^\1$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^()\s]+)\)")
# Files that the pages name in words, as `tests/unit` or `examples/sigterm.py`.
NAMED = re.compile(r"`((?:docs|examples|src|tests)/[\w./-]*|[A-Z]+\.md|Makefile|pyproject\.toml)`")


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text("utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors of the headings, as forges make them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        if link.startswith("https://"):
            continue
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), link
        assert not anchor or anchor in anchors(file), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_named_in_words_exist(page: Path) -> None:
    assert [name for name in NAMED.findall(prose(page)) if not (ROOT / name).exists()] == []


def test_the_front_page_links_to_every_page() -> None:
    linked = {link.partition("#")[0] for link in LINK.findall(prose(ROOT / "docs" / "index.md"))}
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"} == linked


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_one_title_and_ends_its_fences(page: Path) -> None:
    assert len(re.findall(r"^# ", prose(page), re.MULTILINE)) == 1
    assert page.read_text("utf-8").count("\n```") % 2 == 0


# -- every tracked file ----------------------------------------------------------------------------------------------


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("this is no checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


# Written so that this file does not find itself.
_FOREIGN = {
    "the host of a package registry": re.compile(
        r"\b(?:files\.python" + r"hosted|pypi\.(?:org|python)|registry\.npm" + r"js|proxy\.golang)\b"
    ),
    "a path of one machine": re.compile(r"(?<![\w.*])/(?:ho" + r"me|Users|wo" + r"rk|ro" + r"ot)/[\w.-]+"),
}


@pytest.mark.parametrize("what", _FOREIGN)
def test_no_tracked_file_holds(what: str) -> None:
    found = []
    for file in tracked_files():
        text = file.read_text("utf-8", errors="replace")
        found += [f"{file.relative_to(ROOT)}: {match[0]}" for match in _FOREIGN[what].finditer(text)]
    assert found == []

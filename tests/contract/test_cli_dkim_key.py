"""``mailpool dkim-key``: a key that signs, and the record that dkimpy finds the public half in."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

pytest.importorskip("typer")

from mailpool import DkimKey, dkim_record
from mailpool.content import BytesContent
from mailpool.message.dkim import load_key, signed

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import dkim


def dkim_key(*arguments: str | Path) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "mailpool.cli", "dkim-key", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    assert "Traceback" not in done.stderr
    assert "PRIVATE" not in done.stdout + done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_a_new_key_signs_and_its_record_verifies(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "dkim.pem"
    status, out, err = dkim_key("--kind", kind, "bücher.example", "2026a", file)
    assert (status, "new private key" in err) == (0, True)
    assert file.stat().st_mode & 0o777 == 0o600
    name, _, strings = out.strip().partition(". IN TXT ")
    texts = re.findall(r'"([^"]*)"', strings)
    assert all(len(text) <= 255 for text in texts)
    assert (name, "".join(texts)) == dkim_record(DkimKey("bücher.example", "2026a", file))
    content = BytesContent(b"From: a@b\r\n\r\nHi\r\n", crlf_only=True)
    octets = b"".join(signed(content, [load_key(DkimKey("bücher.example", "2026a", file))], 1).blocks())
    assert dkim.verify(octets, dnsfunc=lambda asked, timeout=5: "".join(texts).encode())
    # Asked again it shows the same key.
    assert dkim_key("bücher.example", "2026a", file)[:2] == (0, out)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("example.org", "a;b", "new.pem"), "selector: "),
        (("localhost", "a", "new.pem"), "domain: "),
        (("example.org", "a", "no/folder/new.pem"), "No such file"),
        (("example.org", "a", "text.pem"), "private_key: the PEM holds no private key"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_written(
    arguments: tuple[str, str, str], words: str, tmp_path: Path
) -> None:
    (tmp_path / "text.pem").write_text("no key\n")
    status, out, err = dkim_key(*arguments[:2], tmp_path / arguments[2])
    assert (status, out) == (1, "")
    assert words in err
    assert not (tmp_path / "new.pem").exists()
    assert (tmp_path / "text.pem").read_text() == "no key\n"

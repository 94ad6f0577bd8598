"""npm's ``mailauth``: a verifier of DKIM and ARC in another language, by other people."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .npm import installed
from .real_server import NotAvailable, once

_VERSION = "^4.13"


def verdicts(messages: Sequence[bytes], records: Mapping[str, str]) -> list[dict[str, Any]]:
    """What it says of each message: ``{"dkim": [{"result": "pass", …}, …], "arc": …}``.

    ``records`` are the TXT records that there are, by name. ``NotAvailable`` where it cannot be had.
    """
    node = shutil.which("node")
    if node is None:
        raise NotAvailable("node is not installed, so that mailauth cannot run")
    given = {
        "module": str(_modules() / "mailauth"),
        "records": records,
        "messages": [base64.b64encode(message).decode() for message in messages],
    }
    script = Path(__file__).with_name("mailauth_program.cjs")
    done = subprocess.run(
        [node, script], input=json.dumps(given), capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@once
def _modules() -> Path:
    return installed("mailauth", "mailauth", _VERSION)

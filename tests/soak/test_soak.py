"""A soak of some seconds in each run of the tests; ``make soak`` goes on for as long as one likes."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rich")


@pytest.mark.rule("P-14")
@pytest.mark.rule("P-18")
@pytest.mark.rule("P-29")
@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="reads its memory from /proc")
def test_mixed_traffic_with_faults_leaves_flat_lines(tmp_path: Path) -> None:
    # How long messages take is a matter of who else uses the machine.
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            Path(__file__).parent,
            "--minutes",
            "0.2",
            "--busy",
            "--out",
            tmp_path,
        ],
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "         0 lost, doubled without a mark, or told wrong" in done.stdout
    assert "flat, and nothing lost" in done.stdout
    with (tmp_path / "samples.csv").open() as file:
        samples = list(csv.DictReader(file))
    assert int(samples[-1]["messages"]) > 100

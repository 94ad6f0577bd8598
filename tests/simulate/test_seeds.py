"""Some hundreds of scenarios of the simulation in each run of the tests; ``make simulate`` plays as many as one likes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# The simulation is modules beside this file, which no import mode of pytest finds by itself.
sys.path.insert(0, str(Path(__file__).parent))

from verdict import verdict

HERE = Path(__file__).parent
SEEDS = 240
BATCH = 20


@pytest.mark.rule("P-14")
@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_all_promises_are_kept(first: int) -> None:
    broken = {seed: found for seed in range(first, first + BATCH) if (found := verdict(seed).complaints)}
    assert not broken, f'make simulate ARGS="--seed {min(broken)} --trace"'


def test_a_seed_replays_exactly_whatever_the_order_of_hashes() -> None:
    seeds = (1, 7, 11)
    here = [verdict(seed).fingerprint for seed in seeds]
    program = f"from verdict import verdict; print(*(verdict(seed).fingerprint for seed in {seeds}))"
    for order in ("0", "1234"):
        paths = os.pathsep.join([str(HERE), *sys.path])
        environment = {**os.environ, "PYTHONHASHSEED": order, "PYTHONPATH": paths}
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            capture_output=True,
            text=True,
            timeout=250,
            check=True,
        )
        assert done.stdout.split() == here

"""Every input that the fuzzer ever broke something with, and some at random, through every target."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

# The targets are a module beside this file, which no import mode of pytest finds by itself.
sys.path.insert(0, str(Path(__file__).parent))

from targets import TARGETS

SEEDS = sorted((Path(__file__).parent / "seeds").glob("*/*"))


@pytest.mark.parametrize("seed", SEEDS, ids=lambda path: f"{path.parent.name}-{path.name[:16]}")
def test_seed(seed: Path) -> None:
    TARGETS[seed.parent.name](seed.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_random_input(target: str) -> None:
    dice = random.Random(target)
    for _ in range(40 if target == "client" else 300):  # a whole client takes its time
        TARGETS[target](dice.randbytes(dice.choice((1, 8, 40, 200))))


def test_every_target_has_seeds() -> None:
    assert {seed.parent.name for seed in SEEDS} == set(TARGETS)

"""Each way to break the pool still finds its text; ``make mutants`` sees that the simulation notices it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# The simulation is modules beside this file, which no import mode of pytest finds by itself.
sys.path.insert(0, str(Path(__file__).parent))

from mutants import SOURCE
from mutations import MUTATIONS, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_text_is_there_once(mutation: Mutation) -> None:
    assert (SOURCE / mutation.file).read_text("utf-8").count(mutation.old) == 1

"""What is beside the tests is found by them: no import mode of pytest does that by itself."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

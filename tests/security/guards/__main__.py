"""Takes away one guard after the other from a copy of the source, and sees that the tests of its check fail.

``make guards``, or ``python tests/security/guards [ID …]``. What stays green without its guard proves nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from checks import ALL, SOURCE, TESTS, carriers
from every import REMOVALS, Removal

HERE = Path(__file__).resolve().parent
# What runs in seconds and needs nothing from outside.
FOLDERS = ("unit", "security", "property", "simulation", "contract")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tests/security/guards", description=__doc__)
    parser.add_argument(
        "checks", nargs="*", metavar="ID", help="only the guards of these checks, or groups as ADR"
    )
    parser.add_argument(
        "--at-once", type=int, default=os.cpu_count() or 1, metavar="N", help="so many in parallel"
    )
    arguments = parser.parse_args()
    chosen = [r for r in REMOVALS if not arguments.checks or {r.check, r.check[:3]} & set(arguments.checks)]
    files = carriers()
    with ThreadPoolExecutor(arguments.at_once) as pool:
        verdicts = pool.map(lambda removal: tried(removal, files[removal.check]), chosen)
        useless = 0
        for removal, (fine, verdict) in zip(chosen, verdicts, strict=True):
            useless += not fine
            print(f"{'ok ' if fine else 'BAD'} {removal.check}  {removal.guard:<72} {verdict}", flush=True)
    without = [check for check in ALL if check not in {removal.check for removal in REMOVALS}]
    print(
        f"{len(chosen)} guards, {useless} not proved; no single guard to take away: {', '.join(without) or 'none'}"
    )
    return min(useless, 1)


def tried(removal: Removal, files: list[Path]) -> tuple[bool, str]:
    """Whether a test of the check fails without the guard, and what happened in words."""
    chosen = [str(path) for path in files if path.relative_to(TESTS).parts[0] in FOLDERS]
    if not chosen:
        return False, "no quick test carries this ID"
    with tempfile.TemporaryDirectory(prefix="mailpool-guards-") as folder:
        source = Path(folder) / "src"
        shutil.copytree(SOURCE, source / "mailpool", ignore=shutil.ignore_patterns("__pycache__"))
        removal.apply(source / "mailpool")
        path = os.pathsep.join([str(source), str(HERE), os.environ.get("PYTHONPATH", "")])
        how = [
            "-q",
            "-x",
            "--tb=no",
            "-p",
            "no:cacheprovider",
            "-p",
            "only_check",
            "--hypothesis-seed=0",
            "--timeout=30",
        ]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *how, *chosen],
            cwd=TESTS.parent,
            env={
                **os.environ,
                "PYTHONPATH": path,
                "PYTHONDONTWRITEBYTECODE": "1",
                "MAILPOOL_CHECK": removal.check,
            },
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
    failed = [line.split(" - ")[0] for line in done.stdout.splitlines() if line.startswith("FAILED ")]
    if done.returncode == 1 and failed:
        return True, failed[0].removeprefix("FAILED tests/")
    if done.returncode == 0:
        return False, "all tests pass without it"
    if "Timeout" in done.stdout + done.stderr:
        return True, "a test does not end"
    return (
        False,
        f"pytest ended with {done.returncode}: {(done.stdout.strip() or done.stderr.strip())[-200:]!r}",
    )


if __name__ == "__main__":
    sys.exit(main())

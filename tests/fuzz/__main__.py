"""Coverage-guided fuzzing of the targets, each for a while: ``make fuzz``, or ``python tests/fuzz [TARGET …]``.

``--seconds N`` is how long each target runs (60). An input that breaks a promise is written to ``seeds/TARGET``, where
``test_seeds.py`` tries it in each run of the tests from then on. What atheris finds interesting along the way goes
to ``.cache/fuzz``, so that the next run goes on from there.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
FOUND = HERE.parents[1] / ".cache" / "fuzz"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tests/fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--only-here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only_here:
        fuzz(arguments.targets[0], arguments.seconds)
    from targets import TARGETS

    chosen = arguments.targets or list(TARGETS)
    unknown = set(chosen) - set(TARGETS)
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    # A process for each: the fuzzer ends its own when the time is over or something is found.
    command = [sys.executable, str(HERE), "--seconds", str(arguments.seconds), "--only-here"]
    broken = []
    for target in chosen:
        print(f"== {target}: {arguments.seconds} seconds", flush=True)
        if subprocess.run([*command, target], check=False).returncode:
            broken.append(target)
    print(f"broken: {', '.join(broken)}; the inputs are in tests/fuzz/seeds" if broken else "nothing found")
    return len(broken)


def fuzz(name: str, seconds: int) -> None:
    """Fuzz one target; does not return."""
    import atheris

    with atheris.instrument_imports(include=["mailpool"]):
        from targets import TARGETS
    seeds, found = HERE / "seeds" / name, FOUND / name
    for folder in (seeds, found):
        folder.mkdir(parents=True, exist_ok=True)
    how = [f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=1500", "-max_len=600", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *how, f"-artifact_prefix={seeds}/", str(found), str(seeds)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())

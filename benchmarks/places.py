"""Where things are fetched to and built, and which cores there are."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tests.interop.servers.postfix_files import Unpacked, unpacked
from tests.interop.servers.real_server import NotAvailable, cache_folder

__all__ = ["NotAvailable", "Unpacked", "unpacked"]

HERE = Path(__file__).parent
ROOT = HERE.parent
NODEMAILER = "nodemailer@^10.6"
PYTHON_PEERS = ("aiosmtplib>=5,<6",)


def cores() -> tuple[set[int], set[int]]:
    """The cores for servers and those for clients; the same ones when there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        return set(usable), set(usable)
    return {usable[0]}, {usable[1]}


def _run(*command: str | Path, what: str) -> None:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=500, check=False
    )
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise NotAvailable(f"{what}: {' '.join(words)}")


def built(program: str) -> Path:
    """A program of ``benchmarks/sink``, compiled when a source is newer."""
    source = HERE / "sink" / f"{program}.c"
    binary = cache_folder("bench") / program
    newest = max(file.stat().st_mtime for file in (source, *source.parent.glob("*.h")))
    if binary.exists() and binary.stat().st_mtime > newest:
        return binary
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise NotAvailable(f"there is no C compiler for {program}.c")
    command = [compiler, "-O2", "-Wall", "-o", binary, source]
    if program == "sink":
        try:
            _run(*command, "-DWITH_TLS", "-lssl", "-lcrypto", what=program)
        except NotAvailable:
            pass  # no headers of OpenSSL: without TLS then
        else:
            return binary
    _run(*command, what=program)
    return binary


@functools.cache
def compiled() -> Path:
    """A folder for PYTHONPATH with mailpool whose hot path is compiled, made anew when a source has changed."""
    if shutil.which("cc") is None and shutil.which("gcc") is None:
        raise NotAvailable("there is no C compiler for mailpool's hot path")
    digest = hashlib.sha256((ROOT / "pyproject.toml").read_bytes())
    for source in sorted((ROOT / "src").rglob("*.py")):
        digest.update(source.read_bytes())
    folder = cache_folder("bench") / f"compiled-{digest.hexdigest()[:16]}"
    if not folder.exists():
        print("compiling mailpool's hot path (once, a minute or two) …", file=sys.stderr)
        for old in folder.parent.glob("compiled-*"):
            shutil.rmtree(old)
        with tempfile.TemporaryDirectory() as wheels:
            _run("make", "-C", ROOT, "compiled", f"COMPILED={wheels}", what="mailpool could not be compiled")
            with zipfile.ZipFile(next(Path(wheels).glob("*.whl"))) as wheel:
                wheel.extractall(f"{wheels}/unpacked")
            shutil.move(f"{wheels}/unpacked", folder)
    return folder


def node_modules() -> Path:
    """A folder with Nodemailer in it."""
    folder = cache_folder("bench") / "node"
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise NotAvailable("node and npm are not installed")
    modules = folder / "node_modules"
    if not (modules / "nodemailer" / "package.json").exists():
        options = ["--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--prefix", str(folder)]
        _run(npm, "install", *options, NODEMAILER, what="npm could not fetch Nodemailer")
    return modules


def python_peers() -> Path:
    """A folder for PYTHONPATH with the peers from PyPI."""
    folder = cache_folder("bench") / "python"
    if not (folder / "aiosmtplib").exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]
        _run(*pip, folder, *PYTHON_PEERS, what="pip could not fetch aiosmtplib")
    return folder

"""``python tests/interop/matrix.py``: start each real server, ask what it advertises, play the scenarios, print a table."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path
from typing import Any

from mailpool.testing import Authority

sys.path.insert(0, str(Path(__file__).parent))

from scenarios import SCENARIOS, DoesNotApply, full_disk, transporter_for
from servers.catalogue import SERVERS
from servers.real_server import NotAvailable, RealServer
from servers.versions import version_of


def main() -> int:
    """1 if a scenario failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("servers", nargs="*", help=f"only these of {', '.join(SERVERS)}")
    chosen = parser.parse_args().servers or list(SERVERS)
    # Servers are restarted on purpose: that connections fail is no news.
    logging.getLogger("mailpool").setLevel(logging.CRITICAL)
    print(f"| server | version | security | it advertises | {' | '.join(SCENARIOS)} |")
    print(f"|---|---|---|---|{'---|' * len(SCENARIOS)}")
    authority = Authority()
    failed = False
    for name in chosen:
        try:
            cells = _row(name, authority)
        except NotAvailable as reason:
            cells = [name, "not available", str(reason)]
        failed = failed or "FAILED" in cells
        print(f"| {' | '.join(cells)} |", flush=True)
    return int(failed)


def _row(name: str, authority: Authority) -> list[str]:
    with SERVERS[name](authority) as server:
        secure = {"starttls": "STARTTLS", "implicit": "TLS", None: "none"}[server.tls]
        cells = [server.name, version_of(server.name), secure, asyncio.run(_advertised(server))]
    for title, scenario in SCENARIOS.items():
        server = SERVERS[name](authority)
        server.small_disk |= scenario is full_disk and server.stores is not None
        with server:
            cells.append(_verdict(server, title, scenario))
    return cells


async def _advertised(server: RealServer) -> str:
    """The keywords of its EHLO, where it is as secure as it can be."""
    async with transporter_for(server) as transporter:
        capabilities = (await transporter.verify()).capabilities
    return " ".join(sorted(capabilities.keywords)) or "nothing"


def _verdict(server: RealServer, title: str, scenario: Any) -> str:
    try:
        asyncio.run(scenario(server))
    except DoesNotApply as reason:
        return str(reason)
    except Exception as error:
        print(f"{server.name}, {title}: {error!r}\n{server.log()}", file=sys.stderr)
        return "FAILED"
    return "passed"


if __name__ == "__main__":
    sys.exit(main())

"""What EHLO says."""

from __future__ import annotations

import socket
from typing import Any

from ..options import Options
from ..smtp import commands


def own_name(options: Options, sockname: Any) -> str:
    """What EHLO says: the option, this machine's full name, or the address literal of the socket."""
    if options.name is not None:
        return options.name
    name = socket.gethostname()
    if "." in name:
        try:
            commands.hello("EHLO", name)
        except commands.InvalidCommand:
            pass
        else:
            return name
    address = str(sockname[0]).partition("%")[0] if isinstance(sockname, tuple) and sockname else "127.0.0.1"
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"

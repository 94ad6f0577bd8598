"""The plain SMTP transport: each message has a connection of its own.

It is a pool whose connections carry one message: queue, limits, time-outs and outcomes are the same, so a program that
turns ``pool`` on changes nothing but its speed.
"""

from __future__ import annotations

import dataclasses

from ..net.connect import Connector, connect
from ..options import Options
from ..pool.pool import Pool
from ..pool.roster import Notify


def plain_smtp(options: Options, notify: Notify, connector: Connector = connect) -> Pool:
    # A socket that was handed in is one connection.
    most = 1 if options.sock is not None else options.max_connections
    own = dataclasses.replace(options, max_messages=1, max_connections=most, min_connections=0)
    return Pool(own, notify=notify, connector=connector)

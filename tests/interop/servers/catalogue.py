"""All servers, each with as much security as it can have, by the names that tests and the matrix call them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from .aiosmtpd_server import Aiosmtpd
from .exim import Exim
from .haraka import Haraka
from .maildev import Maildev
from .node_server import NodeSmtpServer
from .opensmtpd import OpenSmtpd
from .postfix import Postfix
from .real_server import RealServer
from .sendmail import Sendmail
from .smtp_sink import SmtpSink

SERVERS: Mapping[str, Callable[[Any], RealServer]] = {
    "postfix": Postfix,
    "exim": Exim,
    "opensmtpd": OpenSmtpd,
    "sendmail": Sendmail,
    "aiosmtpd": Aiosmtpd,
    "aiosmtpd_starttls": partial(Aiosmtpd, tls="starttls"),
    "node_smtp_server": NodeSmtpServer,
    "node_smtp_server_tls": partial(NodeSmtpServer, tls="implicit"),
    "haraka": Haraka,
    "maildev": Maildev,
    "smtp_sink": SmtpSink,
}

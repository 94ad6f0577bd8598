"""Real SMTP servers on this machine's loopback, started and stopped by tests.

Nothing is installed into the system: what is missing is fetched once into a cache folder. A server that cannot be had
raises ``NotAvailable`` with the reason in words.
"""

from .aiosmtpd_server import Aiosmtpd
from .node_server import NodeSmtpServer
from .postfix import Postfix
from .real_server import Delivery, NotAvailable, RealServer
from .smtp_sink import SmtpSink

__all__ = ["Aiosmtpd", "Delivery", "NodeSmtpServer", "NotAvailable", "Postfix", "RealServer", "SmtpSink"]

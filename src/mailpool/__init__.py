"""mailpool: persistent, authenticated SMTP connections, reused for message after message.

The whole public face is here; everything else may change without notice, but `mailpool.testing`
and `mailpool.templates`.
"""

from .address import AddressList, Envelope, Mailbox, parse_addresses
from .auth.device import DeviceCode, device_login
from .errors import (
    AddressError,
    AuthenticationFailed,
    ConfigurationError,
    ConnectionFailed,
    DeadlineExceeded,
    Deferred,
    DeliveryUncertain,
    LookupFailed,
    MailpoolError,
    MessageError,
    PoolClosed,
    ProtocolError,
    ProxyFailed,
    QueueFull,
    QuotaExceeded,
    Rejected,
    SendError,
    Throttled,
    TimedOut,
    TLSFailed,
    TokenFailed,
    UnsupportedByServer,
    UsageError,
)
from .message import Attachment, MailMerge, Markup, Merged, Message, Sealed
from .message.dkim import dkim_record
from .options import Credentials, Options, Rate, TLSOptions
from .options.access import Access
from .options.dkim_key import DkimKey
from .options.oauth2 import OAuth2
from .options.presets import Preset, services
from .options.proxy import Proxy
from .options.smime_identity import Smime
from .pool.statistics import Histogram, PoolStats, RelayStats
from .results import Outcome, Phase, RecipientResult, Reply, SendResult
from .sending_many import SendOutcome
from .smtp.sasl import LoginContext, Mechanism
from .transporter import Transporter, create_transport
from .transports.carrier import Carrier, all_accepted
from .transports.file import FileCarrier
from .transports.json_lines import JSONCarrier
from .transports.memory import KeptMessage, MemoryCarrier
from .transports.sendmail import SendmailCarrier
from .transports.ses import SESCarrier
from .transports.stream import StreamCarrier
from .transports.verification import Verification

__version__ = "0.1.0"

__all__ = [
    "Access",
    "AddressError",
    "AddressList",
    "Attachment",
    "AuthenticationFailed",
    "Carrier",
    "ConfigurationError",
    "ConnectionFailed",
    "Credentials",
    "DeadlineExceeded",
    "Deferred",
    "DeliveryUncertain",
    "DeviceCode",
    "DkimKey",
    "Envelope",
    "FileCarrier",
    "Histogram",
    "JSONCarrier",
    "KeptMessage",
    "LoginContext",
    "LookupFailed",
    "MailMerge",
    "Mailbox",
    "MailpoolError",
    "Markup",
    "Mechanism",
    "MemoryCarrier",
    "Merged",
    "Message",
    "MessageError",
    "OAuth2",
    "Options",
    "Outcome",
    "Phase",
    "PoolClosed",
    "PoolStats",
    "Preset",
    "ProtocolError",
    "Proxy",
    "ProxyFailed",
    "QueueFull",
    "QuotaExceeded",
    "Rate",
    "RecipientResult",
    "Rejected",
    "RelayStats",
    "Reply",
    "SESCarrier",
    "Sealed",
    "SendError",
    "SendOutcome",
    "SendResult",
    "SendmailCarrier",
    "Smime",
    "StreamCarrier",
    "TLSFailed",
    "TLSOptions",
    "Throttled",
    "TimedOut",
    "TokenFailed",
    "Transporter",
    "UnsupportedByServer",
    "UsageError",
    "Verification",
    "all_accepted",
    "create_transport",
    "device_login",
    "dkim_record",
    "parse_addresses",
    "services",
]

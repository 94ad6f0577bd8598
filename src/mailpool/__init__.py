"""mailpool: persistent, authenticated SMTP connections, reused for message after message."""

__version__ = "0.1.0"

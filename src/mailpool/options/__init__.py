"""What a program tells a transporter: its options, and the values that they are made of.

Each value is checked once, when it is made, and frozen.
"""

from __future__ import annotations

from .credentials import Credentials
from .options import Options
from .parsing import changed_options, options_in_url, parse_options
from .rate import Rate
from .tls import TLSOptions

__all__ = [
    "Credentials",
    "Options",
    "Rate",
    "TLSOptions",
    "changed_options",
    "options_in_url",
    "parse_options",
]

"""What an answer of the API that is no success means, as an error of our tree."""

from __future__ import annotations

import re
from typing import Any

from ...errors import (
    AuthenticationFailed,
    ConnectionFailed,
    Deferred,
    DeliveryUncertain,
    QuotaExceeded,
    Rejected,
    SendError,
    Throttled,
    TimedOut,
    TLSFailed,
)
from ...results import Phase, Reply
from .quota import UNTIL_SOME_IS_BACK

_THROTTLED = re.compile(r"throttl|TooManyRequests|RequestLimitExceeded|SlowDown", re.IGNORECASE)
_TOO_FAST = re.compile(r"maximum sending rate|rate exceeded", re.IGNORECASE)
_DAILY = re.compile(r"\b(daily|24.?hour)\b.{0,60}\b(quota|limit|exceed)", re.IGNORECASE)
# Who we are, or what this account may do: no other message fares better.
_ACCOUNT = re.compile(
    r"AccessDenied|UnrecognizedClient|InvalidClientTokenId|SignatureDoesNotMatch|InvalidSignature|ExpiredToken|"
    r"MissingAuthenticationToken|IncompleteSignature|OptInRequired|NotAuthorized|RequestExpired|AccountSuspended"
)
_MOST_TEXT = 500


def refusal(response: Any) -> SendError:
    """The error for an answer that the API gave.

    :param response: the ``response`` of a ``ClientError`` of ``botocore``
    """
    error = response.get("Error", {})
    code = str(error.get("Code") or "unknown")
    text = str(error.get("Message") or "")
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0
    said = f"Amazon SES answered {_shown(code)}: {_shown(text)}"
    if _DAILY.search(text) or code == "LimitExceededException":
        return QuotaExceeded(
            f"{said}. The quota of 24 hours is used up: wait, or ask for a larger one.",
            phase=Phase.HANDOVER,
            temporary=True,
            retry_after=UNTIL_SOME_IS_BACK,
        )
    if _THROTTLED.search(code) or _TOO_FAST.search(text) or status == 429:
        return Throttled(said, phase=Phase.HANDOVER, temporary=True)
    if _ACCOUNT.search(code) or status in (401, 403):
        # The text of some of these repeats what was signed, and that holds the session's token.
        return AuthenticationFailed(
            f"Amazon SES answered {_shown(code)}: check the credentials, the region and what they may do (ses:SendRawEmail, "
            "ses:SendEmail)",
            phase=Phase.AUTH,
        )
    if code == "SendingPausedException" or status == 503:
        return Deferred(said, phase=Phase.HANDOVER, temporary=True)
    if status >= 500:
        return DeliveryUncertain(
            f"{said}; the message may or may not have been accepted",
            phase=Phase.HANDOVER,
            temporary=True,
            may_have_been_delivered=True,
        )
    return Rejected(said, phase=Phase.HANDOVER)


def trouble(error: Exception) -> SendError | None:
    """The error when there was no answer; ``None`` when it is none of ``botocore``'s."""
    import aiohttp
    from botocore import exceptions as known

    name = type(error).__name__
    if isinstance(
        error, known.NoCredentialsError | known.PartialCredentialsError | known.CredentialRetrievalError
    ):
        return AuthenticationFailed(
            "there are no AWS credentials: set them in the environment or in a profile, or give access_key",
            phase=Phase.AUTH,
        )
    if isinstance(error, known.ParamValidationError):
        return Rejected(f"Amazon SES takes no such parameters: {_shown(str(error))}", phase=Phase.HANDOVER)
    if isinstance(error, known.SSLError):
        return TLSFailed(f"no trustworthy connection to Amazon SES ({name})", phase=Phase.TLS)
    if isinstance(error, known.ConnectTimeoutError):
        return TimedOut("connecting to Amazon SES took too long", phase=Phase.CONNECT, temporary=True)
    if isinstance(error, known.EndpointConnectionError | known.ProxyConnectionError):
        cause = error.kwargs.get("error")
        # The same exception is raised for a connection that breaks later.
        if not isinstance(cause, aiohttp.ClientConnectionError) or isinstance(
            cause, aiohttp.ClientConnectorError
        ):
            return ConnectionFailed(
                f"no connection to Amazon SES ({type(cause).__name__})", phase=Phase.CONNECT, temporary=True
            )
    if isinstance(error, known.BotoCoreError):
        return DeliveryUncertain(
            f"Amazon SES did not answer ({name}): the message may or may not have been accepted",
            phase=Phase.HANDOVER,
            temporary=True,
            may_have_been_delivered=True,
        )
    return None


def _shown(text: str) -> str:
    """On one line, bounded, with controls escaped."""
    return str(Reply(0, (text[:_MOST_TEXT].encode("utf-8", "replace"),))).removeprefix("0 ")

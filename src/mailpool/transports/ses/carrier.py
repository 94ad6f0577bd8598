"""The carrier for Amazon SES. It asks for the account's limits; the carriage around it keeps to them."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from ...errors import (
    AuthenticationFailed,
    ConfigurationError,
    Deferred,
    DeliveryUncertain,
    MailpoolError,
    MessageError,
    QuotaExceeded,
    UnsupportedByServer,
)
from ...message import Sealed
from ...options import Rate
from ...results import Phase, SendResult
from ..arguments import checked_count, checked_seconds
from ..carrier import all_accepted
from ..finishing import finished
from ..octets import whole
from .meaning import refusal, trouble
from .quota import UNTIL_SOME_IS_BACK, Quota

log = logging.getLogger("mailpool")

# A quota that is used up is not asked for again sooner, in seconds.
_ASK_AGAIN = 60.0
_is_region = re.compile(r"[A-Za-z0-9-]{1,63}").fullmatch


class SESCarrier:
    """Sends raw messages with Amazon SES (API version 2), as the extra ``ses`` of mailpool.

    Credentials come from where the AWS tools find them, unless ``access_key`` is given. The account's rate is obeyed,
    which counts recipients, and so is its quota of 24 hours; both are asked for at first and every ten minutes.

    :param region: such as ``"eu-west-1"``; ``None``: where the AWS tools find it
    :param configuration_set: for every message
    :param tags: names and values for every message, for the events of SES
    :param parameters: called with each `Sealed`; returns more parameters of SES's ``SendEmail`` for it
    :param access_key: ``(key id, secret)`` or ``(key id, secret, session token)``; in no ``repr``
    :param endpoint_url: another place that speaks the same API
    :param session: an ``aiobotocore.session.AioSession`` to use, for whatever else is to be set
    :param timeout: seconds to connect, and as many for an answer
    :param connections: the most that are kept to SES; ``max_connections`` bounds what is under way
    :raises ConfigurationError: a value is none of these, or ``aiobotocore`` is not installed
    """

    name = "ses"
    # Amazon SES takes no more in one call; the rest follows in another.
    max_recipients = 50
    rates_every = 600.0

    def __init__(
        self,
        region: str | None = None,
        *,
        configuration_set: str | None = None,
        tags: Mapping[str, str] | None = None,
        parameters: Callable[[Sealed], Mapping[str, Any]] | None = None,
        access_key: Sequence[str] | None = None,
        endpoint_url: str | None = None,
        session: Any = None,
        timeout: float = 60.0,
        connections: int = 50,
    ) -> None:
        if importlib.util.find_spec("aiobotocore") is None:
            raise ConfigurationError("Amazon SES needs aiobotocore: pip install mailpool[ses]")
        if access_key is not None and not _is_key(access_key):
            raise ConfigurationError(
                "access_key: must be (key id, secret) or (key id, secret, session token)", option="access_key"
            )
        if region is not None and not _is_region(str(region)):
            raise ConfigurationError("region: must be the name of one, such as eu-west-1", option="region")
        if parameters is not None and not callable(parameters):
            raise ConfigurationError("parameters: must be a function", option="parameters")
        self._region = region
        self._always = _always(configuration_set, tags)
        self._parameters = parameters
        self._access_key = access_key
        self._endpoint_url = endpoint_url
        self._session = session
        self._timeout = checked_seconds("timeout", timeout)
        self._connections = checked_count("connections", connections)
        self._quota = Quota()
        self._opening = asyncio.Lock()
        self._stack: AsyncExitStack | None = None
        self._client: Any = None

    # -- what a carrier does ---------------------------------------------------------------------------------------

    async def deliver(self, sealed: Sealed, /) -> SendResult:
        if sealed.envelope.utf8 or sealed.content.utf8_headers:
            raise UnsupportedByServer(
                "Amazon SES takes no addresses and headers in raw UTF-8 (SMTPUTF8)", phase=Phase.HANDOVER
            )
        parameters = {
            **self._always,
            **self._more(sealed),
            "Destination": {"ToAddresses": list(sealed.envelope.recipients)},
            "Content": {"Raw": {"Data": whole(sealed.content)}},
        }
        count = len(sealed.envelope.recipients)
        await self._reserve(count)
        try:
            # Once it is on its way only the answer tells whether it was accepted.
            answer = await finished(self._call("send_email", parameters))
        except BaseException as error:
            self._quota.left += count
            if isinstance(error, QuotaExceeded):
                self._quota.left = 0
            raise
        return all_accepted(sealed, f"250 2.0.0 {self._message_id(answer)}")

    async def rates(self) -> Sequence[Rate]:
        await self._ask()
        return self._quota.rates

    async def verify(self) -> str:
        account = await self._ask(required=True)
        quota = self._quota
        if account.get("SendingEnabled") is False:
            raise AuthenticationFailed(
                "sending is switched off for this account of Amazon SES", phase=Phase.AUTH
            )
        where = "production" if account.get("ProductionAccessEnabled") else "sandbox"
        return f"{where}, {quota.rate:g} recipients/s, {quota.left:g} of {quota.most:g} in 24 hours are left"

    async def close(self) -> None:
        stack, self._stack, self._client = self._stack, None, None
        if stack is not None:
            await stack.aclose()

    # -- details ---------------------------------------------------------------------------------------------------

    def _more(self, sealed: Sealed) -> Mapping[str, Any]:
        if self._parameters is None:
            return {}
        try:
            return dict(self._parameters(sealed))
        except MailpoolError:
            raise
        except Exception as error:  # whatever the user's own code raises: nothing has been sent
            raise MessageError(f"parameters: it failed with {type(error).__name__}") from error

    async def _reserve(self, count: int) -> None:
        """Take so many recipients off what is left of the day; asked again when it seems not to be enough."""
        now = asyncio.get_running_loop().time()
        if self._quota.left < count and now - self._quota.asked_at >= _ASK_AGAIN:
            try:
                await self._ask()
            except DeliveryUncertain as error:
                # Only the question went unanswered: no message has been sent.
                raise Deferred(str(error), phase=Phase.QUEUE, temporary=True) from None
        if self._quota.left < count:
            raise QuotaExceeded(
                f"the account may send to {self._quota.most:g} recipients in 24 hours, and {max(0.0, self._quota.left):g} "
                f"of them are left: wait, or ask Amazon SES for a larger quota",
                phase=Phase.QUEUE,
                temporary=True,
                retry_after=UNTIL_SOME_IS_BACK,
            )
        self._quota.left -= count

    async def _ask(self, *, required: bool = False) -> Mapping[str, Any]:
        try:
            account: Mapping[str, Any] = await self._call("get_account", {})
        except AuthenticationFailed:
            if required:
                raise
            # It is common that a program may send and not ask.
            log.warning("Amazon SES does not tell the account's rate and quota (ses:GetAccount): set rate")
            self._quota.asked_at = asyncio.get_running_loop().time()
            return {}
        self._quota.told(account.get("SendQuota", {}), asyncio.get_running_loop().time())
        return account

    async def _call(self, operation: str, parameters: Mapping[str, Any]) -> Any:
        from botocore.exceptions import ClientError

        try:
            client = self._client or await self._open()
            return await getattr(client, operation)(**parameters)
        except ClientError as error:
            # Without its cause, whose text may repeat what was signed.
            raise refusal(error.response) from None
        except Exception as error:
            known = trouble(error)
            if known is None:
                raise
            raise known from None

    async def _open(self) -> Any:
        async with self._opening:
            if self._client is not None:
                return self._client
            import aiobotocore.session
            from aiobotocore.config import AioConfig
            from botocore.exceptions import NoRegionError

            session = self._session or aiobotocore.session.get_session()
            key = dict(
                zip(
                    ("aws_access_key_id", "aws_secret_access_key", "aws_session_token"),
                    self._access_key or (),
                    strict=False,
                )
            )
            config = AioConfig(
                # Repetitions are ours: theirs would know nothing of rates, deadlines and doubles.
                retries={"total_max_attempts": 1},
                connect_timeout=self._timeout,
                read_timeout=self._timeout,
                max_pool_connections=self._connections,
            )
            config.warm_up_loader_caches = (
                True  # the description of the service is large: read it off the loop
            )
            stack = AsyncExitStack()
            try:
                self._client = await stack.enter_async_context(
                    session.create_client(
                        "sesv2",
                        region_name=self._region,
                        endpoint_url=self._endpoint_url,
                        config=config,
                        **key,
                    )
                )
            except NoRegionError:
                raise ConfigurationError("region: none is given, and none is set", option="region") from None
            self._stack = stack
            return self._client

    def _message_id(self, answer: Mapping[str, Any]) -> str:
        """The Message-ID that recipients see: Amazon SES replaces that of the message by its own."""
        region = self._client.meta.region_name if self._client is not None else self._region
        host = "email.amazonses.com" if region == "us-east-1" else f"{region}.amazonses.com"
        return f"<{answer.get('MessageId', '')}@{host}>"

    def __repr__(self) -> str:
        return f"<SESCarrier {self._region or 'of the default region'}>"


def _is_key(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) in (2, 3)
        and all(isinstance(text, str) for text in value)
    )


def _always(configuration_set: str | None, tags: Any) -> dict[str, Any]:
    """The parameters that every message has."""
    always: dict[str, Any] = {}
    if configuration_set is not None:
        always["ConfigurationSetName"] = configuration_set
    if tags:
        if not isinstance(tags, Mapping) or not all(
            isinstance(text, str) for pair in tags.items() for text in pair
        ):
            raise ConfigurationError("tags: must be a mapping of texts to texts", option="tags")
        always["EmailTags"] = [{"Name": name, "Value": value} for name, value in tags.items()]
    return always

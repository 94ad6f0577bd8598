"""From what people write to the plan of several relays: URLs, mappings, carriers, and what is said once for all."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ConfigurationError
from ..options import Options, changed_options, options_in_url, parse_options
from ..policy.balance import Strategy
from .carrier import Carrier, name_of
from .failover import Plan
from .naming import COMMON, carrier_of, common_options, names_carrier
from .relay import RelayPlan

# What concerns a message before any relay sees it, and how long it may try: said once, for all relays together.
OF_THE_WHOLE = frozenset(
    {"defaults", "access", "addresses", "smime", "dkim", "deadline", "max_queue"}
    | {"on_uncertain", "max_duplicates", "max_requeues", "connection_wait", "max_throttle_wait"}
)
# What a relay must not do on its own: the message would not be free to move on.
_INSIDE: Mapping[str, Any] = {"deadline": None, "max_requeues": 0, "on_uncertain": "fail"}
# A relay that finds out how fast it may go keeps its messages for so long, in seconds; after that they move on.
THROTTLE_WAIT = 5.0

Entry = str | Mapping[str, Any] | Options | Carrier
_DEFAULTS = Options()


def plan_of(
    entries: Sequence[Entry],
    strategy: str,
    weights: Any,
    move_deferred: Any,
    keywords: Mapping[str, Any],
) -> tuple[Plan, Options]:
    """The plan, and the options of the whole.

    :raises ConfigurationError: an entry is wrong, or says what belongs to the whole; it names the entry by its number
    """
    try:
        chosen = Strategy(strategy)
    except ValueError:
        raise ConfigurationError(
            f"strategy: must be one of {', '.join(Strategy)}, not {strategy!r:.40}", option="strategy"
        ) from None
    if not isinstance(move_deferred, bool):
        raise ConfigurationError(
            f"move_deferred: must be True or False, not {move_deferred!r:.40}", option="move_deferred"
        )
    if not entries:
        raise ConfigurationError("relays: give at least one", option="relays")
    shared = {name: value for name, value in keywords.items() if name not in OF_THE_WHOLE}
    whole = Options(**{name: keywords[name] for name in keywords if name in OF_THE_WHOLE or name == "name"})
    relays = []
    for number, (entry, weight) in enumerate(
        zip(entries, _weights(weights, len(entries), chosen), strict=True)
    ):
        try:
            relays.append(_relay(entry, shared, weight, whole.max_throttle_wait))
        except ConfigurationError as error:
            raise ConfigurationError(f"relays[{number}]: {error}", option=error.option) from None
    # How much is prepared, and how far a batch may run ahead, follows what all of them can do.
    most = sum(relay.options.max_connections for relay in relays)
    depth = max(relay.options.pipeline_depth for relay in relays)
    options = dataclasses.replace(whole, max_connections=most, pipeline_depth=depth)
    return Plan(relays=tuple(relays), strategy=chosen, move_deferred=move_deferred), options


def _weights(weights: Any, count: int, strategy: Strategy) -> Sequence[float]:
    if weights is None:
        return [1.0] * count
    if strategy is Strategy.FAILOVER:
        raise ConfigurationError("weights: have no meaning with strategy='failover'", option="weights")
    if not isinstance(weights, list | tuple) or len(weights) != count:
        raise ConfigurationError(f"weights: give {count}, one for each relay", option="weights")
    checked: list[float] = []
    for weight in weights:
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
            raise ConfigurationError(
                f"weights: must be numbers above 0, not {weight!r:.40}", option="weights"
            )
        checked.append(weight)
    return checked


def _relay(entry: Entry, shared: Mapping[str, Any], weight: float, patience: float) -> RelayPlan:
    carrier: Carrier | None = None
    given: dict[str, Any] = {}
    if isinstance(entry, str) and names_carrier(entry):
        carrier, given = carrier_of(entry)
    elif isinstance(entry, str):
        given = options_in_url(entry)
    elif isinstance(entry, Options):
        given = {
            option.name: getattr(entry, option.name)
            for option in dataclasses.fields(entry)
            if getattr(entry, option.name) != getattr(_DEFAULTS, option.name)
        }
    elif isinstance(entry, Mapping):
        given = dict(entry)
        carrier = given.pop("carrier", None)
        url = given.pop("url", None)
        if isinstance(url, str):
            given = {**options_in_url(url), **given}
    elif isinstance(entry, Carrier):
        carrier = entry
    else:
        raise ConfigurationError(
            f"is a URL, a mapping of options, Options or a Carrier, not {type(entry).__name__}",
            option="relays",
        )
    for name in given:
        if name in OF_THE_WHOLE:
            raise ConfigurationError(f"{name}: is said once, for all relays together", option=name)
    if carrier is None:
        if isinstance(entry, Options):
            # Not made anew: what its service would fill in may have been decided otherwise.
            unsaid = {name: value for name, value in shared.items() if name not in given}
            options = changed_options(entry, unsaid)
        else:
            options = parse_options({**shared, **given})
        name = f"{options.unix_socket or options.host}" + (
            "" if options.unix_socket else f":{options.effective_port}"
        )
        inside = dict(_INSIDE)
    else:
        if isinstance(carrier, type) or not isinstance(carrier, Carrier):
            raise ConfigurationError("carrier: must be a Carrier, made of its class", option="carrier")
        parse_options(**shared)
        known = {name: value for name, value in shared.items() if name in COMMON}
        options = common_options({**known, **given}, ignore_smtp=False)
        name = name_of(carrier)
        inside = {name: value for name, value in _INSIDE.items() if name in COMMON}
    inside["max_throttle_wait"] = min(THROTTLE_WAIT, patience)
    return RelayPlan(
        name=name, options=dataclasses.replace(options, **inside), carrier=carrier, weight=weight
    )

"""Plays a scenario on a clock that jumps, and returns what it leaves to be judged."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from evidence import Evidence, Submission
from issuing import Issuer
from letters import Letter, number_of_message
from scenario import CANCELLED_CLOSE, DRAIN, SETTLE, Scenario, Step
from watching import Watch
from world import PORT, World

from mailpool import PoolClosed
from mailpool.auth import tokens
from mailpool.auth.tokens import Tokens
from mailpool.events import EVENTS
from mailpool.options import parse_options
from mailpool.pool.learning import forget
from mailpool.testing import Deadlock, LeftBehind, VirtualLoop, run_virtual
from mailpool.transporter import Transporter
from mailpool.transports.relays import plan_of

# With everything well, what waits for a back-off, a time-out or a closed door has gone by then, the rates left aside.
PATIENCE = 900.0


def run(scenario: Scenario) -> Evidence:
    """Everything that happens, from the first message to the last timer."""
    evidence = Evidence()
    state = random.getstate()
    random.seed(scenario.seed)  # the library rolls the dice of the standard library
    log = logging.getLogger("mailpool")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        run_virtual(_Play(scenario, evidence).whole, timeout=500_000.0, timers=True)
    except (Deadlock, LeftBehind, TimeoutError) as error:
        evidence.complain(f"{type(error).__name__}: {error}")
    finally:
        log.setLevel(level)
        random.setstate(state)
        forget()  # what was learnt names the network, and so would keep all of it
    return evidence


# Nothing is encrypted in memory, and making one of these takes longer than most runs.
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class _Play:
    def __init__(self, scenario: Scenario, evidence: Evidence) -> None:
        self.scenario = scenario
        self.evidence = evidence
        token = scenario.token
        self.issuer = None if token is None else Issuer(token, scenario.seed, evidence)
        self.world = World(scenario, evidence, self.issuer)
        self.transporter = self._make()
        self.readers: list[asyncio.Task[None]] = []
        self.fates: list[asyncio.Task[None]] = []
        self.sources: dict[str, list[Letter]] = {"pull": []}
        self.watch: Watch

    def _make(self) -> Transporter:
        scenario = self.scenario
        options = {"host": "localhost", "tls": _NO_TLS, **scenario.options}
        if self.issuer is not None:
            options["auth"] = {"user": "main", "access_token": self.issuer}
        if not scenario.relays:
            return Transporter(parse_options(port=PORT, **options), connector=self.world.connect)
        entries = [{"port": PORT + number} for number in range(len(scenario.relays))]
        plan, whole = plan_of(entries, scenario.strategy, None, scenario.move_deferred, options)
        return Transporter(whole, connector=self.world.connect, plan=plan)

    async def whole(self) -> None:
        self.loop = asyncio.get_running_loop()
        # Of a token it is told until when it lives by the wall's clock, which is another one in each run.
        tokens._BY_LOOP[self.loop] = Tokens(wall=lambda: 0.0)
        self._listen()
        self._hook()
        self.watch = Watch(self.scenario, self.evidence, self.transporter)
        try:
            for step in self.scenario.steps:
                if step.pause:
                    await asyncio.sleep(step.pause)
                self._note("the program", f"{step.do} {step.letters or step.number}")
                getattr(self, f"_{step.do}")(step)
            await self._end()
        finally:
            self.watch.stop()
        # What is under way on the network arrives.
        await asyncio.sleep(5 * self.scenario.network.latency + self.scenario.network.jitter * 5 + 3)
        await self._after_the_end()

    # -- what the program does -----------------------------------------------------------------------------------------

    def _send(self, step: Step) -> None:
        (letter,) = step.letters
        entry = self._entry(letter, "send", step)
        try:
            future = self.transporter.send_mail(
                letter.message, priority=step.priority, deadline=step.deadline, auth=self._auth(letter)
            )
        except Exception as error:
            entry.refused = error
            return
        assert isinstance(future, asyncio.Future)
        entry.future = future
        future.add_done_callback(lambda done: self._ended(entry, done))

    def _soon(self, step: Step) -> None:
        (letter,) = step.letters
        entry = self._entry(letter, "soon", step)
        try:
            self.transporter.send_soon(letter.message, priority=step.priority, auth=self._auth(letter))
        except Exception as error:
            entry.refused = error

    def _many(self, step: Step) -> None:
        self.readers.append(self.loop.create_task(self._read_outcomes(step)))

    async def _read_outcomes(self, step: Step) -> None:
        entries = {}

        async def source() -> AsyncIterator[dict[str, Any]]:
            for letter in step.letters:
                entries[letter.number] = self._entry(letter, "many", step)
                yield letter.message

        try:
            async for outcome in self.transporter.send_many(source()):
                number = number_of_message(outcome.message)
                entry = entries[number]
                if entry.ended_at is not None:
                    self.evidence.complain(f"P-14: message {number} ended twice")
                self._settle(entry, outcome.result if outcome.ok else outcome.error)
        except PoolClosed:
            self._note("the program", "hears that the transporter is closed")

    def _pull(self, step: Step) -> None:
        """An outside queue that is emptied as the pool has room (P-20)."""
        self.sources["pull"] += step.letters
        self._fill(step)
        self.transporter.on("idle", lambda: self._fill(step))

    def _fill(self, step: Step) -> None:
        source = self.sources["pull"]
        while source and self.transporter.is_idle():
            letter = source.pop(0)
            entry = self._entry(letter, "pull", step)
            try:
                self.transporter.send_soon(letter.message, auth=self._auth(letter))
            except Exception as error:
                entry.refused = error

    def _chain(self, step: Step) -> None:
        self.readers.append(self.loop.create_task(self._send_in_turn(step)))

    async def _send_in_turn(self, step: Step) -> None:
        """Each when the one before it has its outcome."""
        for letter in step.letters:
            self._send(replace(step, letters=(letter,)))
            future = self.evidence.submissions[letter.number].future
            if future is not None:
                await asyncio.wait([future])

    def _cancel(self, step: Step) -> None:
        entry = self.evidence.submissions.get(step.number)
        if entry is not None and entry.future is not None and entry.future.cancel():
            entry.cancelled_at = self.loop.time()

    # -- what befalls it -----------------------------------------------------------------------------------------------

    def _block(self, step: Step) -> None:
        assert isinstance(self.loop, VirtualLoop)
        self.loop._jumping.now += step.seconds
        self.evidence.blocked += step.seconds

    def _cut(self, step: Step) -> None:
        for cable in self.world.cables:
            cable.cut()

    def _silence(self, step: Step) -> None:
        for cable in self.world.cables:
            cable.silence()

    def _goodbye(self, step: Step) -> None:
        self.world.servers[step.number].close_idle("421 4.3.2 all of you")

    def _restart(self, step: Step) -> None:
        async def restart() -> None:
            server = self.world.servers[step.number]
            server.refuse_connections(True)
            await server.disconnect()
            await asyncio.sleep(step.seconds)
            server.refuse_connections(False)

        self.fates.append(self.loop.create_task(restart()))

    def _outage(self, step: Step) -> None:
        """A whole relay is gone for a while."""

        async def outage() -> None:
            servers = self.world.relays[step.number]
            for server in servers:
                server.refuse_connections(True)
                await server.disconnect()
            await asyncio.sleep(step.seconds)
            for server in servers:
                server.refuse_connections(False)

        self.fates.append(self.loop.create_task(outage()))

    # -- the end -------------------------------------------------------------------------------------------------------

    async def _end(self) -> None:
        scenario = self.scenario
        if scenario.ending == SETTLE:
            await self._settle_down()
        started, blocked = self.loop.time(), self.evidence.blocked
        self.watch.is_closing = True
        self.evidence.closing_at = started
        self._note("the program", f"ends: {scenario.ending}, {scenario.patience} s")
        bound = scenario.patience + 2.1  # QUIT and the handlers of events have a second each
        if scenario.ending in (SETTLE, DRAIN):
            bound += 0.5
            left = await self.transporter.drain(scenario.patience, close_timeout=0.5)
        elif scenario.ending == CANCELLED_CLOSE:
            closing = asyncio.ensure_future(self.transporter.close(scenario.patience))
            await asyncio.sleep(0.2)
            bound += 0.2
            closing.cancel()
            await asyncio.gather(closing, return_exceptions=True)
            left = [] if closing.cancelled() else closing.result()
            left += await self.transporter.close(scenario.patience)
        else:
            left = await self.transporter.close(scenario.patience)
        evidence = self.evidence
        evidence.closed_at, evidence.not_sent = self.loop.time(), left
        took = self.loop.time() - started - (evidence.blocked - blocked)
        if took > bound + 1e-6:
            evidence.complain(f"P-29: closing took {took:g} s, and may take {bound:g}")
        for fate in self.fates:
            fate.cancel()
        await asyncio.gather(*self.readers, *self.fates, return_exceptions=True)

    async def _settle_down(self) -> None:
        """All is well from now on: whatever waits has to go, in a time that the options bound."""
        await asyncio.gather(*self.fates)
        await asyncio.sleep(self.scenario.storm)
        self.world.be_well()
        self._note("fate", "all is well now")
        until = self.loop.time() + self._bound()
        while self._open() and self.loop.time() < until:
            await asyncio.sleep(1.0)
        if stuck := self._open():
            self.evidence.complain(f"P-14: with all well, {stuck} had no outcome after {self._bound():g} s")
            return
        await self._comes_to_rest()
        await self._shrinks()

    def _bound(self) -> float:
        waiting = 1 + sum(len(step.letters) * 8 for step in self.scenario.steps)
        rates = (
            rate.per / min(rate.burst or rate.limit, rate.limit) + 0.1
            for rate in self.scenario.options["rate"]
        )
        return PATIENCE + waiting * max(rates, default=0.0)

    def _open(self) -> list[int]:
        """The messages that have no outcome."""
        entries = self.evidence.submissions.values()
        waiting = [
            e.letter.number
            for e in entries
            if e.how in ("send", "many") and not e.refused and e.ended_at is None
        ]
        waiting += [letter.number for letter in self.sources["pull"]]
        waiting += [-2 for reader in self.readers if not reader.done()]
        stats = self.transporter.stats()
        if not waiting and stats.queued + stats.in_flight + stats.held_back == 0:
            return []
        return waiting or [-1]

    async def _comes_to_rest(self) -> None:
        """Nothing waits: then what is counted as open is soon what is open."""
        for _ in range(80):
            counted = [pool._state.total for pool in self.watch.pools]
            if counted == self.world.live:
                return
            await asyncio.sleep(0.5)
        self.evidence.complain(f"P-01: {counted} connections are counted, and there are {self.world.live}")

    async def _shrinks(self) -> None:
        """Idle connections close, and the minimum is kept (P-09)."""
        wanted = self.scenario.options["min_connections"]
        await asyncio.sleep(self.scenario.options["idle_timeout"] + 40)
        for _ in range(60):
            stats = [pool.stats() for pool in self.watch.pools]
            found = [one.connections for one in stats]
            least = [min(wanted, one.max_connections) for one in stats]
            if found == least == self.world.live:
                return
            await asyncio.sleep(1.0)
        if not self._login_is_blocked():
            self.evidence.complain(f"P-09: {found} connections are open, and not {least}")

    def _login_is_blocked(self) -> bool:
        lanes = [lane for pool in self.watch.pools for lane in pool._state.lanes.values()]
        return any(lane.blocked_until > self.loop.time() for lane in lanes)

    async def _after_the_end(self) -> None:
        evidence, world = self.evidence, self.world
        for timer in world.timers:
            timer.cancel()
        stats = evidence.stats = self.transporter.stats()
        if min(stats.connections, stats.opening, stats.busy, stats.idle, stats.closing, stats.queued) < 0:
            evidence.complain(f"P-32: less than nothing is counted: {stats}")
        if any(world.live):
            evidence.complain(f"P-29: {world.live} connections are left after close")
        for server in world.servers:
            if server.open_connections and self.scenario.calm:
                evidence.complain(
                    f"P-29: server {server.index} still has {server.open_connections} connections"
                )
            evidence.violations += server.violations
            await server.stop()
        await asyncio.sleep(3 * self.scenario.network.latency + 1)
        try:
            self.transporter.send_mail(
                {
                    "raw": b"Subject: x\r\n\r\n",
                    "envelope": {"from": "from-999999@example.org", "to": ["r1-1@a.example"]},
                }
            )
            evidence.complain("P-28: a closed transporter takes messages")
        except PoolClosed:
            pass
        if await self.transporter.close():
            evidence.complain("P-31: a second close returns messages again")

    # -- noting --------------------------------------------------------------------------------------------------------

    def _entry(self, letter: Letter, how: str, step: Step) -> Submission:
        deadline = step.deadline if how == "send" and step.deadline else self.scenario.options["deadline"]
        entry = Submission(letter, how, self.loop.time(), step.priority, deadline)
        self.evidence.submissions[letter.number] = entry
        return entry

    def _auth(self, letter: Letter) -> tuple[str, str] | None:
        if letter.identity is None:
            return None
        return letter.identity, self.scenario.identities.get(letter.identity, "not its password")

    def _ended(self, entry: Submission, future: asyncio.Future[Any]) -> None:
        if future.cancelled():
            self._settle(entry, asyncio.CancelledError())
        else:
            self._settle(entry, future.exception() or future.result())

    def _settle(self, entry: Submission, outcome: Any) -> None:
        entry.outcome = outcome
        entry.ended_at = self.loop.time()
        self._note(f"message {entry.letter.number}", f"{type(outcome).__name__}: {outcome}")

    def _note(self, who: str, words: str) -> None:
        self.evidence.trace.append((self.loop.time(), who, words))

    def _hook(self) -> None:
        manners = self.scenario.hook
        if manners is None:
            return

        def plain(message: Any) -> None:
            if number_of_message(message) in manners.breaks:
                raise RuntimeError("a hook of the program fails")

        async def slow(message: Any) -> None:
            await asyncio.sleep(manners.pause)
            plain(message)

        self.transporter.use(manners.stage, slow if manners.pause else plain)

    def _listen(self) -> None:
        for name in EVENTS:
            if name != "idle":
                self.transporter.on(name, lambda *details, name=name: self._heard(name, details))
        if self.scenario.rude_handlers:
            for name in EVENTS:
                self.transporter.on(name, _rude)

    def _heard(self, name: str, details: tuple[Any, ...]) -> None:
        now = self.loop.time()
        self.evidence.events.append((now, name, details))
        self.evidence.trace.append((now, f"event {name}", ", ".join(str(detail) for detail in details)))


def _rude(*details: object) -> None:
    raise RuntimeError("a handler of the program fails")

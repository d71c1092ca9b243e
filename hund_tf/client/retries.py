"""A failed try in, the next address and the wait before it out, or the error if there is no use in trying again.

Every call of a hund server computes and changes nothing, so it can be sent twice: a call whose replica dies is lost to that
replica, not to the caller.
"""

import dataclasses
import random
import time
from typing import Optional

import grpc

from hund_tf.client import errors

# CANCELLED: by a server that stops; the client itself never cancels a call that it still waits for.
_TRANSIENT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
SUSPECT_S = 30.0  # an address that timed out is tried last for so long
_TOO_LARGE = "larger than max"  # in gRPC's own RESOURCE_EXHAUSTED, of a message above a limit: it will not shrink


@dataclasses.dataclass(frozen=True)
class RetryPolicy:
    """When to try again. Whatever it says, a call ends at its own deadline.

    Args:
        rounds: int, how often the list of addresses is gone through again after the first time; None: until the deadline.
        first_wait: float, seconds before the second round.
        growth: float, by which every further wait is longer.
        longest_wait: float, seconds.
        jitter: float in [0, 1], the part of a wait that is left to chance, so that clients do not come back all at once.
        exhausted: bool, whether RESOURCE_EXHAUSTED (a full queue) is tried again, too.
        try_timeout: float, seconds after which a silent address is left for the next one. None: half of what is left of the
            call's time, and that only in the first round and while an address that did not time out lately comes next; any
            other try has all the time that is left. So a busy server has half of a call's `timeout` at least before its work
            is thrown away, and one that hangs leaves the other half to the next. `math.inf`: never. One address alone always
            has the whole time.

    Raises:
        ValueError: if a number breaks its rule.
    """

    rounds: Optional[int] = None
    first_wait: float = 0.1
    growth: float = 2.0
    longest_wait: float = 5.0
    jitter: float = 0.5
    exhausted: bool = False
    try_timeout: Optional[float] = None

    def __post_init__(self):
        if self.rounds is not None and (isinstance(self.rounds, bool) or not isinstance(self.rounds, int) or self.rounds < 0):
            raise ValueError(f"`rounds` must be a whole number of at least 0, or None. Received: {self.rounds!r}.")
        if not (self.first_wait >= 0 and self.longest_wait >= 0 and self.growth >= 1 and 0 <= self.jitter <= 1):
            raise ValueError("`first_wait` and `longest_wait` must be at least 0, `growth` at least 1, `jitter` from 0 to 1. "
                             f"Received: {self}.")
        if self.rounds is None and not min(self.first_wait, self.longest_wait) > 0:
            raise ValueError(f"`first_wait` and `longest_wait` must be above 0 where `rounds` is None. Received: {self}.")
        if self.try_timeout is not None and not self.try_timeout > 0:
            raise ValueError(f"`try_timeout` must be a positive number of seconds, or None. Received: {self.try_timeout!r}.")

    def wait(self, finished_rounds, noise):
        """Seconds before the next round; `noise` in [0, 1)."""
        wait = min(self.first_wait * self.growth ** min(finished_rounds - 1, 64), self.longest_wait)
        return wait * (1 - self.jitter * noise)

    def covers(self, code, message):
        """Whether a status is one that may pass."""
        exhausted = self.exhausted and code == grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE not in (message or "")
        return code in _TRANSIENT or exhausted


class Suspects:
    """The addresses, by their places, that timed out in the last `SUSPECT_S`; all calls of a client share them.

    Args:
        clock: function, seconds.
    """

    def __init__(self, clock=time.monotonic):
        self._clock, self._since = clock, {}

    def __contains__(self, place):
        return self._clock() - self._since.get(place, -float("inf")) < SUSPECT_S

    def add(self, place):
        """It timed out."""
        self._since[place] = self._clock()

    def visit(self, place):
        """It is tried. If it once timed out, other calls do not follow before this one knows more."""
        if place in self._since:
            self.add(place)

    def discard(self, place):
        """It answered, be it with an error."""
        self._since.pop(place, None)


class Tries:
    """The tries of one call; it ends at the deadline, whatever is left of the rounds.

    Args:
        policy: `RetryPolicy`.
        addresses: list of str.
        first: int, place of the address that is tried first, unless it is a suspect.
        timeout: float, seconds for all tries and waits together.
        suspects: `Suspects` of the client.
        clock: function, seconds.
        noise: function, numbers in [0, 1).

    Attributes:
        place: int, of the address that is tried now.
    """

    def __init__(self, policy, addresses, first, timeout, suspects, clock=time.monotonic, noise=random.random):
        self._policy, self._addresses, self._first, self._suspects = policy, addresses, first, suspects
        self._clock, self._noise = clock, noise
        self._end, self._finished_rounds, self._failures, self._is_cut = clock() + timeout, 0, {}, False
        self._start_round()

    def remaining(self):
        """Seconds to the deadline, never below zero."""
        return max(self._end - self._clock(), 0.0)

    def begin(self):
        """Begins a try: float, seconds that it may take."""
        self._suspects.visit(self.place)
        remaining = seconds = self.remaining()
        if len(self._addresses) > 1 and self._policy.try_timeout is not None:
            seconds = min(self._policy.try_timeout, remaining)
        elif not self._finished_rounds and self._hopeful.intersection(self._left):
            seconds = remaining / 2
        self._is_cut = seconds < remaining
        return seconds

    def answered(self):
        """The try was the last: there is an answer."""
        self._suspects.discard(self.place)

    def after(self, code, message):
        """Moves to the next address after a failed try.

        Returns:
            float, seconds to wait: 0 unless every address has failed in this round.

        Raises:
            HundServerError: if the status is no passing one, the rounds are used up, or the deadline would pass.
        """
        address, earlier = self._addresses[self.place], self._failures.get(self.place)
        late = code == grpc.StatusCode.DEADLINE_EXCEEDED
        if late and not self._is_cut and earlier is not None:  # the deadline fell into a further try: the reason came before
            raise errors.from_status(earlier.code, f"{earlier.message}; then no answer before the deadline", address)
        error = self._failures[self.place] = errors.from_status(code, message, address)
        if late:
            self._suspects.add(self.place)
        else:
            self._suspects.discard(self.place)
        if not (self._is_cut if late else self._policy.covers(code, message)):
            raise error
        wait = 0.0
        if self._left:
            self.place = self._left.pop(0)
        else:
            self._finished_rounds += 1
            if self._policy.rounds is not None and self._finished_rounds > self._policy.rounds:
                raise error
            wait = self._policy.wait(self._finished_rounds, self._noise())
            self._start_round()
        if wait >= self.remaining():
            raise error
        return wait

    def _start_round(self):
        count = len(self._addresses)
        places = [(self._first + i) % count for i in range(count)]
        self._hopeful = {place for place in places if place not in self._suspects} or set(places)
        self._left = sorted(places, key=lambda place: place not in self._hopeful)
        self.place = self._left.pop(0)

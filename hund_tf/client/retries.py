"""A failed try in, the next address and the wait before it out, or the error if there is no use in trying again.

Every call of a hund server computes and changes nothing, so it can be sent twice: a call whose replica dies is lost to that
replica, not to the caller.
"""

import dataclasses
import random
import time

import grpc

from hund_tf.client import errors

# CANCELLED: by a server that stops; the client itself never cancels a call that it still waits for.
_TRANSIENT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
_TOO_LARGE = "larger than max"  # in gRPC's own RESOURCE_EXHAUSTED, of a message above a limit: it will not shrink


@dataclasses.dataclass(frozen=True)
class RetryPolicy:
    """When to try again.

    Args:
        rounds: int, how often the list of addresses is gone through again after the first time.
        first_wait: float, seconds before the second round.
        growth: float, by which every further wait is longer.
        longest_wait: float, seconds.
        jitter: float in [0, 1], the part of a wait that is left to chance, so that clients do not come back all at once.
        exhausted: bool, whether RESOURCE_EXHAUSTED (a full queue) is tried again, too.

    Raises:
        ValueError: if a number breaks its rule.
    """

    rounds: int = 4
    first_wait: float = 0.1
    growth: float = 2.0
    longest_wait: float = 5.0
    jitter: float = 0.5
    exhausted: bool = False

    def __post_init__(self):
        if isinstance(self.rounds, bool) or not isinstance(self.rounds, int) or self.rounds < 0:
            raise ValueError(f"`rounds` must be a whole number of at least 0. Received: {self.rounds!r}.")
        if not (self.first_wait >= 0 and self.longest_wait >= 0 and self.growth >= 1 and 0 <= self.jitter <= 1):
            raise ValueError("`first_wait` and `longest_wait` must be at least 0, `growth` at least 1, `jitter` from 0 to 1. "
                             f"Received: {self}.")

    def wait(self, finished_rounds, noise):
        """Seconds before the next round; `noise` in [0, 1)."""
        wait = min(self.first_wait * self.growth ** min(finished_rounds - 1, 64), self.longest_wait)
        return wait * (1 - self.jitter * noise)

    def covers(self, code, message):
        """Whether a status is one that may pass."""
        exhausted = self.exhausted and code == grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE not in (message or "")
        return code in _TRANSIENT or exhausted


class Tries:
    """The tries of one call; it ends at the deadline, whatever is left of the rounds.

    Args:
        policy: `RetryPolicy`.
        addresses: list of str.
        first: int, place of the address that is tried first.
        timeout: float, seconds for all tries and waits together.
        clock: function, seconds.
        noise: function, numbers in [0, 1).
    """

    def __init__(self, policy, addresses, first, timeout, clock=time.monotonic, noise=random.random):
        self._policy, self._addresses, self._clock, self._noise = policy, addresses, clock, noise
        self._end, self._failed = clock() + timeout, 0
        self.place = first % len(addresses)

    def remaining(self):
        """Seconds to the deadline, never below zero."""
        return max(self._end - self._clock(), 0.0)

    def after(self, code, message):
        """Moves to the next address after a failed try.

        Returns:
            float, seconds to wait: 0 unless every address has failed in this round.

        Raises:
            HundServerError: if the status is no passing one, the rounds are used up, or the deadline would pass.
        """
        error = errors.from_status(code, message, self._addresses[self.place])
        self._failed += 1
        finished_rounds, within = divmod(self._failed, len(self._addresses))
        if not self._policy.covers(code, message) or finished_rounds > self._policy.rounds:
            raise error
        self.place = (self.place + 1) % len(self._addresses)
        wait = 0.0 if within else self._policy.wait(finished_rounds, self._noise())
        if wait >= self.remaining():
            raise error
        return wait

"""Names in, the seconds since the name before out: how long each part of a long line takes."""

import time


class Clock:
    """Seconds between laps, by name.

    Attributes:
        laps: dict, seconds of each part; parts of one name add up.
    """

    def __init__(self):
        self.laps, self._last = {}, time.perf_counter()

    def lap(self, name, wait_for=None):
        """Ends a part; `wait_for`: a tensor that must be there first."""
        if wait_for is not None:
            wait_for.numpy()
        now = time.perf_counter()
        self.laps[name] = self.laps.get(name, 0.0) + now - self._last
        self._last = now

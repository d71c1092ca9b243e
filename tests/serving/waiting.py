"""Waits that end: until something holds, or as a failure of the test."""

import asyncio
import time

TIMEOUT = 30  # seconds; a test that waits this long has failed


def wait_until(condition, what, seconds=TIMEOUT):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.01)


async def until(condition):
    """As `wait_until`, while the event loop goes on."""
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)

"""Retries: which errors pass, where the next try goes, how long it waits, and that the deadline holds. No network."""

import pickle

import grpc
import pytest

from hund_tf.client import HundInputError, HundServerError, HundTimeoutError, HundUnavailableError, RetryPolicy, errors
from hund_tf.client.retries import Tries

Code = grpc.StatusCode


class Clock:
    """Time that passes only by waiting."""

    now = 100.0

    def __call__(self):
        return self.now


def tries(addresses=1, timeout=60.0, first=0, noise=0.0, **policy):
    clock = Clock()
    made = Tries(RetryPolicy(**policy), [f"host{i}" for i in range(addresses)], first, timeout, clock, lambda: noise)
    return made, clock


def test_waits_grow_to_the_longest():
    made, _ = tries(rounds=5, first_wait=0.1, growth=3.0, longest_wait=1.0)
    assert [pytest.approx(made.after(Code.UNAVAILABLE, "")) for _ in range(5)] == [0.1, 0.3, 0.9, 1.0, 1.0]
    with pytest.raises(HundUnavailableError, match="host0: UNAVAILABLE: still gone"):
        made.after(Code.UNAVAILABLE, "still gone")


def test_jitter_shortens_a_wait_by_its_part_at_most():
    policy = RetryPolicy(first_wait=1.0, jitter=0.25)
    assert policy.wait(1, 0.0) == 1.0 and policy.wait(1, 1.0) == 0.75


def test_other_addresses_come_first_and_at_once():
    made, _ = tries(addresses=3, first=5, rounds=1)
    places, waits = [made.place], []
    for _ in range(5):
        waits.append(made.after(Code.UNAVAILABLE, ""))
        places.append(made.place)
    assert places == [2, 0, 1, 2, 0, 1] and [wait > 0 for wait in waits] == [False, False, True, False, False]
    with pytest.raises(HundUnavailableError, match="host1"):
        made.after(Code.UNAVAILABLE, "")


def test_no_wait_ends_after_the_deadline():
    made, clock = tries(timeout=0.35, first_wait=0.1, rounds=9)
    clock.now += made.after(Code.UNAVAILABLE, "")
    clock.now += made.after(Code.UNAVAILABLE, "")
    assert made.remaining() == pytest.approx(0.05)
    with pytest.raises(HundUnavailableError):
        made.after(Code.UNAVAILABLE, "")
    clock.now += 9
    assert made.remaining() == 0


@pytest.mark.parametrize("code, exhausted, message, passes", [
    (Code.UNAVAILABLE, False, None, True), (Code.CANCELLED, False, "", True), (Code.INVALID_ARGUMENT, True, "", False),
    (Code.RESOURCE_EXHAUSTED, False, "queue is full", False), (Code.RESOURCE_EXHAUSTED, True, "queue is full", True),
    (Code.RESOURCE_EXHAUSTED, True, "CLIENT: Received message larger than max (9 vs. 4)", False),
    (Code.DEADLINE_EXCEEDED, True, "", False), (Code.INTERNAL, True, "", False), (Code.NOT_FOUND, True, "", False)])
def test_what_may_pass(code, exhausted, message, passes):
    made, _ = tries(exhausted=exhausted)
    if passes:
        assert made.after(code, message) == 0.1
    else:
        with pytest.raises(HundServerError) as caught:
            made.after(code, message)
        assert caught.value.code == code


@pytest.mark.parametrize("code, kinds", [
    (Code.INVALID_ARGUMENT, (HundInputError, ValueError)), (Code.DEADLINE_EXCEEDED, (HundTimeoutError, TimeoutError)),
    (Code.UNAVAILABLE, (HundUnavailableError, ConnectionError)), (Code.NOT_FOUND, (HundServerError,))])
def test_errors_by_status(code, kinds):
    error = errors.from_status(code, "the rule", "host:1")
    assert all(isinstance(error, kind) for kind in (*kinds, HundServerError))
    assert (error.code, error.message, error.address) == (code, "the rule", "host:1")
    assert str(error) == f"host:1: {code.name}: the rule"
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and str(again) == str(error)


@pytest.mark.parametrize("settings, words", [
    ({"rounds": -1}, "`rounds` must be a whole number"), ({"rounds": True}, "Received: True"), ({"growth": 0.5}, "growth=0.5"),
    ({"first_wait": float("nan")}, "must be at least 0"), ({"jitter": 2}, "from 0 to 1")])
def test_impossible_policies_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        RetryPolicy(**settings)

"""Retries: which errors pass, where the next try goes, how long it waits, and that the deadline holds. No network."""

import math
import pickle

import grpc
import pytest

from hund_tf.client import HundInputError, HundServerError, HundTimeoutError, HundUnavailableError, RetryPolicy, errors
from hund_tf.client.retries import SUSPECT_S, Suspects, Tries

Code = grpc.StatusCode


class Clock:
    """Time that passes only by waiting."""

    now = 100.0

    def __call__(self):
        return self.now


def tries(addresses=1, timeout=60.0, first=0, noise=0.0, suspects=None, clock=None, **policy):
    clock = clock or Clock()
    suspects = Suspects(clock) if suspects is None else suspects
    hosts = [f"host{i}" for i in range(addresses)]
    return Tries(RetryPolicy(**policy), hosts, first, timeout, suspects, clock, lambda: noise), clock


def fail_late(made, clock):
    """One try that uses up its time: seconds of it."""
    seconds = made.begin()
    clock.now += seconds
    made.after(Code.DEADLINE_EXCEEDED, "late")
    return seconds


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


def test_the_deadline_is_the_bound_of_the_rounds():
    made, clock = tries(timeout=60.0)
    with pytest.raises(HundUnavailableError, match="loading"):
        while True:
            made.begin()
            clock.now += made.after(Code.UNAVAILABLE, "loading")
    assert 0 < made.remaining() <= RetryPolicy().longest_wait


def test_silent_address_leaves_half_of_the_time_to_the_others():
    made, clock = tries(addresses=3)
    assert [fail_late(made, clock), fail_late(made, clock)] == [30, 15] and made.place == 2
    with pytest.raises(HundTimeoutError, match="host2: DEADLINE_EXCEEDED: late"):
        fail_late(made, clock)
    assert clock.now == 160


def test_one_address_has_the_whole_time():
    for policy in ({}, {"try_timeout": 5.0}):
        made, clock = tries(first_wait=1.0, **policy)
        assert made.begin() == 60
        clock.now += made.after(Code.UNAVAILABLE, "loading")
        assert made.begin() == 59
        clock.now += 59
        with pytest.raises(HundUnavailableError, match="loading; then no answer before the deadline"):
            made.after(Code.DEADLINE_EXCEEDED, "")


def test_slow_server_is_not_cut_off_where_nothing_better_is_left():
    made, clock = tries(addresses=2)
    assert made.begin() == 30
    made.after(Code.UNAVAILABLE, "dead")
    assert made.begin() == 60  # the last of the round
    clock.now += made.after(Code.UNAVAILABLE, "dead too")
    assert (made.place, made.begin()) == (0, made.remaining())  # after the first round
    suspects = Suspects(clock)
    suspects.add(1)
    for first in (0, 1):
        made, _ = tries(addresses=2, first=first, suspects=suspects, clock=clock)
        assert (made.place, made.begin()) == (0, 60)


def test_time_of_a_try_by_the_policy():
    made, clock = tries(addresses=2, try_timeout=25.0, timeout=60.1)
    assert [fail_late(made, clock), fail_late(made, clock)] == [25, 25]
    clock.now += 0.1
    assert made.begin() == pytest.approx(10)  # never past the deadline
    assert tries(addresses=2, try_timeout=math.inf)[0].begin() == 60


def test_address_that_timed_out_is_tried_last_for_a_while():
    clock = Clock()
    suspects = Suspects(clock)

    def place():
        made, _ = tries(addresses=2, suspects=suspects, clock=clock)
        return made.place

    fail_late(*tries(addresses=2, suspects=suspects, clock=clock))
    assert place() == 1
    clock.now += SUSPECT_S
    made, _ = tries(addresses=2, suspects=suspects, clock=clock)
    made.begin()
    assert (made.place, place()) == (0, 1)  # one call looks whether it is back, others do not follow
    made.answered()
    assert place() == 0
    suspects.add(0), suspects.add(1)
    assert place() == 0 and tries(addresses=2, suspects=suspects, clock=clock)[0].begin() == 30


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
    ({"first_wait": float("nan")}, "must be at least 0"), ({"jitter": 2}, "from 0 to 1"),
    ({"first_wait": 0}, "must be above 0 where `rounds` is None"), ({"longest_wait": 0.0}, "longest_wait=0.0"),
    ({"try_timeout": 0}, "`try_timeout` must be a positive number of seconds, or None. Received: 0"),
    ({"try_timeout": float("nan")}, "Received: nan")])
def test_impossible_policies_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        RetryPolicy(**settings)

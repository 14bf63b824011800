import random

from playspot.stream.restarts import BREAKER, HEALTHY_AFTER, JITTER, LAST_DELAY, Restarts


def test_a_worker_that_dies_once_is_started_again_at_once() -> None:
    assert Restarts().failed(now=0.0) == 0.0


def test_a_peer_outside_gets_time_from_the_first_failure_on() -> None:
    assert Restarts().failed(now=0.0, is_patient=True) > 0.0


def test_delays_grow_and_stay_below_their_bound() -> None:
    restarts = Restarts(rng=random.Random(3))
    delays = [restarts.failed(now=0.0) for _ in range(40)]
    assert delays[1] < delays[3] < delays[5]
    assert max(delays) <= LAST_DELAY * (1 + JITTER)
    assert min(delays[-5:]) >= LAST_DELAY


def test_sources_that_fail_together_do_not_come_back_together() -> None:
    several = [Restarts(rng=random.Random(seed)) for seed in range(20)]
    for restarts in several:
        for _ in range(4):
            delay = restarts.failed(now=0.0)
    assert len({round(r.failed(now=0.0), 3) for r in several}) > 15
    assert delay > 0


def test_the_circuit_opens_after_some_failures_in_a_row() -> None:
    restarts = Restarts()
    for _ in range(BREAKER - 1):
        restarts.failed(now=0.0)
    assert not restarts.is_open
    restarts.failed(now=0.0)
    assert restarts.is_open


def test_who_held_out_for_long_starts_from_nothing() -> None:
    restarts = Restarts()
    for _ in range(BREAKER):
        restarts.started(now=0.0)
        restarts.failed(now=1.0)
    restarts.started(now=10.0)
    assert restarts.failed(now=11.0 + HEALTHY_AFTER) == 0.0
    assert not restarts.is_open
    assert restarts.total == BREAKER + 1


def test_a_short_life_does_not_count_as_healthy() -> None:
    restarts = Restarts()
    restarts.started(now=0.0)
    restarts.failed(now=1.0)
    restarts.started(now=2.0)
    assert restarts.failed(now=3.0) > 0.0

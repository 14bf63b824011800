import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from playspot.engines.settings import MODALITIES, ModalityName
from playspot.stream.align import LIMIT, Aligner


def drain(aligner: Aligner) -> list[tuple[int, set[ModalityName]]]:
    taken = []
    while (inputs := aligner.take()) is not None:
        taken.append((inputs.step, set(inputs.inputs)))
    return taken


@given(st.integers(0, 12), st.integers(0, 2**32 - 1))
def test_any_order_of_arrival_gives_every_step_once_and_whole(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    modalities = list(MODALITIES)
    queues = {name: list(range(n)) for name in modalities}
    aligner = Aligner(set(modalities))
    taken = []
    while any(queues.values()):
        waiting = [name for name in modalities if queues[name]]
        name = waiting[rng.integers(len(waiting))]
        aligner.put(name, queues[name].pop(0), "input")
        taken += drain(aligner)
    for name in modalities:
        aligner.end(name, n)
    taken += drain(aligner)
    assert taken == [(step, set(modalities)) for step in range(n)]
    assert aligner.is_done


def test_a_step_that_a_modality_skipped_is_without_it() -> None:
    aligner = Aligner({"object", "sound"})
    for step in range(3):
        aligner.put("sound", step, "window")
    aligner.put("object", 2, "picture")
    assert drain(aligner) == [(0, {"sound"}), (1, {"sound"}), (2, {"sound", "object"})]


def test_a_modality_that_ends_early_is_missing_from_then_on() -> None:
    aligner = Aligner({"object", "sound"})
    aligner.put("object", 0, "picture")
    aligner.end("object", 3)
    for step in range(3):
        aligner.put("sound", step, "window")
    assert drain(aligner) == [(0, {"object", "sound"}), (1, {"sound"}), (2, {"sound"})]


def test_none_says_that_there_is_nothing_at_a_step() -> None:
    aligner = Aligner({"sound"})
    aligner.put("sound", 0, None)
    assert drain(aligner) == [(0, set())]


def test_steps_after_all_inputs_are_still_taken() -> None:
    aligner = Aligner({"sound"})
    aligner.end("sound", 2)
    assert drain(aligner) == [(0, set()), (1, set())]
    assert aligner.is_done


def test_a_modality_far_ahead_is_full_and_free_again_when_the_others_follow() -> None:
    aligner = Aligner({"object", "sound"})
    for step in range(LIMIT + 1):
        aligner.put("object", step, "picture")
    assert aligner.is_full("object")
    assert not aligner.is_full("sound")
    aligner.put("sound", 3, "window")
    drain(aligner)
    assert not aligner.is_full("object")


def test_an_input_that_comes_after_its_step_is_dropped() -> None:
    aligner = Aligner({"object", "sound"})
    aligner.put("object", 2, "picture")
    aligner.put("sound", 2, "window")
    drain(aligner)
    aligner.put("sound", 1, "late")
    assert drain(aligner) == []

"""The detector stage without its process: the law, deadlines, statuses, fairness, accounts."""

from collections import Counter
from collections.abc import Iterable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from playspot.engines.engine import Header
from playspot.engines.replay import ReplayEngine
from playspot.engines.settings import Decoding
from playspot.stream.config import Zone
from playspot.stream.deadlines import Deadlines, Pace
from playspot.stream.detector import Detector
from playspot.stream.flow import FlowStack
from playspot.stream.inputs import stack_message, window_message
from playspot.stream.live_detector import DetectorStage
from playspot.stream.measure import Measures
from playspot.stream.media import Picture, SourceInfo
from playspot.stream.messages import Message
from playspot.stream.scoring import Scorer, View
from playspot.stream.stage import Outlet
from playspot.stream.timeline import STEP, step_time
from playspot.stream.windows import SoundWindow

LABELS = ("drum", "violin")
BUDGET, LOOK_AHEAD = 2.0, 0.736
DEADLINES = Deadlines(BUDGET, LOOK_AHEAD)
DECODING = Decoding(on=0.5, off=0.3, min_duration=0)
SIZE = (36, 64)
LEFT = Zone(polygon=((0, 0), (0.5, 0), (0.5, 1), (0, 1)))


def engines(spend: Any = lambda n: None) -> dict[Any, Any]:
    """Return engines whose scores follow from their inputs, whatever the batch."""

    def seen(batch: np.ndarray) -> np.ndarray:
        spend(len(batch))
        top = batch.reshape(len(batch), -1).mean(axis=1).astype(np.float32)
        maps = np.full((len(batch), 2, 3, 4), 0.2, np.float32)
        maps[:, 1] = (0.5 + top / 600)[:, None, None]
        maps[:, 1, 1, 3] += 0.05  # to the right
        return maps

    def heard(batch: np.ndarray) -> np.ndarray:
        spend(len(batch))
        level = batch.mean(axis=(1, 2))
        return np.stack([np.full_like(level, 0.2), 0.6 + level / 100], axis=1)[:, :, None].repeat(
            3, axis=2
        )

    def header(kind: Any) -> Header:
        return Header(kind=kind, name=kind, labels=LABELS, stride=16, offset=8)

    return {
        "action": ReplayEngine(header("action"), seen),
        "object": ReplayEngine(header("object"), seen),
        "sound": ReplayEngine(header("sound"), heard),
    }


def picture(step: int) -> Picture:
    return Picture(step, np.full((*SIZE, 3), step % 200, np.uint8))


def stack(step: int) -> FlowStack:
    return FlowStack(step, np.full((10, *SIZE), step % 7, np.float32))


def window(step: int, missing: bool = False) -> SoundWindow:
    columns = 16 * min(3, step + 1)
    return SoundWindow(step, np.full((384, columns), step % 5, np.float32), min(2, step), missing)


class Bench:
    """A stage with a clock that is turned by hand, and what it sent."""

    def __init__(self, feed: ModuleType, *, cost: float = 0.0, budget: float = BUDGET) -> None:
        self.clock, self.sent, self.measures = feed.Clock(), feed.Sent(), Measures()
        self.ages: dict[str, list[float]] = {}

        def spend(n: int) -> None:
            self.clock.now += n * cost / 3

        def hand_on(message: Message) -> bool:
            if message.kind == "scored":
                age = self.clock.now - message.data["captured"]
                self.ages.setdefault(message.data["name"], []).append(age)
            return bool(self.sent(message))

        self.stage = DetectorStage(
            Scorer(engines(spend), LABELS),
            DECODING,
            Deadlines(budget, LOOK_AHEAD),
            Outlet(hand_on, self.measures, self.clock),
            self.measures,
            self.clock,
        )
        self.feed, self.begin = feed, self.clock.now

    def open(self, number: int = 1, name: str = "stage", **options: Any) -> None:
        self.stage.take("object", self.feed.opening(number, name, **options))

    def at(self, time: float) -> None:
        """Let media time `time` be now."""
        self.clock.now = max(self.clock.now, self.begin + time)

    def labelled(self, step: int, name: str, begin: float | None) -> dict[str, Any]:
        captured = (self.begin if begin is None else begin) + step_time(step)
        return {"name": name, "captured": captured, "arrived": self.clock.now}

    def put(
        self,
        modality: str,
        steps: Iterable[int],
        number: int = 1,
        name: str = "stage",
        begin: float | None = None,
        **data: Any,
    ) -> None:
        for step in steps:
            base = {**self.labelled(step, name, begin), **data}
            if "gap" in base:
                message = Message("gap", number, step, {**base, "stale": base["gap"] == "stale"})
            elif modality == "object":
                message = Message("picture", number, step, base, (picture(step).image,))
            elif modality == "action":
                message = stack_message(number, stack(step), base)
            else:
                message = window_message(number, window(step), base)
            self.stage.take(modality, message)

    def end(self, n: int, number: int = 1, **data: Any) -> None:
        data = {"name": "stage", "duration": step_time(n), "reason": "end_of_stream", **data}
        for modality in ("object", "action", "sound"):
            self.stage.take(modality, Message("end", number, n, data))

    def work(self) -> None:
        """Do all that is due."""
        while self.stage.work():
            pass

    def statuses(self) -> list[dict[str, str]]:
        return [message.data["modalities"] for message in self.sent.of("scored")]


@pytest.fixture
def bench(feed: ModuleType) -> Bench:
    return Bench(feed)


OK = {"action": "ok", "object": "ok", "sound": "ok"}


def test_a_stream_gives_what_the_file_gives(bench: Bench) -> None:
    detector = Detector(engines(), DECODING, LABELS)
    detector.open(1, SourceInfo("stage", has_video=True, has_audio=True))
    aligner = detector.sources[1].aligner
    for step in range(6):
        aligner.put("object", step, picture(step))
        aligner.put("action", step, stack(step))
        aligner.put("sound", step, window(step))
    expected = [result.step for result in detector.results(1)]

    bench.open()
    for step in range(6):
        bench.at(step_time(step) + 0.8)
        for modality in ("sound", "object", "action"):
            bench.put(modality, [step])
        bench.work()
    scored = bench.sent.of("scored")
    assert [m.data["record"] for m in scored] == [s.model_dump(mode="json") for s in expected]
    assert bench.statuses() == [OK] * 6
    assert not bench.measures.drops


def test_records_are_on_the_time_line_of_the_source(bench: Bench) -> None:
    bench.open(base=100)
    for modality in ("object", "action", "sound"):
        bench.put(modality, [0])
    bench.work()
    (message,) = bench.sent.of("scored")
    assert (message.index, message.data["base"]) == (0, 100)
    record = message.data["record"]
    assert (record["step"], record["time"]) == (100, step_time(100))


def test_a_batch_over_sources_gives_what_single_steps_give() -> None:
    scorer, view = Scorer(engines(), LABELS), View(DECODING)
    batch: list[Any] = [
        ({"object": picture(k), "action": stack(k), "sound": window(k)}, (18, 32)) for k in range(4)
    ]
    batch[3] = ({"object": Picture(3, np.full((64, 64, 3), 9, np.uint8))}, (32, 32))
    calls = []
    together = scorer.maps(batch, lambda: calls.append(1))
    assert len(calls) < 9
    for k, one in enumerate(batch):
        (alone,) = scorer.maps([one])
        assert alone.keys() == together[k].keys()
        for name, scores in alone.items():
            np.testing.assert_allclose(scores, together[k][name], atol=1e-5)
        a, b = scorer.scored(k, alone, view), scorer.scored(k, together[k], view)
        assert a.step.scores == pytest.approx(b.step.scores, abs=1e-5)


def test_what_does_not_come_in_time_is_stale_and_the_step_leaves_without_it(bench: Bench) -> None:
    bench.open()
    bench.put("object", [0])
    bench.put("sound", [0])
    bench.clock.now = bench.begin + DEADLINES.wait(Pace()) - 0.01
    bench.work()
    assert bench.sent.of("scored") == []
    bench.clock.now += 0.02
    bench.work()
    assert bench.statuses() == [{"action": "stale", "object": "ok", "sound": "ok"}]
    detection = bench.sent.of("scored")[0].data["seen"][0]["detection"]
    assert detection["modalities"]["action"] == {"score": None, "status": "stale"}
    assert detection["modalities"]["object"]["status"] == "ok"


def test_a_stale_gap_need_not_be_waited_for(bench: Bench) -> None:
    bench.open()
    bench.put("object", [0])
    bench.put("sound", [0])
    bench.put("action", [0], gap="stale")
    bench.work()
    assert bench.statuses() == [{"action": "stale", "object": "ok", "sound": "ok"}]


def test_a_gap_of_the_source_is_missing(bench: Bench) -> None:
    bench.open()
    bench.put("sound", [0])
    bench.put("object", [0], gap="missing")
    bench.put("action", [0], gap="missing")
    bench.work()
    assert bench.statuses() == [{"action": "missing", "object": "missing", "sound": "ok"}]


def test_what_a_source_has_not_is_missing(bench: Bench) -> None:
    bench.open(has_audio=False)
    bench.put("object", [0])
    bench.put("action", [0])
    bench.work()
    assert bench.statuses() == [{"action": "ok", "object": "ok", "sound": "missing"}]


def test_pictures_before_the_first_are_missing_and_lost_ones_stale(bench: Bench) -> None:
    bench.open()
    bench.put("sound", range(3))
    bench.put("action", range(3))
    bench.put("object", [1], first=True)
    bench.put("object", [2])
    bench.work()
    assert [s["object"] for s in bench.statuses()] == ["missing", "ok", "ok"]


def test_a_step_of_which_nothing_is_there_is_lost(bench: Bench) -> None:
    bench.open()
    for modality in ("object", "action", "sound"):
        bench.put(modality, [0], gap="stale")
        bench.put(modality, [1])
    bench.work()
    assert bench.sent.steps("scored") == [1]
    assert bench.measures.drops == {("stage", "lost"): 1}
    assert bench.sent.of("scored")[0].data["dropped"] == {"lost": 1}


def test_what_is_too_old_is_late_and_never_scored(bench: Bench) -> None:
    bench.open()
    for modality in ("object", "action", "sound"):
        bench.put(modality, range(2))
    bench.clock.now = bench.begin + step_time(1) + BUDGET
    bench.work()
    assert bench.sent.of("scored") == []
    assert bench.measures.drops == {("stage", "late"): 2}
    bench.end(2)
    bench.work()
    assert bench.sent.of("end")[0].data["dropped"] == {"late": 2}


def test_where_there_is_no_room_the_step_is_dropped_and_told_later(bench: Bench) -> None:
    bench.open()
    for modality in ("object", "action", "sound"):
        bench.put(modality, [0])
    bench.sent.has_room = False
    bench.work()
    assert bench.measures.drops == {("stage", "full"): 1}
    bench.sent.has_room = True
    for modality in ("object", "action", "sound"):
        bench.put(modality, [1])
    bench.work()
    assert bench.sent.of("scored")[0].data["dropped"] == {"full": 1}


def test_the_end_is_told_when_it_is_taken(bench: Bench) -> None:
    bench.open()
    bench.end(0)
    bench.sent.has_room = False
    bench.work()
    bench.sent.has_room = True
    bench.work()
    assert bench.sent.of("end")[0].data["reason"] == "end_of_stream"
    assert list(bench.stage._roster) == []


def test_labels_thresholds_and_zones_are_those_of_the_source(bench: Bench) -> None:
    bench.open(1, "all")
    bench.open(2, "drums", labels=("drum",))
    bench.open(3, "strict", threshold=0.99)
    bench.open(4, "left", zones={"left": LEFT})
    for number, name in enumerate(("all", "drums", "strict", "left"), 1):
        for modality in ("object", "action", "sound"):
            bench.put(modality, [0], number, name)
    bench.work()
    data = {message.data["name"]: message.data for message in bench.sent.of("scored")}
    assert [s["label"] for s in data["all"]["seen"]] == ["violin"]
    assert data["all"]["seen"][0]["point"][0] > 0.5
    assert data["drums"]["seen"] == []
    assert data["strict"]["record"]["detections"] == []
    assert data["left"]["seen"][0]["point"][0] < 0.5
    assert data["left"]["seen"][0]["box"][2] <= 0.5


def test_a_session_joined_in_the_middle_counts_from_its_first_step(bench: Bench) -> None:
    bench.clock.now = bench.begin + step_time(11) + LOOK_AHEAD
    bench.open(index=10)
    for modality in ("object", "action", "sound"):
        bench.put(modality, range(8, 12))
    bench.work()
    assert bench.sent.steps("scored") == [10, 11]
    assert not bench.measures.drops


def test_a_session_that_never_ended_is_ended_when_a_newer_one_opens(bench: Bench) -> None:
    bench.open(1)
    bench.put("object", range(2))
    bench.at(step_time(1) + 0.1)
    bench.open(2, base=9)
    bench.work()
    bench.at(step_time(9))
    for modality in ("object", "action", "sound"):
        bench.put(modality, [0], 2, begin=bench.begin + 9 * STEP)
    bench.work()
    order = [(m.kind, m.source, m.index) for m in bench.sent.messages if m.kind != "open"]
    assert order[-2:] == [("end", 1, 2), ("scored", 2, 0)]
    assert bench.sent.of("end")[0].data["reason"] == "source_lost"
    told = bench.sent.of("end")[0].data["dropped"]
    assert len(bench.sent.of("scored", 1)) + sum(told.values()) == 2


def test_a_silent_session_is_ended_by_timeout(bench: Bench) -> None:
    bench.open()
    bench.put("object", [0])
    bench.clock.now += 31
    bench.work()
    bench.work()
    (end,) = bench.sent.of("end")
    assert (end.data["reason"], end.data["dropped"]) == ("timeout", {"late": 1})
    assert list(bench.stage._roster) == []


def test_an_opening_is_forwarded_once_a_second(bench: Bench) -> None:
    for _ in range(3):
        bench.open()
    bench.clock.now += 1
    bench.open()
    assert len(bench.sent.of("open")) == 2


def test_a_flood_is_kept_short_and_every_step_is_counted(bench: Bench) -> None:
    bench.open()
    for step in range(500):
        bench.clock.now = bench.begin  # all in no time
        bench.put("object", [step], begin=bench.begin - step_time(step))
    (watched,) = bench.stage._roster
    assert len(watched.aligner._waiting["object"]) <= 6
    bench.end(500)
    bench.work()
    assert len(bench.sent.of("scored")) + sum(bench.measures.drops.values()) == 500


def test_a_source_that_a_network_refuses_does_not_disturb_the_others(bench: Bench) -> None:
    bench.open(1, "odd")
    bench.open(2, "fine")
    data = bench.labelled(0, "odd", None)
    odd = Message("picture", 1, 0, data, (np.full((*SIZE, 3), 200, np.uint8),))
    bench.stage._scorer.engines["object"]._score = refusing  # type: ignore[attr-defined]
    bench.stage.take("object", odd)
    for modality in ("object", "action", "sound"):
        bench.put(modality, [0], 2, "fine")
        bench.put(modality, [0] if modality != "object" else [], 1, "odd")
    bench.work()
    assert bench.sent.steps("scored", 2) == [0]
    assert bench.sent.steps("scored", 1) == []
    assert bench.measures.drops == {("odd", "failed"): 1}


def refusing(batch: np.ndarray) -> np.ndarray:
    if batch.max() >= 200:
        raise ValueError("pictures of this kind are not taken")
    return np.full((len(batch), 2, 3, 4), 0.5, np.float32)


def test_far_numbers_take_no_time(bench: Bench) -> None:
    bench.open()
    bench.put("sound", [0])
    bench.put("object", [10**9], first=True)
    bench.clock.now += 10
    bench.work()


@pytest.mark.parametrize("n_sources", [1, 3, 8])
def test_under_twice_the_load_ages_stay_in_the_budget_and_drops_are_even(
    feed: ModuleType, n_sources: int
) -> None:
    cost, n = 2 * STEP / n_sources, 120
    bench = Bench(feed, cost=cost)
    delays = {"object": 0.05, "action": 0.45, "sound": 0.75}
    due = []
    for i in range(n_sources):
        bench.open(i + 1, f"source {i}")
        begin = bench.begin + i * STEP / n_sources
        for step in range(n):
            for modality, delay in delays.items():
                due.append((begin + step_time(step) + delay, modality, step, i, begin))
        due.append((begin + n * STEP + 0.8, "end", n, i, begin))
    due.sort()
    while due:
        while due and due[0][0] <= bench.clock.now:
            _, modality, step, i, begin = due.pop(0)
            if modality == "end":
                bench.end(step, i + 1)
            else:
                bench.put(modality, [step], i + 1, f"source {i}", begin)
        if not bench.stage.work() and due:
            bench.clock.now = max(bench.clock.now, due[0][0])
    bench.work()
    served, told = [], Counter[str]()
    for i in range(n_sources):
        name = f"source {i}"
        steps = bench.sent.steps("scored", i + 1)
        assert steps == sorted(set(steps))
        served.append(len(steps))
        dropped = sum(k for (source, _), k in bench.measures.drops.items() if source == name)
        assert len(steps) + dropped == n
        for message in bench.sent.messages:
            if message.source == i + 1 and message.kind in ("scored", "end"):
                told[name] += sum(message.data["dropped"].values())
        assert told[name] == dropped
        assert np.quantile(bench.ages[name], 0.95) < BUDGET
    assert max(served) / min(served) < 1.2
    assert 0.3 < sum(served) / (n * n_sources) < 0.55
    assert bench.statuses() == [OK] * sum(served)


def test_a_network_slower_than_the_budget_does_not_stop_for_good(feed: ModuleType) -> None:
    bench = Bench(feed, cost=3.0)
    bench.open()
    for step in range(40):
        bench.at(step_time(step))
        for modality in ("object", "action", "sound"):
            bench.put(modality, [step])
        bench.work()
    assert bench.measures.drops["stage", "late"] >= 39
    assert bench.stage._pace.batch == 1


def heat_of(bench: Bench, **options: Any) -> Message:
    bench.open(**options)
    for modality in ("object", "action", "sound"):
        bench.put(modality, [0])
    bench.work()
    message: Message = bench.sent.of("scored")[-1]
    return message


def test_a_step_brings_the_playing_maps_that_matter(bench: Bench) -> None:
    message = heat_of(bench)
    (maps,) = message.arrays
    labels, scores = message.data["heat_labels"], message.data["record"]["scores"]
    assert "violin" in labels
    assert maps.dtype == np.uint8
    assert maps.shape == (len(labels), 18, 32)
    assert [top / 255 for top in maps.max(axis=(1, 2))] == pytest.approx(
        [scores[label] for label in labels], abs=1 / 255
    )


def test_there_is_no_heat_of_what_is_outside_the_zones_or_not_asked_for(bench: Bench) -> None:
    message = heat_of(bench, zones={"left": LEFT}, labels=("violin",))
    (maps,) = message.arrays
    assert message.data["heat_labels"] == ["violin"]
    assert maps[0, :, :16].max() > 100
    assert maps[0, :, 16:].max() == 0


def test_sound_alone_has_no_heat(bench: Bench) -> None:
    bench.open()
    bench.put("sound", [0])
    bench.clock.now = bench.begin + DEADLINES.wait(Pace()) + 0.01
    bench.work()
    (message,) = bench.sent.of("scored")
    assert (message.arrays, "heat_labels" in message.data) == ((), False)


def test_where_nobody_plays_there_is_no_heat() -> None:
    scorer = Scorer({}, LABELS)
    still: Any = {"action": np.full((2, 18, 32), 0.15, np.float32)}
    assert scorer.scored(0, still, View(Decoding(mode="action"))).heat() == ([], None)

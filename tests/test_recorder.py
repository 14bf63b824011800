"""The recorder: the right pictures of events, whole files only, nothing that nobody asked for."""

import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import zmq

from playspot.stream import recorder, recording
from playspot.stream.events import Event, ModelInfo
from playspot.stream.film import Film
from playspot.stream.messages import Message, send
from playspot.stream.output_config import RecordingsConfig
from playspot.stream.pictures import encode_jpeg
from playspot.stream.previews import Heard, Preview
from playspot.stream.recorder import Recorder, RecorderJob
from playspot.stream.recording_files import UNFINISHED, find
from playspot.stream.snapshot import draw_snapshot
from playspot.stream.sockets import endpoint, new_run
from playspot.stream.status import RunStatus
from playspot.stream.timeline import SAMPLE_RATE, STEP, TICK_SAMPLES, step_time, tick_time
from playspot.stream.topics import STATUS_ROOT, TOPIC_ROOT
from playspot.stream.worker import Worker

MODEL = ModelInfo(name="m", hash="h", engine="e", precision="fp32")
SYSTEM = "1a2b3c4d"
DEADLINE = 10.0  # s


def numbers(path: Path, media: Any) -> list[int]:
    """Return the numbers that the pictures of a clip show."""
    with av.open(str(path)) as clip:
        return [media.number(f.to_ndarray(format="rgb24")) for f in clip.decode(video=0)]


class Stage:
    """A recorder, and a hub and readers that a test plays."""

    def __init__(self, folder: Path, media: Any, **config: Any) -> None:
        self.folder, self._media = folder, media
        run = new_run()
        self._worker = Worker(run, "recorder", os.getppid())
        self._hub = self._worker.context.socket(zmq.PUB)
        self._hub.setsockopt(zmq.LINGER, 0)
        self._hub.bind(endpoint(run, "hub"))
        settings = RecordingsConfig(folder=folder, side=320, **config)
        self.recorder = Recorder(self._worker, run, RecorderJob(settings, folder, SYSTEM))
        self._reader = self._worker.context.socket(zmq.PUSH)
        self._reader.setsockopt(zmq.LINGER, 0)
        self._reader.connect(endpoint(run, "previews-recorder"))
        self._wants = self._worker.context.socket(zmq.SUB)
        self._wants.subscribe(b"")
        self._wants.connect(endpoint(run, "wants-recorder"))
        self._n = itertools.count()
        self.is_finished = False
        self.wait(self._is_wanted)

    def close(self) -> None:
        self.finish()
        for socket in (self._hub, self._reader, self._wants):
            socket.close()
        self._worker.context.destroy(linger=0)

    def finish(self) -> None:
        """Let the recorder end, if it has not."""
        if not self.is_finished:
            self.recorder.close()
        self.is_finished = True

    def wait(self, done: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + DEADLINE
        while not (found := done()):
            assert time.monotonic() < deadline, self.report
            self.recorder.turn()
            time.sleep(0.002)
        return found

    def is_idle(self) -> bool:
        return not self.recorder._open

    @property
    def report(self) -> dict[str, Any]:
        return dict(self.recorder._report())

    def _is_wanted(self) -> bool:
        status = RunStatus(
            system_id=SYSTEM,
            wall_time=0.0,
            uptime=0.0,
            model=MODEL,
            budget=2.0,
            latency="normal",
            look_ahead=0.7,
            sources={"stage": "live"},
        )
        self._publish(STATUS_ROOT, status.model_dump_json(by_alias=True))
        if not self._wants.poll(0):
            return False
        self.said = self._wants.recv_json()
        return bool(self.said)

    def _publish(self, topic: str, body: str) -> None:
        self._hub.send_multipart([topic.encode(), b"{}", body.encode()])

    def show(self, first: int, last: int) -> None:
        """Let the reader send the pictures of ticks; each shows its number."""
        for tick in range(first, last):
            image = np.ascontiguousarray(self._media.bars(tick, 320, 180))
            data = {"name": "stage", "time": tick_time(tick), "captured": time.monotonic()}
            jpeg = np.frombuffer(encode_jpeg(image), np.uint8)
            send(self._reader, Message("preview", 1, tick, data, (jpeg,)))
        self.wait(lambda: self.recorder._films["stage"].newest >= tick_time(last - 1))

    def hear(self, first: int, last: int) -> None:
        """Let the reader send the sound of ticks."""
        for tick in range(first, last):
            data = {"name": "stage", "captured": time.monotonic()}
            waveform = np.full(TICK_SAMPLES, 0.25, np.float32)
            send(self._reader, Message("sound", 1, tick * TICK_SAMPLES, data, (waveform,)))
        self.wait(lambda: self.recorder._films["stage"].has_sound)

    def say(self, kind: Any, step: int, score: float = 0.8, *, begin: int = 0, **more: Any) -> None:
        """Publish a message of the event that began with step `begin`."""
        event = Event(
            type=kind,
            id=more.pop("id", f"stage.{SYSTEM}.{begin}"),
            source="stage",
            label="drum",
            score=score,
            top_score=score,
            start_time=step_time(begin),
            end_time=step_time(step) + STEP / 2 if kind == "end" else None,
            time=step_time(step),
            wall_time=time.time(),
            step=step,
            seq=next(self._n),
            system_id=SYSTEM,
            latency_ms=0.0,
            model=MODEL,
            **more,
        )
        self._publish(f"{TOPIC_ROOT}stage/drum/", event.model_dump_json(by_alias=True))
        self.wait(lambda: self.recorder._seq.get("stage") == event.seq)

    def path(self, kind: Any, begin: int = 0) -> Path | None:
        return find(self.folder, f"stage.{SYSTEM}.{begin}", kind)


@pytest.fixture
def make_stage(tmp_path: Path, media: Any) -> Iterator[Callable[..., Stage]]:
    stages: list[Stage] = []

    def make(**config: Any) -> Stage:
        stages.append(Stage(tmp_path / "kept", media, **config))
        return stages[-1]

    yield make
    for stage in stages:
        stage.close()


def test_a_clip_goes_from_before_the_event_to_after_its_end(
    make_stage: Callable[..., Stage], media: Any
) -> None:
    stage = make_stage(clips=True, before=1.024, after=0.512)
    stage.show(0, 60)
    stage.say("new", 7, begin=6)
    stage.say("update", 8, begin=6)
    stage.say("end", 8, begin=6)
    stage.wait(stage.is_idle)
    path = stage.path("clip", 6)
    assert path is not None
    # From 3.072 - 1.024 s to 4.352 + 0.512 s; ticks are 0.128 s.
    assert numbers(path, media) == list(range(16, 39))


def test_a_clip_has_the_pictures_that_came_before_and_while_and_after_its_messages(
    make_stage: Callable[..., Stage], media: Any
) -> None:
    stage = make_stage(clips=True, before=1.024, after=1.024)
    for step in range(2, 9):
        stage.show(4 * step - 8, 4 * step - 4)
        if step >= 5:
            stage.say("new" if step == 5 else "update", step, begin=4)
    stage.show(28, 34)
    stage.say("end", 8, begin=4)
    assert stage.path("clip", 4) is None
    stage.show(34, 60)
    stage.wait(stage.is_idle)
    path = stage.path("clip", 4)
    assert path is not None
    assert numbers(path, media) == list(range(8, 43))


def test_a_long_event_has_a_clip_of_its_beginning_while_it_goes_on(
    make_stage: Callable[..., Stage], media: Any
) -> None:
    stage = make_stage(clips=True, before=0, longest=1)
    stage.show(0, 40)
    stage.say("new", 3, begin=2)
    stage.say("update", 6, begin=2)
    path = stage.wait(lambda: stage.path("clip", 2))
    assert numbers(path, media) == list(range(8, 16))
    assert not stage.is_idle()


def test_events_at_the_same_time_have_clips_of_their_own(
    make_stage: Callable[..., Stage], media: Any
) -> None:
    stage = make_stage(clips=True, before=0, after=0)
    stage.show(0, 60)
    for begin in (2, 3, 4):
        stage.say("new", begin + 1, begin=begin)
    for begin in (2, 3, 4):
        stage.say("end", begin + 4, begin=begin)
    stage.wait(stage.is_idle)
    first = [numbers(stage.path("clip", begin) or Path(), media)[0] for begin in (2, 3, 4)]
    assert first == [8, 12, 16]


def test_what_is_open_at_the_end_of_the_run_is_completed(
    make_stage: Callable[..., Stage], media: Any
) -> None:
    stage = make_stage(clips=True, before=0)
    stage.show(0, 20)
    stage.say("new", 3, begin=2)
    began = time.monotonic()
    stage.finish()
    assert time.monotonic() - began < 2.0
    assert numbers(stage.path("clip", 2) or Path(), media) == list(range(8, 20))
    assert stage.path("snapshot", 2) is not None
    assert list((stage.folder / UNFINISHED).iterdir()) == []


def test_a_clip_of_a_source_that_is_lost_does_not_wait_for_ever(
    make_stage: Callable[..., Stage], media: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "LATE", 0.2)
    stage = make_stage(clips=True, before=0, after=0.1)
    stage.show(0, 14)
    stage.say("new", 3, begin=2)
    stage.say("end", 3, begin=2, end_reason="source_lost")
    path = stage.wait(lambda: stage.path("clip", 2))
    assert numbers(path, media) == list(range(8, 14))


def test_a_snapshot_shows_the_moment_of_the_best_score(
    make_stage: Callable[..., Stage], media: Any
) -> None:
    stage = make_stage()
    stage.show(0, 60)
    shown = []
    for step, score in ((3, 0.6), (5, 0.9), (7, 0.7)):
        stage.say("new" if step == 3 else "update", step, score, begin=2)
        stage.wait(lambda: stage.path("snapshot", 2))
        stage.wait(lambda: not any(w.is_busy or w.shot for w in stage.recorder._open.values()))
        shown.append(media.number(cv2.imread(str(stage.path("snapshot", 2)))))
    assert shown == [12, 20, 20]
    assert stage.path("clip", 2) is None


def test_a_snapshot_waits_for_its_picture(make_stage: Callable[..., Stage], media: Any) -> None:
    stage = make_stage()
    stage.show(0, 10)
    stage.say("new", 3, begin=2)
    stage.show(10, 14)
    path = stage.wait(lambda: stage.path("snapshot", 2))
    assert media.number(cv2.imread(str(path))) == 12


def test_the_box_and_the_name_are_drawn_into_a_snapshot(media: Any) -> None:
    event = Event(
        type="new",
        id="a.b.1",
        source="a",
        label="drum",
        score=0.8,
        top_score=0.8,
        start_time=0,
        time=0,
        wall_time=0,
        step=0,
        seq=0,
        system_id="b",
        point=(0.5, 0.5),
        box=(0.25, 0.25, 0.75, 0.75),
        model=MODEL,
    )
    plain = np.full((361, 641, 3), 90, np.uint8)
    image = cv2.imdecode(
        np.frombuffer(draw_snapshot(encode_jpeg(plain), event, 320), np.uint8), cv2.IMREAD_COLOR
    )
    assert image is not None
    assert image.shape == (180, 320, 3)
    changed = np.abs(image.astype(int) - 90).max(axis=2) > 40
    ys, xs = np.nonzero(changed)
    assert (xs.min() / 320, xs.max() / 320) == pytest.approx((0.25, 0.75), abs=0.02)
    assert ys.max() / 180 == pytest.approx(0.75, abs=0.02)
    assert ys.min() / 180 < 0.22  # the tag above the box
    assert changed[90, 160]  # the point
    assert not changed[60, 130]


def test_sound_is_neither_asked_for_nor_kept_by_default(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(clips=True, before=0, after=0)
    assert stage.said == {"stage": {"side": 320, "sound": False}}
    stage.hear(0, 30)
    stage.show(0, 30)
    stage.say("new", 3, begin=2)
    stage.say("end", 3, begin=2)
    stage.wait(stage.is_idle)
    with av.open(str(stage.path("clip", 2))) as clip:
        assert [stream.type for stream in clip.streams] == ["video"]


def test_sound_is_kept_where_it_is_asked_for(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(clips=True, sound=True, before=0, after=0)
    assert stage.said == {"stage": {"side": 320, "sound": True}}
    stage.hear(0, 40)
    stage.show(0, 40)
    stage.say("new", 3, begin=2)
    stage.say("end", 5, begin=2)
    stage.wait(stage.is_idle)
    with av.open(str(stage.path("clip", 2))) as clip:
        assert [stream.type for stream in clip.streams] == ["video", "audio"]
        samples = np.concatenate([f.to_ndarray()[0] for f in clip.decode(audio=0)])
    # Steps 2 to 5 and a half: 3.5 steps of sound, to whole ticks and frames of AAC.
    assert len(samples) / SAMPLE_RATE == pytest.approx(3.5 * STEP, abs=0.2)


def test_an_event_that_is_told_again_is_recorded_once(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage()
    stage.show(0, 30)
    stage.say("new", 3, begin=2)
    stage.say("end", 3, begin=2)
    stage.wait(stage.is_idle)
    stage._n = itertools.count(0)
    stage._publish(f"{TOPIC_ROOT}stage/drum/", "{}")  # and nonsense does no harm
    path = stage.path("snapshot", 2)
    assert path is not None
    path.unlink()
    stage.recorder._seq["stage"] = 5
    stage._n = itertools.count(6)
    stage.say("end", 3, begin=2)
    assert stage.is_idle()


def test_an_id_that_leads_elsewhere_is_not_recorded(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage()
    stage.show(0, 30)
    stage.say("new", 3, begin=2, id="../../stage.1a.1")
    assert stage.is_idle()


def test_a_disk_that_is_full_is_said_once_and_tried_again(
    make_stage: Callable[..., Stage],
    media: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(recorder, "RETRY", 0.05)
    stage = make_stage(clips=True, before=0, after=0)
    n_tries = itertools.count()

    def fail(*_: object) -> None:
        next(n_tries)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fail)
        stage.show(0, 30)
        stage.say("new", 3, begin=2)
        stage.say("end", 5, begin=2)
        stage.wait(lambda: next(n_tries) > 3)
        assert "No space left on device" in stage.report["error"]
    stage.wait(stage.is_idle)
    assert stage.report["error"] is None
    assert numbers(stage.path("clip", 2) or Path(), media) == list(range(8, 23))
    assert stage.path("snapshot", 2) is not None
    assert sum("No space left" in record.message for record in caplog.records) == 1


def test_it_reports_what_there_is(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(clips=True, before=0, after=0)
    stage.show(0, 30)
    stage.say("new", 3, begin=2)
    stage.say("end", 3, begin=2)
    stage.wait(stage.is_idle)
    sizes = [p.stat().st_size for p in stage.folder.glob("stage/*/*")]
    assert stage.report == {"snapshots": 1, "clips": 1, "bytes": sum(sizes), "error": None}


def test_a_film_forgets_the_oldest_when_it_is_too_long() -> None:
    film = Film(max_bytes=1000)
    film.add(Preview("stage", k, tick_time(k), 0.0, 1, bytes(100)) for k in range(30))
    assert film.n_bytes == 1000
    assert [p.tick for p in film.pictures(-1.0, 99.0)] == list(range(20, 30))
    film.add_sound(
        Heard("stage", k * TICK_SAMPLES, 0.0, 1, np.zeros(20, np.float32)) for k in range(99)
    )
    assert film.n_bytes <= 1000


@pytest.mark.live
def test_a_real_run_records_who_plays(live: Any, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    url = "bandstand://?seed=3&level=easy&labels=drum&size=320x180&length=8"
    config = {
        "sources": {"stage": {"url": url}},
        "recordings": {"clips": True, "before": 1, "after": 1, "folder": str(folder)},
    }
    with live.RunningProgram(config, tmp_path) as run:
        end = run.wait(lambda: [e for e in run.events if e["type"] == "end"])[0]
        run.wait(lambda: find(folder, end["id"], "clip"), 10.0)
        run.stop()
    path, picture = find(folder, end["id"], "clip"), find(folder, end["id"], "snapshot")
    image = cv2.imread(str(picture))
    assert image is not None
    assert image.shape == (180, 320, 3)
    with av.open(str(path)) as clip:
        assert [stream.type for stream in clip.streams] == ["video"]
        times = [float(frame.time or 0.0) for frame in clip.decode(video=0)]
    length = end["end_time"] + 1 - max(0, end["start_time"] - 1)
    assert length - 2 < times[-1] < length + 0.5  # the first pictures are made once they are wanted
    assert np.diff(times) == pytest.approx(np.full(len(times) - 1, tick_time(1)))
    assert list((folder / UNFINISHED).glob("*/*")) == []

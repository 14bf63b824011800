"""Previews: made only while they are wanted, never in the way, and right."""

import itertools
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import zmq

from playspot.stream import previews, upright
from playspot.stream.config import SourceConfig
from playspot.stream.config_model import MAX_SIDE
from playspot.stream.live import Opened
from playspot.stream.live_reader import LiveSender, ReaderJob
from playspot.stream.live_session import LiveSessions
from playspot.stream.media import AudioChunk, GreyFrame, Picture, SourceInfo
from playspot.stream.paced import PacedFile
from playspot.stream.pair import PairSource
from playspot.stream.previews import Heard, Preview, PreviewInlet, PreviewSender
from playspot.stream.sockets import endpoint, new_run, pull
from playspot.stream.sources import FileSource
from playspot.stream.timeline import tick_time
from playspot.stream.worker import Worker
from playspot.training.band import parse_options
from playspot.training.bandstand_live import BandstandLive

DEADLINE = 10.0  # s


def image_of(jpeg: bytes | None) -> Any:
    assert jpeg is not None
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


def wait(done: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + DEADLINE
    while not (found := done()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return found


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    with zmq.Context() as made:
        yield made


@pytest.fixture
def ends(
    context: "zmq.Context[zmq.Socket[bytes]]", monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[PreviewSender, PreviewInlet]]:
    """Return the sender of the source `stage` and an inlet of the web process."""
    monkeypatch.setattr(previews, "LOOK_INTERVAL", 0.0)
    monkeypatch.setattr(previews, "WANT_INTERVAL", 0.05)
    monkeypatch.setattr(previews, "WANT_HOLDS", 0.5)
    run = new_run()
    inlet, sender = PreviewInlet(context, run, "web"), PreviewSender(context, run, "stage")
    yield sender, inlet
    sender.close()
    inlet.close()


def is_wanted(sender: PreviewSender, inlet: PreviewInlet, side: int) -> bool:
    inlet.turn()
    sender.look()
    return sender.side == side


def test_nothing_is_converted_while_nobody_wants_it(
    make_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upright, "encode_jpeg", None)  # whoever calls it fails
    with FileSource(make_clip(duration=1.0)) as source:
        assert {item.preview for item in source if isinstance(item, GreyFrame)} == {None}


def test_each_tick_has_its_own_picture(make_clip: Callable[..., Path], media: Any) -> None:
    with FileSource(make_clip(duration=2.0, size=(320, 180), image=media.bars)) as source:
        source.preview_side = 200
        greys = [item for item in source if isinstance(item, GreyFrame)]
    shown = [image_of(grey.preview) for grey in greys]
    assert shown[0].shape == (112, 200, 3)
    assert [media.number(i) for i in shown] == [media.number(grey.image) for grey in greys]


def test_colours_are_in_the_right_order(make_clip: Callable[..., Path]) -> None:
    def red(index: int, width: int, height: int) -> Any:
        return np.full((height, width, 3), (200, 30, 40), np.uint8)

    with FileSource(make_clip(duration=0.5, image=red, sample_rate=None)) as source:
        source.preview_side = 64
        first = next(item for item in source if isinstance(item, GreyFrame))
    blue, _, reddest = image_of(first.preview)[10, 10].tolist()
    assert reddest > 150
    assert blue < 90


def test_a_preview_is_upright_and_never_enlarged(make_clip: Callable[..., Path]) -> None:
    clip = make_clip(duration=0.5, size=(320, 180), rotation=90, sample_rate=None)
    with FileSource(clip) as source:
        source.preview_side = 1920
        first = next(item for item in source if isinstance(item, GreyFrame))
    assert image_of(first.preview).shape == (320, 180, 3)


def without_previews(items: list[Any]) -> list[Any]:
    return [
        (type(i).__name__, i.tick, i.image.tobytes())
        if isinstance(i, GreyFrame)
        else (type(i).__name__, i.step, i.image.tobytes())
        if isinstance(i, Picture)
        else (type(i).__name__, i.start, i.waveform.tobytes(), i.missing)
        if isinstance(i, AudioChunk)
        else i
        for i in items
    ]


def test_the_items_are_the_same_with_and_without_previews(make_clip: Callable[..., Path]) -> None:
    clip, read = make_clip(duration=2.0, size=(320, 180)), []
    for side in (0, 320):
        with FileSource(clip) as source:
            source.preview_side = side
            read.append(list(source))
    assert without_previews(read[0]) == without_previews(read[1])


def test_a_played_file_begins_and_stops_to_make_previews_at_once(
    make_clip: Callable[..., Path],
) -> None:
    source, made = PacedFile(make_clip(duration=1.2), name="stage"), {}
    for item in source:
        if isinstance(item, GreyFrame):
            made[item.tick] = item.preview is not None
            source.preview_side = 64 if item.tick in (2, 3) else 0
    assert 1 <= sum(made.values()) <= 4
    assert not made[0]
    assert not made[max(made)]


def test_the_bandstand_makes_previews_without_changing_its_items() -> None:
    read = []
    for side in (0, 128):
        band = BandstandLive(parse_options("bandstand://?seed=3&length=2"), name="stage")
        band.preview_side = side
        read.append(list(itertools.islice(band.items(), 12)))
        band.close()
    assert without_previews(read[0]) == without_previews(read[1])
    grey = next(item for item in read[1] if isinstance(item, GreyFrame))
    assert image_of(grey.preview).shape == (72, 128, 3)


def test_a_client_gets_what_it_wants(ends: tuple[PreviewSender, PreviewInlet]) -> None:
    sender, inlet = ends
    inlet.want({"stage": 640, "hall": 320})
    wait(lambda: is_wanted(sender, inlet, 640))

    def ask() -> list[Preview]:
        sender.send_picture(7, 40, 5.12, 99.5, b"jpeg")  # until the connection stands
        return inlet.turn()

    assert wait(ask)[0] == Preview("stage", 40, 5.12, 99.5, 7, b"jpeg")


def test_nobody_is_asked_any_more_once_a_client_is_gone(
    ends: tuple[PreviewSender, PreviewInlet],
) -> None:
    sender, inlet = ends
    inlet.want({"stage": 640})
    wait(lambda: is_wanted(sender, inlet, 640))
    inlet.close()
    inlet = PreviewInlet(sender._context, new_run(), "web")  # another run's says nothing here
    wait(lambda: is_wanted(sender, inlet, 0))
    inlet.close()


def test_a_client_that_wants_nothing_more_is_heard_at_once(
    ends: tuple[PreviewSender, PreviewInlet], monkeypatch: pytest.MonkeyPatch
) -> None:
    sender, inlet = ends
    monkeypatch.setattr(previews, "WANT_HOLDS", 60.0)
    inlet.want({"stage": 640})
    wait(lambda: is_wanted(sender, inlet, 640))
    inlet.want({})
    wait(lambda: is_wanted(sender, inlet, 0))


def test_the_largest_side_of_two_clients_counts(
    ends: tuple[PreviewSender, PreviewInlet], context: "zmq.Context[zmq.Socket[bytes]]"
) -> None:
    sender, inlet = ends
    run = sender._run
    recorder = PreviewInlet(context, run, "recorder")
    inlet.want({"stage": 320})
    recorder.want({"stage": 480})
    wait(lambda: recorder.turn() == [] and is_wanted(sender, inlet, 480))
    recorder.close()


def test_sound_comes_only_if_it_is_asked_for(ends: tuple[PreviewSender, PreviewInlet]) -> None:
    sender, inlet = ends
    tone = np.linspace(-1, 1, 100, dtype=np.float32)
    inlet.want({"stage": 64})
    wait(lambda: is_wanted(sender, inlet, 64))
    assert not sender.is_sound_wanted
    inlet.want({"stage": 64}, sound=True)
    wait(lambda: is_wanted(sender, inlet, 64) and sender.is_sound_wanted)

    def ask() -> list[Heard]:
        sender.send_sound(7, 2048, 99.5, tone)
        assert inlet.turn() == []
        return inlet.take_sound()

    heard = wait(ask)[0]
    assert heard[:4] == ("stage", 2048, 99.5, 7)
    assert np.array_equal(heard.waveform, tone)


def test_who_does_not_take_pictures_holds_up_nobody(
    ends: tuple[PreviewSender, PreviewInlet],
) -> None:
    sender, inlet = ends
    inlet.want({"stage": 640})
    wait(lambda: is_wanted(sender, inlet, 640))
    began = time.monotonic()
    for tick in range(500):
        sender.send_picture(7, tick, tick_time(tick), 0.0, bytes(100_000))
    assert time.monotonic() - began < 2.0
    assert len(inlet.turn()) < 100


@pytest.mark.parametrize("word", [b"", b"[]", b"\xff", b'{"stage": 3}', b'{"stage": {"side": []}}'])
def test_nonsense_is_no_wish(
    context: "zmq.Context[zmq.Socket[bytes]]", monkeypatch: pytest.MonkeyPatch, word: bytes
) -> None:
    monkeypatch.setattr(previews, "LOOK_INTERVAL", 0.0)
    run = new_run()
    client = context.socket(zmq.PUB)
    client.setsockopt(zmq.LINGER, 0)
    client.bind(endpoint(run, "wants-web"))
    sender = PreviewSender(context, run, "stage")

    def is_heard() -> bool:
        client.send(word)
        client.send(json.dumps({"stage": {"side": 100_000}}).encode())
        sender.look()
        return sender.side == MAX_SIDE

    wait(is_heard)
    sender.close()
    client.close()


@pytest.mark.skipif(os.name == "nt", reason="needs abstract sockets")
def test_the_words_of_another_user_are_not_heard(
    ends: tuple[PreviewSender, PreviewInlet], monkeypatch: pytest.MonkeyPatch
) -> None:
    sender, inlet = ends
    inlet.want({"stage": 640})
    wait(lambda: is_wanted(sender, inlet, 640))
    own = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: own + 1)
    wait(lambda: is_wanted(sender, inlet, 0))


class Foreign:
    """A source that knows nothing of previews."""

    def captured(self, time: float) -> float:
        return 1000.0 + time


def test_a_source_that_makes_no_previews_shows_the_pictures_of_its_steps(
    context: "zmq.Context[zmq.Socket[bytes]]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previews, "LOOK_INTERVAL", 0.0)
    run = new_run()
    inlet = PreviewInlet(context, run, "web", queue=100)
    worker = Worker(run, "reader stage", os.getppid())
    takers = [pull(context, run, name, queue=100) for name in ("grey", "pictures", "pcm")]
    job = ReaderJob("stage", SourceConfig(url="x://"), 1, None, 10, 256, 1)
    sender: Any = LiveSender(worker, run, job, Foreign())  # type: ignore[arg-type]
    inlet.want({"stage": 64})
    red = np.full((72, 128, 3), (200, 0, 0), np.uint8)
    sender.send(Opened(SourceInfo("stage", True, False, 128, 72)))
    step = 0

    def ask() -> list[Preview]:
        nonlocal step
        sender.look()
        sender.send(Picture(step := step + 1, red))
        return inlet.turn()

    [shown, *_] = wait(ask)
    image = image_of(shown.jpeg)
    assert image.shape == (36, 64, 3)
    assert image[5, 5].tolist() == pytest.approx([0, 0, 200], abs=12)
    assert shown.tick % 4 == 0
    assert shown.tick > 40  # after the ten steps that the source has had
    assert shown.time == tick_time(shown.tick)
    assert shown.captured == 1000.0 + tick_time(shown.tick - 40)
    assert "full" not in str(worker.measures.to_json())
    for socket in takers:
        socket.close()
    inlet.close()
    sender._previews.close()
    worker.close()


def test_a_network_stream_gives_the_same_with_and_without_previews(
    make_clip: Callable[..., Path],
) -> None:
    read = []
    for side in (0, 100):
        with av.open(str(make_clip(duration=2.0, size=(160, 90)))) as container:
            video, audio = container.streams.video[0], container.streams.audio[0]
            sessions = LiveSessions(
                "stage",
                "clip",
                video,
                audio,
                picture_side=256,
                picture_multiple=1,
                av_offset=0.0,
                dropped=Counter(),
            )
            sessions.preview_side = side
            items: list[Any] = []
            for packet in container.demux(video, audio):
                if packet.size:
                    items += sessions.push(packet, 0.0)
                    items += sessions.look(0.0, is_drained=True)
            read.append([*items, *sessions.flush()])
    assert without_previews(read[0]) == without_previews(read[1])
    shapes = {image_of(i.preview).shape for i in read[1] if isinstance(i, GreyFrame)}
    assert shapes == {(56, 100, 3)}


def test_a_pair_asks_its_camera() -> None:
    camera = PacedFile("camera.mp4", name="camera")
    pair = PairSource(camera, PacedFile("sound.wav", name="sound"), name="stage")
    pair.preview_side = 320
    assert (camera.preview_side, pair.preview_side) == (320, 320)

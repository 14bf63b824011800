import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest
import zmq

from playspot.engines.settings import Decoding
from playspot.stream.addresses import EndpointError, check_endpoint
from playspot.stream.detections import Region
from playspot.stream.event_log import EventLog
from playspot.stream.event_ring import SentEvent
from playspot.stream.events import Detection, Event, ModelInfo
from playspot.stream.publish import Publisher
from playspot.stream.sockets import endpoint, new_run, pull, push
from playspot.stream.subscriber import listen
from playspot.stream.topics import topic
from playspot.stream.tracks import Tracker

pytestmark = pytest.mark.live

RUN = "run1"
MODEL = ModelInfo(name="test", hash="0" * 12, engine="replay", precision="fp32")


def events(source: str = "stage", label: str = "violin", n_steps: int = 3) -> list[Event]:
    """Return the events of one player who plays `n_steps` steps."""
    tracker, log = Tracker(Decoding(min_duration=0)), EventLog(source, MODEL, RUN)
    changes = []
    for step in range(n_steps):
        detection = Detection(label=label, score=0.9, point=(0.5, 0.5), box=(0.4, 0.4, 0.6, 0.6))
        region = Region(label, 0.9, detection.point, detection.box, (0, 0))
        changes += tracker.update(step, [(region, detection)])
    changes += tracker.flush(n_steps - 1, "end_of_stream")
    return [log.event(change) for change in changes]


def one_after_the_other(*parts: list[Event]) -> list[Event]:
    """Return the events of several players of one source."""
    both = [(n, event) for n, part in enumerate(parts) for event in part]
    return [
        event.model_copy(update={"seq": seq, "id": f"stage.{RUN}.{n}"})
        for seq, (n, event) in enumerate(both)
    ]


def test_seq_is_gapless_and_the_id_is_one() -> None:
    sequence = events()
    assert [event.type for event in sequence] == ["new", "update", "update", "end"]
    assert [event.seq for event in sequence] == [0, 1, 2, 3]
    assert len({event.id for event in sequence}) == 1


def test_an_event_survives_the_wire_and_names_its_schema() -> None:
    event = events()[0]
    body = event.model_dump_json(by_alias=True)
    assert json.loads(body)["schema"] == "playspot/event/1"
    assert Event.model_validate_json(body) == event


def test_a_topic_ends_with_a_slash_and_names_hold_none() -> None:
    assert topic("a/b", "violin") == "playspot/v1/a_b/violin/"


def collect(endpoint: str, got: list[Event], **options: object) -> threading.Thread:
    def hear() -> None:
        for event in listen(endpoint, **({"timeout": 1.0} | options)):  # type: ignore[arg-type]
            got.append(event)

    thread = threading.Thread(target=hear)
    thread.start()
    return thread


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def finish(thread: threading.Thread, publisher: Publisher) -> None:
    """Let a listener end, and the publisher go on meanwhile."""
    deadline = time.monotonic() + 10
    while thread.is_alive() and time.monotonic() < deadline:
        publisher.turn()
        thread.join(0.01)
    publisher.close()


def publish_to_listener(sent: list[Event], **options: object) -> list[Event]:
    """Return what `listen(**options)` yields of `sent`, over a real socket."""
    got: list[Event] = []
    with zmq.Context() as context:
        publisher = publisher_at(context)
        thread = collect(publisher.endpoint, got, **options)
        assert publisher.sockets[0].poll(5000), "the listener never subscribed"
        threading.Event().wait(0.05)  # further subscriptions of the same listener
        publisher.greet()
        for event in sent:
            publisher.publish(event)
        finish(thread, publisher)
    return got


def publisher_at(
    context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str = "tcp://127.0.0.1:0"
) -> Publisher:
    return Publisher(context, endpoint, system_id=RUN)


def in_place_of(first: Publisher, context: "zmq.Context[zmq.Socket[bytes]]") -> Publisher:
    """Return a publisher at the endpoint of one that was closed: ZeroMQ needs a moment for that."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return publisher_at(context, first.endpoint)
        except EndpointError:
            assert time.monotonic() < deadline


def test_a_listener_gets_every_event_in_order() -> None:
    sent = events()
    assert publish_to_listener(sent) == sent


def test_a_listener_gets_only_the_labels_it_wants() -> None:
    sent = one_after_the_other(events(label="violin"), events(label="drum"))
    got = publish_to_listener(sent, labels=["drum"])
    assert {event.label for event in got} == {"drum"}


def test_a_source_is_not_matched_by_the_beginning_of_its_name() -> None:
    sent = events(source="cam1") + events(source="cam10")
    got = publish_to_listener(sent, sources=["cam1"])
    assert {event.source for event in got} == {"cam1"}


def test_a_late_listener_gets_the_open_events_first() -> None:
    got: list[Event] = []
    sent = events()
    with zmq.Context() as context:
        publisher = publisher_at(context)
        publisher.publish(sent[0])
        publisher.publish(sent[1])
        thread = collect(publisher.endpoint, got)
        assert publisher.sockets[0].poll(5000)
        publisher.greet()
        publisher.publish(sent[2])
        publisher.publish(sent[3])
        finish(thread, publisher)
    assert got == sent[1:]


def test_a_late_listener_gets_all_open_events_whatever_their_order() -> None:
    both = one_after_the_other(events(label="violin"), events(label="drum"))
    old, new = both[2], both[4]
    got: list[Event] = []
    with zmq.Context() as context:
        publisher = publisher_at(context)
        for event in [*both[:3], new]:
            publisher.publish(event)
        thread = collect(publisher.endpoint, got)
        assert publisher.sockets[0].poll(5000)
        publisher.greet()
        finish(thread, publisher)
    assert got == [old, new]


def test_events_that_never_come_are_noticed(caplog: pytest.LogCaptureFixture) -> None:
    sent = events(n_steps=6)
    gaps: list[tuple[str, int, int]] = []
    got = publish_to_listener(
        [*sent[:2], *sent[4:]], on_gap=lambda *gap: gaps.append(gap), timeout=0.5
    )
    assert got == [*sent[:2], *sent[4:]]
    assert gaps == [("stage", 2, 2)]
    publish_to_listener([*sent[:2], *sent[4:]], timeout=0.5)
    assert "stage: 2 events from seq 2 on did not arrive" in caplog.text


def test_labels_that_are_not_subscribed_to_leave_no_gap() -> None:
    sent = one_after_the_other(events(label="drum"), events(label="violin"))
    gaps: list[object] = []
    got = publish_to_listener(
        sent, sources=["stage"], labels=["violin"], on_gap=lambda *gap: gaps.append(gap)
    )
    assert [event.seq for event in got] == [4, 5, 6, 7]
    assert gaps == []


def test_a_publisher_that_takes_over_repeats_the_last_events_to_who_comes_back() -> None:
    sent = events(n_steps=6)
    got: list[Event] = []
    with zmq.Context() as context:
        first = publisher_at(context)
        thread = collect(first.endpoint, got)
        assert first.sockets[0].poll(5000)
        for event in sent[:2]:
            first.publish(event)
        wait_for(lambda: len(got) == 2)
        first.close()
        second = in_place_of(first, context)
        second.resume([sent[3]], map(SentEvent.of, sent[:4]))  # 2 and 3 were kept, and not sent
        second.publish(sent[4])  # before anybody is back
        assert second.sockets[0].poll(5000)
        second.publish(sent[5])
        finish(thread, second)
    assert got == sent[:6]


def test_a_subscriber_that_was_killed_is_forgotten() -> None:
    code = (
        "import sys\nfrom playspot.stream.subscriber import steps\n"
        "for step in steps(sys.argv[1]): print(step)"
    )
    with zmq.Context() as context:
        publisher = publisher_at(context)
        with subprocess.Popen([sys.executable, "-c", code, publisher.endpoint]) as subscriber:

            def is_wanted() -> bool:
                publisher.greet()
                return publisher.is_wanted("playspot/steps/v1/", "stage")

            wait_for(is_wanted)
            subscriber.kill()
        wait_for(lambda: not is_wanted())
        publisher.close()


@pytest.mark.parametrize(
    ("endpoint", "match"),
    [
        ("tcp://0.0.0.0:7773", "not on loopback"),
        ("tcp://192.168.1.4:7773", "not on loopback"),
        ("tcp://*:7773", "is not tcp"),
        ("tcp://127.0.0.1", "is not tcp"),
        ("7773", "is not tcp"),
        ("ipc://", "is not tcp"),
        ("ipc:///tmp/video.mp4", "is not tcp"),
    ],
)
def test_an_endpoint_that_is_open_or_wrong_is_refused(endpoint: str, match: str) -> None:
    with pytest.raises(EndpointError, match=match):
        check_endpoint(endpoint)


def test_a_taken_port_is_an_error_or_another_port() -> None:
    with zmq.Context() as context:
        first = publisher_at(context)
        with pytest.raises(EndpointError, match="name another with --publish"):
            Publisher(context, first.endpoint)
        second = Publisher(context, first.endpoint, may_move=True)
        assert second.endpoint != first.endpoint
        first.close()
        second.close()


def test_a_nonsense_address_is_one_clear_line() -> None:
    with pytest.raises(EndpointError, match=r"cannot connect to 'nonsense'.*tcp://127"):
        list(listen("nonsense"))


@pytest.mark.skipif(os.name != "posix", reason="abstract names are Linux's")
def test_a_run_leaves_no_file() -> None:
    run = new_run()
    with zmq.Context() as context:
        inlet, outlet = pull(context, run, "pcm"), push(context, run, "pcm")
        outlet.send(b"x")
        assert inlet.poll(5000)
        with pytest.raises(zmq.ZMQError):
            pull(context, run, "pcm")  # a taken name is refused, not stolen
        assert "@" in endpoint(run, "pcm")
        inlet.close()
        outlet.close()

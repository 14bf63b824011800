"""Events and states at a real mosquitto, through all that can happen to it and to us."""

import contextlib
import itertools
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from playspot.stream import restarts
from playspot.stream.events import Event, ModelInfo
from playspot.stream.output_config import MqttConfig
from playspot.stream.sink import SinkError
from playspot.stream.status import RunStatus

pytest.importorskip("paho.mqtt", reason="needs paho-mqtt (pip install 'playspot[mqtt]')")
from playspot.stream import mqtt_connection, mqtt_sink
from playspot.stream.mqtt_sink import MqttSink

MODEL = ModelInfo(name="test", hash="0" * 12, engine="replay", precision="fp32")
RUN = "run1"
DEADLINE = 10.0
PREFIXES = (f"t{n}" for n in itertools.count())

Make = Callable[..., MqttSink]


def event(seq: int, kind: Any = "update", **fields: Any) -> Event:
    known = {"id": "a", "source": "stage", "label": "violin", "wall_time": time.time()}
    fixed = {"score": 0.9, "top_score": 0.9, "start_time": 0.0, "system_id": RUN, "model": MODEL}
    own = {"type": kind, "time": seq / 2, "step": seq, "seq": seq}
    return Event(**{**known, **fixed, **own, **fields})


def run(**sources: Any) -> RunStatus:
    return RunStatus(
        system_id=RUN,
        wall_time=0,
        uptime=1,
        model=MODEL,
        budget=2,
        latency="normal",
        look_ahead=0.7,
        sources=sources or {"stage": "live"},
        labels=("drum", "violin"),
    )


def persist(sink: MqttSink, events: Sequence[Event]) -> None:
    """Give events again and again until they are taken, as whoever reads the journal does."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        try:
            sink.deliver(events)
            return
        except SinkError:
            time.sleep(0.02)
    raise AssertionError("the events are never taken")


@pytest.fixture(scope="module")
def broker(mqtt: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return a mosquitto that all tests use that do it no harm."""
    with mqtt.Broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarts, "FIRST_DELAY", 0.05)
    monkeypatch.setattr(mqtt_connection, "LAST_RETRY", 0.2)


@pytest.fixture
def prefix() -> str:
    """Return a prefix of topics that no other test uses."""
    return next(PREFIXES)


@pytest.fixture
def make(prefix: str) -> Iterator[Make]:
    """Return what makes sinks, which are closed after the test."""
    with contextlib.ExitStack() as stack:

        def make(port: int, **options: Any) -> MqttSink:
            own = {"client_id": prefix, "topic_prefix": prefix, "discovery": False}
            sink = MqttSink(MqttConfig(port=port, **{**own, **options}), RUN)
            stack.callback(sink.close)
            return sink

        yield make


def seqs(listener: Any, topic: str) -> list[int]:
    return [json.loads(text)["seq"] for text in listener.texts(topic)]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_events_arrive_in_order(
    make: Make, broker: Any, mqtt: ModuleType, prefix: str, qos: int
) -> None:
    sink = make(broker.port, qos=qos)
    with mqtt.Listener(broker.port, f"{prefix}/#") as listener:
        sink.deliver([event(seq) for seq in range(250)])
        listener.wait(lambda: len(listener.texts(f"{prefix}/events")) == 250)
        assert seqs(listener, f"{prefix}/events") == list(range(250))


def test_an_event_is_the_message_of_the_wire(
    make: Make, broker: Any, mqtt: ModuleType, prefix: str
) -> None:
    sent = event(3, "new", zones=("left",), point=(0.25, 0.5))
    with mqtt.Listener(broker.port, f"{prefix}/events") as listener:
        make(broker.port).deliver([sent])
        listener.wait(lambda: listener.received)
    assert Event.model_validate_json(listener.received[0].text) == sent
    assert listener.received[0].expiry is None


def test_an_instrument_is_on_while_it_is_played(
    make: Make, broker: Any, mqtt: ModuleType, prefix: str
) -> None:
    sink = make(broker.port)
    sink.note(run())
    with mqtt.Listener(broker.port, f"{prefix}/#") as listener:
        sink.turn()
        listener.wait_for(f"{prefix}/stage/violin", "OFF")
        sink.deliver([event(0, "new", score=0.7), event(1, "new", id="b", score=0.8)])
        listener.wait_for(f"{prefix}/stage/violin", "ON")
        listener.wait_for(f"{prefix}/stage/violin/score", "0.800")
        sink.deliver([event(2, "end", id="b"), event(3, score=0.6)])
        listener.wait_for(f"{prefix}/stage/violin/score", "0.600")
        assert listener.last(f"{prefix}/stage/violin") == "ON"
        sink.deliver([event(4, "end")])
        listener.wait_for(f"{prefix}/stage/violin", "OFF")
        listener.wait_for(f"{prefix}/stage/violin/score", "0.000")
        assert listener.texts(f"{prefix}/stage/drum") == ["OFF"]
    with mqtt.Listener(broker.port, f"{prefix}/#") as late:
        late.wait_for(f"{prefix}/stage/violin", "OFF")
        assert late.received[0].is_retained


@pytest.mark.parametrize("old", [{"wall_time": 0.0}, {"system_id": "run0"}])
def test_events_of_long_ago_turn_nothing_on(
    make: Make, broker: Any, mqtt: ModuleType, prefix: str, old: dict[str, Any]
) -> None:
    sink = make(broker.port)
    sink.note(run())
    with mqtt.Listener(broker.port, f"{prefix}/#") as listener:
        sink.deliver([event(0, "new", **old)])
        listener.wait(lambda: listener.texts(f"{prefix}/stage/violin"))
        assert listener.texts(f"{prefix}/stage/violin") == ["OFF"]


def test_after_a_restart_what_is_still_played_stays_on(
    make: Make, broker: Any, mqtt: ModuleType, prefix: str
) -> None:
    first = make(broker.port)
    first.note(run())
    first.deliver([event(0, "new")])
    second = make(broker.port)
    second.note(run())
    with mqtt.Listener(broker.port, f"{prefix}/#") as listener:
        second.turn()
        second.deliver([event(1)])
        listener.wait_for(f"{prefix}/stage/violin/score", "0.900")
        assert set(listener.texts(f"{prefix}/stage/violin")) == {"ON"}


def test_after_a_restart_what_is_played_no_more_is_off(
    make: Make, broker: Any, mqtt: ModuleType, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt_sink, "CONFIRM_TIME", 0.0)
    with mqtt.Listener(broker.port, f"{prefix}/#") as listener:
        listener.publish(f"{prefix}/stage/violin", "ON", is_retained=True)
        sink = make(broker.port)
        sink.note(run())
        sink.turn()
        listener.wait_for(f"{prefix}/stage/violin", "OFF")


def test_the_end_that_a_killed_process_did_not_tell_turns_off_at_once(
    make: Make, broker: Any, mqtt: ModuleType, prefix: str
) -> None:
    with mqtt.Listener(broker.port, f"{prefix}/#") as listener:
        listener.publish(f"{prefix}/stage/violin", "ON", is_retained=True)
        sink = make(broker.port)
        sink.note(run())
        sink.turn()
        assert listener.last(f"{prefix}/stage/violin") == "ON"
        sink.deliver([event(5, "end")])
        listener.wait_for(f"{prefix}/stage/violin", "OFF")


def test_topics_of_a_source_that_is_removed_are_forgotten(
    make: Make, broker: Any, mqtt: ModuleType, prefix: str
) -> None:
    sink = make(broker.port)
    sink.note(run(stage="live", hall="live"))
    sink.turn()
    sink.note(run(stage="live"))
    sink.turn()
    sink.deliver([])
    with mqtt.Listener(broker.port, f"{prefix}/#") as listener:
        listener.wait(lambda: listener.texts(f"{prefix}/stage/violin/score"))
        assert not [message for message in listener.received if "/hall/" in message.topic]


def test_topics_of_a_source_that_was_removed_meanwhile_are_forgotten(
    make: Make, broker: Any, mqtt: ModuleType, prefix: str
) -> None:
    before = make(broker.port)
    before.note(run(stage="live", hall="live"))
    before.turn()
    before.close()
    with mqtt.Listener(broker.port, f"{prefix}/hall/#") as listener:
        sink = make(broker.port)
        sink.note(run(stage="live"))
        sink.turn()
        for topic in ("status", "drum", "drum/score", "violin", "violin/score"):
            listener.wait_for(f"{prefix}/hall/{topic}", "")


def test_the_run_and_its_sources_tell_how_they_are(
    make: Make, broker: Any, mqtt: ModuleType, prefix: str
) -> None:
    sink = make(broker.port)
    with mqtt.Listener(broker.port, f"{prefix}/#") as listener:
        sink.note(run(stage="live"))
        for _ in range(3):
            sink.turn()
        sink.note(run(stage="retrying"))
        sink.turn()
        listener.wait_for(f"{prefix}/stage/status", "retrying")
        listener.wait(lambda: len(listener.texts(f"{prefix}/stats")) == 2)
        told = [message for message in listener.received if message.topic == f"{prefix}/stats"]
        assert RunStatus.model_validate_json(told[-1].text) == run(stage="retrying")
        assert told[0].expiry == mqtt_sink.STATS_EXPIRY


def test_a_clean_end_is_told_from_a_lost_connection(
    make: Make, broker: Any, mqtt: ModuleType, prefix: str
) -> None:
    sink = make(broker.port)
    with mqtt.Listener(broker.port, f"{prefix}/available") as listener:
        sink.turn()
        listener.wait_for(f"{prefix}/available", "online")
        sink.close()
        listener.wait_for(f"{prefix}/available", "stopped")


def test_a_program_that_is_killed_leaves_its_last_will(
    broker: Any, mqtt: ModuleType, prefix: str
) -> None:
    program = (
        "import sys, time\n"
        "from playspot.stream.mqtt_sink import MqttSink\n"
        "from playspot.stream.output_config import MqttConfig\n"
        f"sink = MqttSink(MqttConfig(port={broker.port}, topic_prefix={prefix!r}), 'run1')\n"
        "while True: sink.turn(); time.sleep(0.05)\n"
    )
    with mqtt.Listener(broker.port, f"{prefix}/available") as listener:
        with subprocess.Popen([sys.executable, "-c", program]) as process:
            listener.wait_for(f"{prefix}/available", "online")
            process.send_signal(signal.SIGKILL)
        listener.wait_for(f"{prefix}/available", "offline")


def test_a_broker_that_is_killed_and_comes_back_misses_nothing(
    make: Make, mqtt: ModuleType, tmp_path: Path, prefix: str
) -> None:
    with mqtt.Broker(tmp_path) as broker:
        sink = make(broker.port)
        sink.note(run())
        sink.deliver([event(seq) for seq in range(50)])
        broker.kill()
        with pytest.raises(SinkError, match=f"127.0.0.1:{broker.port}"):
            sink.deliver([event(seq) for seq in range(50, 100)])
        broker.start()
        with mqtt.Listener(broker.port, f"{prefix}/#") as listener:
            persist(sink, [event(seq) for seq in range(50, 100)])
            persist(sink, [event(seq) for seq in range(100, 150)])
            listener.wait(lambda: 149 in seqs(listener, f"{prefix}/events"))
            listener.wait_for(f"{prefix}/available", "online")
            listener.wait_for(f"{prefix}/stage/violin", "ON")
        first_times = list(dict.fromkeys(seqs(listener, f"{prefix}/events")))
        assert first_times == list(range(50, 150))


def test_a_broker_that_restarts_while_events_flow_gets_all_in_order(
    make: Make, mqtt: ModuleType, tmp_path: Path, prefix: str
) -> None:
    topic = f"{prefix}/events"
    with (
        mqtt.Broker(tmp_path, "max_queued_messages 0", remembers=True) as broker,
        mqtt.Listener(broker.port, topic, client_id="keeper") as listener,
    ):
        sink = make(broker.port)

        def restart() -> None:
            listener.wait(lambda: len(listener.received) > 200)
            broker.stop()
            broker.start()

        operator = threading.Thread(target=restart)
        operator.start()
        for first in range(0, 1000, 100):
            persist(sink, [event(seq) for seq in range(first, first + 100)])
        operator.join()
        listener.wait(lambda: len(set(listener.texts(topic))) >= 1000)
        assert list(dict.fromkeys(seqs(listener, topic))) == list(range(1000))


def test_a_broker_that_hangs_gets_each_event_of_qos_2_once(
    make: Make, mqtt: ModuleType, tmp_path: Path, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt_connection, "ACK_TIME", 0.2)
    monkeypatch.setattr(mqtt_connection, "CONNECT_TIME", 0.3)
    with mqtt.Broker(tmp_path) as broker:
        sink = make(broker.port, qos=2)
        with mqtt.Listener(broker.port, f"{prefix}/events") as listener:
            sink.deliver([event(0)])
            broker.freeze(is_frozen=True)
            with pytest.raises(SinkError, match="acknowledges nothing"):
                sink.deliver([event(seq) for seq in range(1, 40)])
            said, deadline = "", time.monotonic() + DEADLINE
            while "does not answer" not in said and time.monotonic() < deadline:
                with pytest.raises(SinkError) as caught:
                    sink.deliver([event(seq) for seq in range(1, 40)])
                said = str(caught.value)
            assert "does not answer" in said
            broker.freeze(is_frozen=False)
            persist(sink, [event(seq) for seq in range(1, 40)])
            persist(sink, [event(40)])
            listener.wait(lambda: 40 in seqs(listener, f"{prefix}/events"))
        assert seqs(listener, f"{prefix}/events") == list(range(41))


def test_no_more_messages_are_on_their_way_than_the_broker_wants(
    make: Make, mqtt: ModuleType, tmp_path: Path, prefix: str
) -> None:
    """It would end the connection (receive maximum exceeded)."""
    with mqtt.Broker(tmp_path, "max_inflight_messages 2") as broker:
        sink = make(broker.port)
        with mqtt.Listener(broker.port, f"{prefix}/events") as listener:
            sink.deliver([event(seq) for seq in range(30)])
            listener.wait(lambda: len(listener.received) == 30)


def test_a_message_that_is_too_large_for_the_broker_is_named(
    make: Make, mqtt: ModuleType, tmp_path: Path
) -> None:
    said = r"takes messages of 400 bytes.*/events has \d+"
    with (
        mqtt.Broker(tmp_path, "max_packet_size 400") as broker,
        pytest.raises(SinkError, match=said),
    ):
        make(broker.port).deliver([event(0)])


def test_a_topic_that_the_broker_forbids_is_named(
    make: Make, mqtt: ModuleType, tmp_path: Path, prefix: str
) -> None:
    rules = tmp_path / "rules"
    rules.write_text(f"topic readwrite {prefix}/available\n")
    said = f"refuses {prefix}/events: Not authorized"
    with mqtt.Broker(tmp_path, f"acl_file {rules}") as broker, pytest.raises(SinkError, match=said):
        make(broker.port).deliver([event(0)])


@pytest.fixture(scope="module")
def secure(mqtt: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return a mosquitto with TLS and a password, and its authority's certificate."""
    folder = tmp_path_factory.mktemp("secure")
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    names = ["-nodes", "-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    try:
        subprocess.run([*new, *names, *files], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("needs the program openssl")
    lines = (f"certfile {folder / 'cert.pem'}", f"keyfile {folder / 'key.pem'}")
    with mqtt.Broker(folder, *lines, password="open sesame") as broker:
        broker.certificate = folder / "cert.pem"
        yield broker


def test_tls_and_a_password_open_a_broker(make: Make, secure: Any) -> None:
    own = {"tls": True, "certificate_authority": secure.certificate}
    sink = make(secure.port, user="stage", password="open sesame", **own)
    sink.deliver([event(seq) for seq in range(20)])


def test_a_wrong_password_is_said_but_not_told(make: Make, secure: Any) -> None:
    own = {"tls": True, "certificate_authority": secure.certificate}
    sink = make(secure.port, user="stage", password="sesame street", **own)
    with pytest.raises(SinkError, match=r"Not authorized.*user 'stage'.*correct") as caught:
        sink.turn()
    assert "sesame" not in str(caught.value)


@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning"
)  # paho leaves a socket whose handshake failed to the garbage collector
def test_a_certificate_that_nobody_vouches_for_is_refused(make: Make, secure: Any) -> None:
    with pytest.raises(SinkError, match="certificate"):
        make(secure.port, user="stage", password="open sesame", tls=True).turn()


def test_a_missing_authority_is_named(make: Make, secure: Any) -> None:
    sink = make(secure.port, tls=True, certificate_authority=Path("no.pem"))
    with pytest.raises(SinkError, match=r"no\.pem"):
        sink.turn()


def test_programs_with_the_same_client_id_are_noticed(make: Make, broker: Any, prefix: str) -> None:
    """Mosquitto does not say why it closes the connection of the first one."""
    sinks = [make(broker.port, client_id=f"{prefix}-same") for _ in range(2)]
    said = ""
    deadline = time.monotonic() + DEADLINE
    while "perhaps" not in said and time.monotonic() < deadline:
        for sink in sinks:
            try:
                sink.turn()
            except SinkError as error:
                said = str(error)
    assert f"perhaps others use the client id '{prefix}-same'; give each" in said


def test_a_broker_that_says_that_the_client_id_was_taken_over_is_left_alone(
    make: Make, answer: Callable[..., int]
) -> None:
    sink = make(answer(b"\x20\x03\x00\x00\x00" + b"\xe0\x02\x8e\x00"), client_id="mine")
    until = time.monotonic() + 0.2  # long enough for further attempts of any other kind
    while time.monotonic() < until:
        with pytest.raises(SinkError, match="has taken the client id 'mine'; give each"):
            sink.turn()


def test_where_nobody_listens_is_said(make: Make) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(SinkError, match=rf"127.0.0.1:{port} cannot be reached: .*refused"):
            make(port).turn()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a" * 200, "b c"])
def test_a_host_that_cannot_be_is_said(make: Make, host: str) -> None:
    with pytest.raises(SinkError, match="cannot be reached"):
        make(1883, host=host).turn()


@pytest.fixture
def answer() -> Iterator[Callable[[bytes], int]]:
    """Return what makes a server that answers anything with some bytes; it returns its port."""
    with contextlib.ExitStack() as stack:

        def make(content: bytes) -> int:
            server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            server.settimeout(DEADLINE)

            def serve() -> None:
                peer, _ = server.accept()
                with peer:
                    peer.recv(4096)
                    peer.sendall(content)
                    while peer.recv(4096):
                        pass

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            stack.callback(thread.join, DEADLINE)
            return int(server.getsockname()[1])

        yield make


@pytest.mark.parametrize(
    "content", [b"\x20\x02\x00\x01", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\x00", b""]
)
def test_what_speaks_no_mqtt_5_is_said(
    make: Make,
    answer: Callable[[bytes], int],
    content: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mqtt_connection, "CONNECT_TIME", 0.3)
    with pytest.raises(SinkError, match="the MQTT broker at"):
        make(answer(content)).turn()


def test_closing_what_was_never_connected_is_quick() -> None:
    began = time.monotonic()
    MqttSink(MqttConfig(), RUN).close()
    assert time.monotonic() - began < 1.0

"""What Home Assistant is told, against the schema that it documents, and at a real mosquitto."""

import json
import re
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from playspot.models.labels import LABELS
from playspot.stream.events import ModelInfo
from playspot.stream.mqtt_discovery import Topics, discovery_payload, discovery_topic
from playspot.stream.output_config import MqttConfig
from playspot.stream.status import RunStatus

# What Home Assistant takes; one unknown key makes it refuse a device with all that it has.
ROOT = {"device", "origin", "components", "qos"}
DEVICE = {"identifiers", "name", "manufacturer", "model", "sw_version"}
ORIGIN = {"name", "sw_version"}
ENTITY = {"platform", "name", "unique_id", "icon", "state_topic", "availability"}
BINARY_SENSOR = ENTITY | {"payload_on", "payload_off", "availability_mode"}
SENSOR = ENTITY | {"device_class", "options", "entity_category"}
TOPIC = re.compile(r"homeassistant/device/[a-zA-Z0-9_-]+/config")

MODEL = ModelInfo(name="bundled", hash="0", engine="onnx", precision="fp32")


def payload(source: str = "stage", prefix: str = "playspot", labels: Any = LABELS) -> Any:
    return json.loads(discovery_payload(prefix, source, tuple(labels), "bundled"))


def test_a_source_is_a_device_as_home_assistant_documents_it() -> None:
    told = payload()
    assert told.keys() == ROOT
    assert told["device"].keys() == DEVICE
    assert told["origin"].keys() == ORIGIN
    assert told["qos"] in (0, 1, 2)
    assert told["device"]["name"] == "stage"
    kinds = {name: entity["platform"] for name, entity in told["components"].items()}
    assert kinds.pop("status") == "sensor"
    assert set(kinds.values()) == {"binary_sensor"}
    assert len(kinds) == len(LABELS)


def test_each_entity_has_what_home_assistant_documents() -> None:
    for entity in payload()["components"].values():
        is_sensor = entity["platform"] == "sensor"
        assert entity.keys() == (SENSOR if is_sensor else BINARY_SENSOR)
        assert entity["icon"].startswith("mdi:")
        for availability in entity["availability"]:
            assert availability.keys() == {"topic", "value_template"}


def test_an_instrument_lies_where_the_sink_publishes_it() -> None:
    entity = payload()["components"]["playing-violin"]
    assert entity["state_topic"] == Topics("playspot").playing("stage", "violin")
    assert (entity["payload_on"], entity["payload_off"]) == ("ON", "OFF")
    assert entity["availability_mode"] == "all"
    assert [where["topic"] for where in entity["availability"]] == [
        "playspot/available",
        "playspot/stage/status",
    ]
    assert [where["value_template"] for where in entity["availability"]] == [
        "{{ 'online' if value == 'online' else 'offline' }}",
        "{{ 'online' if value == 'live' else 'offline' }}",
    ]


def test_no_two_entities_have_one_identifier() -> None:
    identifiers = [
        entity["unique_id"]
        for prefix, source in [("playspot", "stage"), ("playspot", "hall"), ("other", "stage")]
        for entity in payload(source, prefix, [*LABELS, "status"])["components"].values()
    ]
    assert len(identifiers) == len(set(identifiers)) == 3 * (len(LABELS) + 2)


def test_identifiers_are_the_same_in_each_run() -> None:
    """Home Assistant keeps names, rooms and automations by them: they must never change."""
    told = payload()
    assert told["device"]["identifiers"] == ["playspot-stage"]
    assert told["components"]["playing-violin"]["unique_id"] == "playspot-stage-playing-violin"
    assert told["components"]["status"]["unique_id"] == "playspot-stage-status"


@pytest.mark.parametrize("source", ["stage", "cam.1", "a b/c+#", "Bühne"])
def test_any_source_has_a_topic_that_home_assistant_takes(source: str) -> None:
    assert TOPIC.fullmatch(discovery_topic("homeassistant", "house/playspot", source))


@pytest.mark.parametrize("name", ["stage", "a/b", "+", "#", "$SYS", "a b", "Bühne", "50%"])
def test_any_name_is_one_level_of_a_topic(name: str) -> None:
    topics = Topics("house/playspot")
    topic = topics.playing(name, name)
    assert topic.removeprefix("house/playspot/").count("/") == 1
    assert not set("+#") & set(topic)
    assert topics.parsed(topic) == (name, name)


def test_other_topics_tell_of_no_source() -> None:
    topics = Topics("playspot")
    assert topics.parsed("playspot/stats") is None
    assert topics.parsed("playspot/stage/violin/score") is None


def run(**sources: Any) -> RunStatus:
    return RunStatus(
        system_id="run1",
        wall_time=0,
        uptime=1,
        model=MODEL,
        budget=2,
        latency="normal",
        look_ahead=0.7,
        sources=sources,
        labels=("drum", "violin"),
    )


@pytest.fixture(scope="module")
def broker(mqtt: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return a mosquitto."""
    with mqtt.Broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture
def sink(broker: Any) -> Iterator[Any]:
    """Return a sink with two sources, which has told of them."""
    from playspot.stream.mqtt_sink import MqttSink

    sink = MqttSink(MqttConfig(port=broker.port), "run1")
    sink.note(run(stage="live", hall="retrying"))
    sink.deliver([])
    yield sink
    sink.close()


def test_home_assistant_finds_all_sources_whenever_it_comes(
    sink: Any, broker: Any, mqtt: ModuleType
) -> None:
    with mqtt.Listener(broker.port, "homeassistant/#") as listener:
        listener.wait(lambda: len(listener.received) == 2)
    told = {message.topic: json.loads(message.text) for message in listener.received}
    assert told["homeassistant/device/playspot-stage/config"] == payload(labels=("drum", "violin"))
    assert told["homeassistant/device/playspot-hall/config"]["device"]["name"] == "hall"
    assert all(message.is_retained for message in listener.received)


def test_a_source_that_is_removed_is_taken_away(sink: Any, broker: Any, mqtt: ModuleType) -> None:
    with mqtt.Listener(broker.port, "homeassistant/#") as listener:
        listener.wait(lambda: len(listener.received) == 2)
        sink.note(run(stage="live"))
        sink.deliver([])
        listener.wait_for("homeassistant/device/playspot-hall/config", "")
        assert len(listener.texts("homeassistant/device/playspot-stage/config")) == 1


def test_a_source_that_was_removed_between_two_runs_is_taken_away(
    sink: Any, broker: Any, mqtt: ModuleType
) -> None:
    sink.close()
    with mqtt.Listener(broker.port, "homeassistant/#") as listener:
        again = type(sink)(MqttConfig(port=broker.port), "run2")
        again.note(run(stage="live"))
        again.deliver([])
        again.close()
        listener.wait_for("homeassistant/device/playspot-hall/config", "")


def test_home_assistant_hears_of_all_again_when_it_starts(
    sink: Any, broker: Any, mqtt: ModuleType
) -> None:
    topic = "homeassistant/device/playspot-stage/config"
    with mqtt.Listener(broker.port, topic) as listener:
        listener.wait(lambda: len(listener.texts(topic)) == 1)
        listener.publish("homeassistant/status", "online")

        deadline = time.monotonic() + 10
        while len(listener.texts(topic)) < 2 and time.monotonic() < deadline:
            sink.turn()
        assert len(listener.texts(topic)) == 2
        assert len(set(listener.texts(topic))) == 1


def test_nothing_is_announced_where_discovery_is_off(broker: Any, mqtt: ModuleType) -> None:
    from playspot.stream.mqtt_sink import MqttSink

    config = MqttConfig(port=broker.port, topic_prefix="quiet", client_id="q", discovery=False)
    sink = MqttSink(config, "run1")
    sink.note(run(stage="live"))
    sink.deliver([])
    with mqtt.Listener(broker.port, "homeassistant/#", "quiet/#") as listener:
        listener.wait_for("quiet/stage/violin/score", "0.000")
        assert not [message for message in listener.received if "quiet-" in message.topic]
    sink.close()

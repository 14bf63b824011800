"""The AsyncAPI document and the schemas, against messages that a real publisher sends."""

import json
import os
import re
import time
from collections.abc import Iterator
from typing import Any

import jsonschema
import numpy as np
import pytest
import zmq
from typer.testing import CliRunner

from playspot.stream import publish, wire
from playspot.stream.__main__ import app
from playspot.stream.asyncapi import asyncapi
from playspot.stream.events import Detection, Event, LiveStep, ModelInfo
from playspot.stream.heat_record import heat_of
from playspot.stream.messages import Message
from playspot.stream.publish import Publisher
from playspot.stream.schemas import NAMES, RECORDS, schema_of
from playspot.stream.status import JournalStatus, PublisherStatus, RunStatus, SourceStatus

MODEL = ModelInfo(name="test", hash="0" * 12, engine="replay", precision="fp32")
AT = {"source": "stage/left", "system_id": "run1", "step": 3, "time": 1.536}
DRUM = {"label": "drum", "score": 0.9, "point": (0.5, 0.5), "box": (0.4, 0.4, 0.6, 0.6)}
EVENT = Event.model_validate(
    AT
    | DRUM
    | {
        "type": "new",
        "id": "1",
        "top_score": 0.9,
        "start_time": 1,
        "wall_time": 0,
        "seq": 0,
        "model": MODEL,
    }
)
RUN = RunStatus(
    system_id="run1",
    wall_time=0,
    uptime=1,
    model=MODEL,
    budget=2,
    latency="normal",
    look_ahead=0.7,
    journal=JournalStatus(folder="journal"),
    publisher=PublisherStatus(),
)


def publish_everything(publisher: Publisher) -> None:
    """Send one record of each kind."""
    publisher.publish(EVENT)
    publisher.publish(EVENT.model_copy(update={"type": "end", "end_time": 2.0, "seq": 1}))
    seen = (Detection.model_validate(DRUM),)
    step = {"scores": {"drum": 0.9}, "points": {"drum": None}, "detections": seen}
    live = {"base": 0, "captured": 0, "latency_ms": 1, "status": {"sound": "stale"}}
    publisher.publish_step(LiveStep.model_validate(AT | step | live))
    heat = Message("", data={"heat_labels": ["drum"]}, arrays=(np.zeros((1, 2, 3), np.uint8),))
    publisher.publish_heat(heat_of(heat, "stage/left", "run1", 3))
    source = SourceStatus(source="stage/left", wall_time=0, state="live", since=0)
    for name, status in (("stage/left", source), ("", RUN)):
        publisher.publish_status(name, status.model_dump_json(by_alias=True))


@pytest.fixture(scope="module")
def messages() -> Iterator[list[list[bytes]]]:
    """Return what a subscriber to everything gets, and a replay."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    name = f"ipc://@playspot-test-asyncapi-{os.getpid()}"
    publisher = Publisher(context, name, system_id="run1")
    publisher.publish(EVENT)  # open: it is repeated
    subscriber, asking = context.socket(zmq.SUB), context.socket(zmq.DEALER)
    subscriber.subscribe("")
    subscriber.connect(publisher.endpoint)
    asking.connect(f"{publisher.endpoint}-replay")
    request = wire.ReplayRequest(source="stage/left").model_dump_json(by_alias=True).encode()
    asking.send(request)
    deadline = time.monotonic() + 10
    while not (subscriber.poll(5) and asking.poll(5)):
        publisher.turn()
        assert time.monotonic() < deadline
    publish_everything(publisher)
    received = [[b"request", request], [b"answer", *asking.recv_multipart()]]
    while subscriber.poll(200):
        received.append(subscriber.recv_multipart())
    yield received
    for socket in (subscriber, asking):
        socket.close(linger=0)
    publisher.close()
    context.destroy(linger=0)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return asyncapi()


def check(document: dict[str, Any], schema: dict[str, Any], instance: object) -> None:
    whole = schema | {"components": document["components"]}
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.Draft7Validator(whole).validate(instance)


def payload(name: str) -> dict[str, Any]:
    return {"allOf": [{"$ref": f"#/components/schemas/{name}"}]}


def channel_of(document: dict[str, Any], topic: str) -> str:
    """Return the one channel whose address a topic fits."""
    found: list[str] = [
        name
        for name, channel in document["channels"].items()
        if channel["address"] and re.fullmatch(re.sub(r"{\w+}", "[^/]+", channel["address"]), topic)
    ]
    assert len(found) == 1, (topic, found)
    return found[0]


def test_every_message_that_is_sent_is_as_the_document_says(
    document: dict[str, Any], messages: list[list[bytes]]
) -> None:
    seen = set()
    for topic, *parts in messages[2:]:
        channel = channel_of(document, topic.decode())
        (name,) = document["channels"][channel]["messages"]
        headers, body = (json.loads(part) for part in parts)
        check(document, document["components"]["messages"][name]["headers"], headers)
        check(document, payload(name), body)
        assert headers["schema"] == body["schema"]
        seen.add(channel)
    assert seen == {name for name, each in document["channels"].items() if each["address"]}


def test_a_replay_is_as_the_document_says(
    document: dict[str, Any], messages: list[list[bytes]]
) -> None:
    (_, request), (_, answer, *bodies) = messages[:2]
    check(document, payload("ReplayRequest"), json.loads(request))
    check(document, payload("ReplayAnswer"), json.loads(answer))
    assert bodies
    for body in bodies:
        check(document, payload("Event"), json.loads(body))


def test_every_topic_root_is_in_the_document(document: dict[str, Any]) -> None:
    roots = {
        value
        for module in (publish, wire)
        for name, value in vars(module).items()
        if name.endswith("_ROOT")
    }
    addresses = [each["address"] for each in document["channels"].values() if each["address"]]
    assert len(roots) == 5
    assert all(any(address.startswith(root) for address in addresses) for root in roots)


def test_the_examples_of_the_document_are_right(document: dict[str, Any]) -> None:
    for name, message in document["components"]["messages"].items():
        for example in message["examples"]:
            check(document, payload(name), example["payload"])
            if "headers" in message:
                check(document, message["headers"], example["headers"])


def test_a_wrong_message_is_noticed(document: dict[str, Any]) -> None:
    body = EVENT.model_dump(mode="json", by_alias=True)
    with pytest.raises(jsonschema.ValidationError):
        check(document, payload("Event"), body | {"point": [0.5, 0.5, 0.5]})
    with pytest.raises(jsonschema.ValidationError):
        check(document, payload("Event"), body | {"schema": "playspot/event/2"})


def test_all_that_the_document_refers_to_is_in_it(document: dict[str, Any]) -> None:
    for path in set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document))):
        place = document
        for key in path.split("/"):
            place = place[key]


@pytest.mark.parametrize("name", NAMES)
def test_every_schema_is_printed(name: str) -> None:
    done = CliRunner().invoke(app, ["schema", name])
    assert json.loads(done.output) == json.loads(json.dumps(schema_of(name)))
    if name in RECORDS:
        jsonschema.Draft202012Validator.check_schema(schema_of(name))


def test_an_unknown_schema_is_a_usage_error() -> None:
    done = CliRunner().invoke(app, ["schema", "evnet"])
    assert done.exit_code == 2

"""Where things lie at an MQTT broker, and how Home Assistant is told of them.

Each source is a device, announced by one retained message (device discovery, Home Assistant 2024.11
or later), with a binary sensor for each instrument and a sensor for the state of the source. An
empty message takes it away again. Identifiers come from the topics, so they stay the same in all
runs, and two programs with prefixes of their own do not meet.
"""

import importlib.metadata
import json
import re
from functools import lru_cache
from typing import Any, get_args
from urllib.parse import quote, unquote

from .status import SourceState

ONLINE, OFFLINE, STOPPED = "online", "offline", "stopped"
ICONS = {
    "guitar": "mdi:guitar-acoustic",
    "piano": "mdi:piano",
    "saxophone": "mdi:saxophone",
    "trumpet": "mdi:trumpet",
    "violin": "mdi:violin",
}


class Topics:
    """The topics under a prefix; names are escaped so that each stays one level.

    Examples
    --------
    >>> topics = Topics("playspot")
    >>> topics.playing("stage", "violin"), topics.playing("a/b", "violin")
    ('playspot/stage/violin', 'playspot/a%2Fb/violin')
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.available = f"{prefix}/available"
        self.events = f"{prefix}/events"
        self.stats = f"{prefix}/stats"

    def state(self, source: str) -> str:
        """Return the topic of the state of a source."""
        return f"{self.prefix}/{_level(source)}/status"

    def playing(self, source: str, label: str) -> str:
        """Return the topic that says whether an instrument is being played."""
        return f"{self.prefix}/{_level(source)}/{_level(label)}"

    def score(self, source: str, label: str) -> str:
        """Return the topic of the score of an instrument."""
        return f"{self.playing(source, label)}/score"

    def parsed(self, topic: str) -> tuple[str, str] | None:
        """Return source and label (or "status") of a topic of `playing` or `state`, else None."""
        levels = topic.removeprefix(f"{self.prefix}/").split("/")
        return (unquote(levels[0]), unquote(levels[1])) if len(levels) == 2 else None


def discovery_topic(discovery_prefix: str, prefix: str, source: str) -> str:
    """Return the topic on which a source is announced.

    Examples
    --------
    >>> discovery_topic("homeassistant", "playspot", "cam.1")
    'homeassistant/device/playspot-cam_2e_1/config'
    """
    return f"{discovery_prefix}/device/{_identifier(prefix, source)}/config"


@lru_cache(maxsize=1000)
def discovery_payload(prefix: str, source: str, labels: tuple[str, ...], model: str) -> str:
    """Return what announces a source to Home Assistant, as JSON.

    Parameters
    ----------
    prefix : str
        Of the topics.
    source : str
    labels : tuple of str
        Instruments that its models know.
    model : str
        Name of the models.
    """
    topics = Topics(prefix)
    device = _identifier(prefix, source)
    version = importlib.metadata.version("playspot")
    is_online = _availability(topics.available, ONLINE)
    components: dict[str, dict[str, Any]] = {
        "status": {
            "platform": "sensor",
            "name": "Status",
            "unique_id": f"{device}-status",
            "device_class": "enum",
            "options": list(get_args(SourceState)),
            "entity_category": "diagnostic",
            "icon": "mdi:cctv",
            "state_topic": topics.state(source),
            "availability": [is_online],
        }
    }
    for label in labels:
        components[f"playing-{_identifier(label)}"] = {
            "platform": "binary_sensor",
            "name": label.capitalize(),
            "unique_id": _identifier(prefix, source, "playing", label),
            "icon": ICONS.get(label, "mdi:music"),
            "state_topic": topics.playing(source, label),
            "payload_on": "ON",
            "payload_off": "OFF",
            # Nobody knows what is being played at a source that is not connected.
            "availability": [is_online, _availability(topics.state(source), "live")],
            "availability_mode": "all",
        }
    payload = {
        "device": {
            "identifiers": [device],
            "name": source,
            "manufacturer": "Playspot",
            "model": model,
            "sw_version": version,
        },
        "origin": {"name": "Playspot", "sw_version": version},
        "qos": 1,
        "components": components,
    }
    return json.dumps(payload, separators=(",", ":"))


def _availability(topic: str, good: str) -> dict[str, str]:
    """Return that all but one payload mean that something is not available."""
    template = f"{{{{ '{ONLINE}' if value == '{good}' else '{OFFLINE}' }}}}"
    return {"topic": topic, "value_template": template}


def _level(name: str) -> str:
    """Return a name as one level of a topic."""
    return quote(name, safe="")


def _identifier(*names: str) -> str:
    """Return names as one that Home Assistant takes in topics: letters, digits, - and _."""
    return "-".join(
        re.sub(r"[^A-Za-z0-9_-]", lambda found: f"_{ord(found[0]):x}_", name) for name in names
    )

"""Which source plays which locator."""

import importlib.metadata
from typing import Any

import pytest

from playspot.stream.config import SourceConfig
from playspot.stream.failures import SourceFailure
from playspot.stream.open_source import open_source


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("concert.mp4", "PacedFile"),
        ("file:///concert.mp4", "PacedFile"),
        ("rtsp://camera/1", "NetworkSource"),
        ("https://host/live.m3u8", "NetworkSource"),
        ("rtmp://host/live/1", "NetworkSource"),
        ("/dev/video0", "NetworkSource"),
        ("mic://USB", "MicrophoneSource"),
        ("/dev/video0+mic://USB", "PairSource"),
        ("bandstand://", "BandstandLive"),
    ],
)
def test_the_scheme_chooses_the_source(url: str, kind: str) -> None:
    source = open_source("stage", SourceConfig(url=url))
    assert type(source).__name__ == kind
    source.close()


def test_a_wrong_locator_will_not_heal() -> None:
    with pytest.raises(SourceFailure, match="did you mean 'rtsp'") as caught:
        open_source("stage", SourceConfig.model_construct(url="rstp://u:hunter2@camera/1"))
    assert caught.value.kind == "unsupported"
    assert not caught.value.may_heal
    assert "hunter2" not in str(caught.value)


def test_a_package_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    point = importlib.metadata.EntryPoint("broken", "no_such_module:make", "playspot.sources")

    def entry_points(**_: Any) -> list[importlib.metadata.EntryPoint]:
        return [point]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    with pytest.raises(SourceFailure, match=r"no_such_module:make cannot be loaded"):
        open_source("stage", SourceConfig(url="broken://x"))

"""Sources that are added while running, and where they are kept."""

from pathlib import Path

import pytest

from playspot.stream.added_sources import AddedSources, SourceRefusedError, checked_source
from playspot.stream.config import SourceConfig

URL = "rtsp://viewer:hunter2@camera/1"


def test_an_added_source_is_there_after_a_restart(tmp_path: Path) -> None:
    AddedSources(tmp_path).add("stage", {"url": URL, "threshold": 0.7})
    sources = AddedSources(tmp_path).over({})
    assert sources == {"stage": SourceConfig(url=URL, threshold=0.7)}


def test_a_removed_one_is_not(tmp_path: Path) -> None:
    added = AddedSources(tmp_path)
    added.add("stage", {"url": URL})
    added.remove("stage")
    assert "stage" not in AddedSources(tmp_path)


def test_the_configuration_stands_over_what_was_added(tmp_path: Path) -> None:
    added = AddedSources(tmp_path)
    added.add("stage", {"url": URL})
    configured = {"stage": SourceConfig(url="stage.mp4")}
    assert added.over(configured) == configured


def test_only_the_owner_can_read_the_passwords(tmp_path: Path) -> None:
    AddedSources(tmp_path).add("stage", {"url": URL})
    assert (tmp_path / "sources.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["", "a b", "../etc", "-a", "a" * 65, "a/b", "a\n"])
def test_a_name_that_is_no_topic_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceRefusedError, match=r"^name: has letters"):
        AddedSources(tmp_path).add(name, {"url": URL})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "url: is missing"),
        ({"url": URL, "tresholds": {}}, "tresholds: unknown key; did you mean 'thresholds'?"),
        ({"url": "rstp://camera"}, "url: rstp://camera: unknown scheme 'rstp'; did you mean"),
        ({"url": "rtsp://a:hunter2@/x"}, r"url: rtsp://\*\*\*@/x: has no host"),
        ({"url": URL, "timeout": 0}, "timeout: 0 is too small; give more than 0"),
    ],
)
def test_what_is_wrong_with_a_source_is_one_line(config: dict[str, str], message: str) -> None:
    with pytest.raises(SourceRefusedError, match=f"^{message}") as error:
        checked_source(config)
    assert "hunter2" not in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b'{"a": 1}', b'{"a b": {}}'])
def test_a_damaged_file_costs_the_sources_in_it_and_nothing_else(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "sources.json").write_bytes(content)
    assert AddedSources(tmp_path).over({}) == {}

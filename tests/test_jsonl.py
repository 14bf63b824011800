"""JSON Lines: whole lines, at once, in UTF-8; clear errors where nothing can be written."""

import errno
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from playspot.stream.events import Detection, Event, ModelInfo, Step
from playspot.stream.jsonl import JsonLines, OutputError, check_writable


def step(number: int) -> Step:
    return Step(step=number, time=0.512 * number, scores={"violin": 0.25}, points={"violin": None})


class FullDisk:
    """A file that takes only so many bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self._file, self.room = file, room

    def write(self, data: bytes) -> int:
        part = bytes(data[: self.room])
        if not part:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= len(part)
        return int(self._file.write(part))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def test_a_line_is_in_the_file_before_the_next_one_is_written(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    with JsonLines(path) as lines:
        for number in range(3):
            lines.write(step(number))
            written = path.read_text("utf-8").splitlines()
            assert [Step.model_validate_json(line) for line in written] == [
                step(n) for n in range(number + 1)
            ]
        assert lines.n_lines == 3


def test_what_was_in_the_file_before_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text("old\n" * 100)
    with JsonLines(path) as lines:
        lines.write({"label": "drum"})
    assert path.read_text() == '{"label":"drum"}\n'


def test_events_are_written_with_the_names_of_the_wire(tmp_path: Path) -> None:
    model = ModelInfo(name="m", hash="h", engine="e", precision="fp32")
    facts: dict[str, Any] = {"id": "a", "label": "drum", "score": 0.5, "top_score": 0.5}
    facts |= {"start_time": 0, "time": 0, "wall_time": 0, "step": 0, "seq": 0, "system_id": "x"}
    event = Event(schema="playspot/event/1", type="new", source="s", model=model, **facts)
    with JsonLines(tmp_path / "events.jsonl") as lines:
        lines.write(event)
    record = json.loads((tmp_path / "events.jsonl").read_text())
    assert record["schema"] == "playspot/event/1"
    assert Event(**record) == event


def test_letters_of_any_script_are_written_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with JsonLines(path) as lines:
        lines.write({"source": "Flöte 笛"})
        lines.write({"source": "broken \udcff name"})
        lines.write(Detection(label="broken \udcff label", score=0.5))
    first, second, third = path.read_bytes().decode("utf-8").splitlines()
    assert first == '{"source":"Flöte 笛"}'
    assert json.loads(second)["source"] == "broken \udcff name"
    assert json.loads(third)["label"] == "broken \udcff label"


def test_numbers_that_json_does_not_have_are_refused(tmp_path: Path) -> None:
    with JsonLines(tmp_path / "a.jsonl") as lines, pytest.raises(ValueError, match="JSON"):
        lines.write({"score": float("nan")})
    assert (tmp_path / "a.jsonl").read_bytes() == b""


@pytest.mark.parametrize("room", [25, 26, 40, 48])
def test_half_a_line_is_taken_back_when_the_disk_is_full(tmp_path: Path, room: int) -> None:
    path = tmp_path / "a.jsonl"
    lines = JsonLines(path)
    disk: Any = FullDisk(lines._file, room)
    lines._file = disk
    lines.write({"line": "the first one"})  # 25 bytes
    with pytest.raises(OutputError, match="disk is full"):
        lines.write({"line": "the 2nd line"})
    assert path.read_text() == '{"line":"the first one"}\n'
    disk.room = 1000
    lines.write({"line": 3})
    lines.close()
    assert path.read_text() == '{"line":"the first one"}\n{"line":3}\n'


def test_a_file_that_cannot_be_opened_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"a\.jsonl: cannot be written .*; .*--out") as caught:
        JsonLines(tmp_path / "missing" / "a.jsonl")
    assert "\n" not in str(caught.value)


def test_check_writable_makes_folders_and_leaves_them_empty(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_check_writable_refuses_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match=r"file.*choose another folder with --out"):
            check_writable(folder)


def test_check_writable_refuses_a_folder_without_permission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Tests may run as root, to whom no folder is closed.
    def refuse(**options: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(OutputError, match=r"Permission denied.*change its permissions"):
        check_writable(tmp_path)


def test_control_characters_of_a_path_do_not_reach_the_message(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as caught:
        JsonLines(tmp_path / "a\n\x1b[31m" / "b.jsonl")
    assert str(caught.value).isprintable()

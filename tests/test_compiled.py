"""The cache of compiled networks."""

import json
import logging
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from playspot.engines.compiled import (
    Compiled,
    compiled_networks,
    find,
    mark,
    remove,
    save,
    store,
)
from playspot.engines.engine import ModelError
from playspot.engines.machine import machine

HASH = "0123456789ab"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PLAYSPOT_ENGINES", str(tmp_path / "engines"))
    return tmp_path / "engines"


def make(**changes: Any) -> Compiled:
    given = {
        "model_hash": HASH,
        "model_name": "m",
        "kind": "object",
        "backend": "onnx",
        "precision": "int8",
        "passed": True,
        **changes,
    }
    return Compiled(**given)


def test_what_was_saved_is_found() -> None:
    saved = save(make(report={"max": 0.1}), b"network")
    assert find(HASH) == saved
    assert saved.read() == b"network"
    assert saved.machine == machine("onnx")


def test_a_record_of_an_older_version_is_read() -> None:
    """It has no speed; one of a newer version may have more."""
    saved = save(make(), b"network")
    [record] = store().glob("*.json")
    told = json.loads(record.read_text())
    del told["speed_up"], told["against"]
    record.write_text(json.dumps(told | {"of a later version": 1}))
    assert find(HASH) == saved
    assert saved.speed_up is None


def test_a_speed_that_is_no_speed_is_damage(caplog: pytest.LogCaptureFixture) -> None:
    save(make(speed_up=1.5, against="onnx"), b"network")
    [record] = store().glob("*.json")
    for wrong in ("-1.5", "1e999", "NaN", "0"):
        record.write_text(record.read_text().replace("1.5", wrong))
        assert find(HASH) is None
    assert "damaged" in caplog.text


def test_there_is_nothing_without_a_cache() -> None:
    assert find(HASH) is None
    assert list(compiled_networks()) == []


def test_another_model_has_none() -> None:
    save(make(), b"network")
    assert find("ba9876543210") is None


def test_the_newest_is_found() -> None:
    save(make(precision="fp16", created=NOON), b"old")
    newer = save(make(created=NOON + timedelta(hours=1)), b"new")
    save(make(precision="fp32", created=NOON - timedelta(hours=1)), b"oldest")
    assert find(HASH) == newer


def test_one_of_a_backend_and_a_precision_is_found() -> None:
    save(make(backend="onnx", precision="int8"), b"a")
    wanted = save(make(backend="openvino", precision="fp16"), b"b")
    assert find(HASH, "openvino") == wanted
    assert find(HASH, precision="fp16") == wanted
    assert find(HASH, "openvino", "int8") is None


def test_one_that_did_not_pass_is_found_only_if_asked_for() -> None:
    saved = save(make(passed=False), b"network")
    assert find(HASH) is None
    assert find(HASH, passed=False) == saved


def test_one_that_is_marked_is_found() -> None:
    saved = save(make(passed=False), b"network")
    marked = mark(saved, passed=True, report={"max_difference": 0.0})
    assert find(HASH) == marked
    assert marked.read() == b"network"


def test_one_of_another_machine_is_not_found() -> None:
    save(make(machine="another"), b"network")
    assert find(HASH) is None
    assert [one.machine for one in compiled_networks()] == ["another"]


def test_the_same_again_takes_its_place(cache: Path) -> None:
    save(make(), b"one")
    save(make(), b"other")
    assert len(list(cache.iterdir())) == 2  # a record and a content


def test_what_was_removed_is_gone(cache: Path) -> None:
    saved = save(make(), b"network")
    remove(saved)
    remove(saved)
    assert list(cache.iterdir()) == []


def test_what_another_record_is_of_stays() -> None:
    saved = save(make(backend="onnx"), b"the same")
    other = save(make(backend="openvino"), b"the same")
    remove(saved)
    assert other.read() == b"the same"


def test_nobody_else_may_read_it(cache: Path) -> None:
    save(make(), b"network")
    assert cache.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in cache.iterdir())


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"model_hash": "x"}', b"\xff" * 10, b"x" * (2**20 + 1)]
)
def test_a_damaged_record_is_skipped_with_a_line(
    cache: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    saved = save(make(), b"network")
    (cache / f"{HASH}-onnx-fp16-0.json").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert find(HASH) == saved
    (line,) = [record.getMessage() for record in caplog.records]
    assert "skipped" in line
    assert "\n" not in line


def test_a_record_that_was_renamed_is_skipped(cache: Path) -> None:
    save(make(), b"network")
    (record,) = cache.glob("*.json")
    record.rename(cache / "ba9876543210-onnx-int8-0.json")
    assert find(HASH) is None


def test_a_record_points_to_no_file_outside(cache: Path) -> None:
    save(make(), b"network")
    (record,) = cache.glob("*.json")
    text = record.read_text()
    at = text.index('"sha256": "') + len('"sha256": "')
    record.write_text(text[:at] + "../" * 21 + "x" + text[at + 64 :])
    assert find(HASH) is None


def test_a_content_that_is_gone_is_skipped() -> None:
    saved = save(make(), b"network")
    saved.path.unlink()
    assert find(HASH) is None


def test_a_content_that_is_another_is_refused() -> None:
    saved = save(make(), b"network")
    saved.path.write_bytes(b"netw0rk")
    with pytest.raises(ModelError, match="damaged, its checksum is wrong"):
        saved.read()


def test_a_folder_that_cannot_be_written_is_one_line(cache: Path) -> None:
    cache.write_text("a file")
    with pytest.raises(ModelError, match="cannot be written") as error:
        save(make(), b"network")
    assert "\n" not in str(error.value)
    assert list(compiled_networks()) == []


def test_a_disk_that_is_full_leaves_what_was_there(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = save(make(), b"network")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ModelError, match="No space left on device"):
        save(make(), b"another")
    assert find(HASH) == saved
    assert saved.read() == b"network"
    assert not list(cache.glob("*.partial"))


def test_what_a_killed_writer_left_is_swept_up(cache: Path) -> None:
    save(make(), b"network")
    left, fresh = cache / ".a.1.partial", cache / ".b.2.partial"
    for path in (left, fresh):
        path.write_bytes(b"half of it")
    os.utime(left, (0, 0))
    save(make(), b"another")
    assert not left.exists()
    assert fresh.exists()


def test_the_folder_is_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLAYSPOT_ENGINES")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert store() == Path("/somewhere/playspot/engines")

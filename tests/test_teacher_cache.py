"""Teachers' scores: asked once, kept on disk, asked again only where something changed."""

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from playspot.engines import ModelError
from playspot.engines.engine import FrontEnd, Header, Kind
from playspot.models.labels import LABELS
from playspot.training import shards
from playspot.training.cache import CachedClip
from playspot.training.clips import Clip, ClipError
from playspot.training.shards import Shards
from playspot.training.teacher_cache import teacher_scores

torch = pytest.importorskip("torch", reason="needs PyTorch (pip install 'playspot[train]')")

STEPS = 6


class Stub:
    """An engine that counts what it is asked and answers with its own number."""

    backend, precision = "stub", "fp32"

    def __init__(self, kind: Kind, hash: str = "aaaa", labels: tuple[str, ...] = LABELS) -> None:
        front_end: FrontEnd | None = "paper" if kind == "sound" else None
        self.header = Header(kind=kind, name=hash, labels=labels, front_end=front_end)
        self.hash = hash
        self.asked = 0

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        self.asked += 1
        n = len(batch)
        value = float(np.asarray(batch, float).mean()) % 1
        if self.header.kind == "sound":
            return np.full((n, len(LABELS), STEPS), value, np.float32)
        return np.full((n, len(LABELS), 2, 2), value, np.float32)

    def close(self) -> None: ...


def make_clip(folder: Path, name: str, *, sound: float | None = 0.25) -> CachedClip:
    place = folder / "features" / name
    place.mkdir(parents=True, exist_ok=True)
    np.save(place / "pictures.npy", np.full((STEPS, 36, 64, 3), len(name), np.uint8))
    np.save(place / "flows.npy", np.zeros((4 * STEPS + 1, 2, 36, 64), np.float16))
    if sound is not None:
        np.save(place / "log_mel.npy", np.full((384, 16 * STEPS), sound, np.float16))
    (place / "source.json").write_text(json.dumps({"size": len(name), "sound": sound}))
    return CachedClip(Clip(folder / f"{name}.mp4", None, (), (), ()), place)


@pytest.fixture
def clips(tmp_path: Path) -> list[CachedClip]:
    return [make_clip(tmp_path, name) for name in ("a", "bb", "ccc")]


def ask(clips: list[CachedClip], folder: Path, **hashes: str) -> tuple[Any, dict[str, Stub]]:
    engines = {kind: Stub(kind, hashes.get(kind, "aaaa")) for kind in ("sound", "object")}
    return teacher_scores(clips, engines, folder), engines


def asked(engines: dict[str, Stub]) -> tuple[int, int]:
    return engines["sound"].asked, engines["object"].asked


def test_an_engine_is_asked_once_for_a_clip(clips: list[CachedClip], tmp_path: Path) -> None:
    first, engines = ask(clips, tmp_path / "t")
    assert asked(engines) == (3, 3)
    second, engines = ask(clips, tmp_path / "t")
    assert asked(engines) == (0, 0)
    for name in ("a", "bb", "ccc"):
        np.testing.assert_array_equal(second[name].sound, first[name].sound)
        np.testing.assert_array_equal(second[name].object_map, first[name].object_map)
        assert second[name].stride == 32 / 64


def test_scores_are_memory_maps_of_half_precision(clips: list[CachedClip], tmp_path: Path) -> None:
    ask(clips, tmp_path / "t")
    found, _ = ask(clips, tmp_path / "t")
    assert found["a"].sound.shape == (STEPS, 9)
    assert found["a"].sound.dtype == np.float16
    base = found["a"].object_map
    while not isinstance(base, np.memmap):
        base = base.base
    assert not base.flags.writeable


def test_many_clips_are_few_files(tmp_path: Path) -> None:
    clips = [make_clip(tmp_path, f"{n:03d}") for n in range(40)]
    for n in (10, 25, 40):
        ask(clips[:n], tmp_path / "t")
    assert len(list((tmp_path / "t").iterdir())) == 5  # a lock, and array and index of each kind


def test_another_model_is_asked_again_and_only_that(
    clips: list[CachedClip], tmp_path: Path
) -> None:
    ask(clips, tmp_path / "t")
    _, engines = ask(clips, tmp_path / "t", sound="bbbb")
    assert asked(engines) == (3, 0)
    _, engines = ask(clips, tmp_path / "t")
    assert asked(engines) == (0, 0)


def test_a_clip_that_changed_is_asked_again_and_only_that(
    clips: list[CachedClip], tmp_path: Path
) -> None:
    ask(clips, tmp_path / "t")
    changed = make_clip(tmp_path, "bb", sound=0.75)
    found, engines = ask([clips[0], changed, clips[2]], tmp_path / "t")
    assert asked(engines) == (1, 1)
    assert float(found["bb"].sound[0, 0]) == 0.75
    assert float(found["a"].sound[0, 0]) == 0.25


def test_a_clip_without_sound_has_no_scores_of_it_and_is_not_asked_again(tmp_path: Path) -> None:
    mute = make_clip(tmp_path, "mute", sound=None)
    for _ in range(2):
        found, engines = ask([mute], tmp_path / "t")
        assert found["mute"].sound is None
        assert found["mute"].object_map is not None
    assert asked(engines) == (0, 0)


@pytest.mark.parametrize("damage", ["garbage", "truncated", "changed", "gone"])
@pytest.mark.parametrize("ending", ["npy", "json"])
def test_damaged_files_are_computed_again(
    clips: list[CachedClip], tmp_path: Path, damage: str, ending: str
) -> None:
    found, _ = ask(clips, tmp_path / "t")
    first = {name: np.array(scores.sound) for name, scores in found.items()}
    (path,) = (tmp_path / "t").glob(f"sound-*.{ending}")
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif damage == "garbage":
        path.write_bytes(b"\x80\x04K\x01. no array")
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.write_bytes(content[:-40] + b"\x31" * 40)
    second, engines = ask(clips, tmp_path / "t")
    assert engines["object"].asked == 0
    assert 1 <= engines["sound"].asked <= 3
    for name in ("a", "bb", "ccc"):
        np.testing.assert_array_equal(second[name].sound, first[name])


@pytest.mark.parametrize(
    "entry",
    [
        {"shard": "../../secret-0", "first": 0, "shape": [4], "crc": 0, "stamp": "", "note": {}},
        {"shard": "sound-aaaa-0", "first": -5, "shape": [-1], "crc": 0, "stamp": "", "note": {}},
        {"shard": "sound-aaaa-0", "first": 0, "shape": [10**12], "crc": 0, "stamp": 1, "note": {}},
        {"shard": ["x"], "first": None, "shape": "no", "crc": "no", "note": 3},
        "no entry",
        None,
    ],
)
def test_a_nonsense_index_is_as_none(
    clips: list[CachedClip], tmp_path: Path, entry: object
) -> None:
    ask(clips, tmp_path / "t")
    index = tmp_path / "t" / "sound-aaaa.json"
    index.write_text(json.dumps({"format": shards.FORMAT, "arrays": {"a": entry}}))
    found, engines = ask(clips, tmp_path / "t")
    assert engines["sound"].asked == 3
    assert float(found["a"].sound[0, 0]) == 0.25


def test_a_killed_run_keeps_what_was_written(tmp_path: Path) -> None:
    script = f"""
        import numpy as np, os, signal
        from pathlib import Path
        from playspot.training import shards
        shards.FLUSH_AFTER = 0.0
        store = shards.Shards(Path({str(tmp_path)!r}), "sound-a")
        for n in range(4):
            store.put(str(n), n, np.full(1000, n, np.float16), {{}})
        os.replace = os.rename = None
        store._new["lost"] = (np.zeros(5, np.float16), {{"stamp": 0, "note": {{}}}})
        (Path({str(tmp_path)!r}) / "sound-a-9.npy.part").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert done.returncode == -signal.SIGKILL
    store = Shards(tmp_path, "sound-a")
    for n in range(4):
        found = store.get(str(n), n)
        assert found is not None
        assert (found[0] == n).all()
    assert store.get("lost", 0) is None


def test_a_full_disk_is_one_line(
    clips: list[CachedClip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(ClipError, match=r"cannot write .* MB .*No space left.*make room"):
        ask(clips, tmp_path / "t")


def test_other_labels_are_refused(clips: list[CachedClip], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has the labels drum, a teacher must have accordion"):
        teacher_scores(clips, {"sound": Stub("sound", labels=("drum",))}, tmp_path / "t")


def test_progress_counts_steps_of_both_models(clips: list[CachedClip], tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    engines = {"sound": Stub("sound"), "object": Stub("object")}
    teacher_scores(clips, engines, tmp_path / "t", progress=lambda a, b: seen.append((a, b)))
    assert seen[-1] == (6 * STEPS, 6 * STEPS)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)

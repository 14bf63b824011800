"""YT8M-IPA: the authors' annotations, broken ones, and models on small videos in their layout."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from playspot.models.labels import LABELS
from playspot.training.clips import ClipError
from playspot.training.evaluate_run import Request, run
from playspot.training.ipa import center_baseline, read_annotations, read_points

TABLE = {  # px from the middle, worked out independently
    "accordion": 33.58,
    "cello": 42.52,
    "drum": 39.30,
    "flute": 36.70,
    "guitar": 40.12,
    "piano": 47.30,
    "saxophone": 26.69,
    "trumpet": 33.12,
    "violin": 35.96,
}


@pytest.fixture
def write_ipa(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes annotations: violin, played in every second frame."""

    def write(*ids: str, has_sizes: bool = True) -> Path:
        root = tmp_path / "ipa"
        root.mkdir()
        (root / "tag_list.instrument.csv").write_text("Drummer,30,1\nViolin,150,1\n")
        (root / "video_id.te.json").write_text(json.dumps({"Violin": ids, "Drummer": []}))
        sizes = {f"Violin/{name}": {"size": [144, 256]} for name in ids}
        if has_sizes:
            (root / "frame_sizes_inferred.json").write_text(json.dumps(sizes))
        for name in dict.fromkeys(ids):
            folder = root / "action_annotations/te/Violin" / name
            folder.mkdir(parents=True)
            for fragment in ("0_5", "5_10", "30_35", "35_40"):
                for k in range(10):
                    points = np.empty(0) if k % 2 else np.array([[72.0, 108.0], [0.0, 0.0]])
                    np.save(folder / f"{fragment}.{k}.npy", points)
        return root

    return write


def test_the_center_baseline_of_the_paper_is_reproduced(shared: Path) -> None:
    annotations = read_annotations(shared / "data/ipa")
    assert (len(annotations.videos), annotations.skipped) == (134, ())
    report = center_baseline(annotations)
    assert report["spatial_px"]["average"] == pytest.approx(37.254, abs=0.001)
    assert {k: round(report["spatial_px"][k], 2) for k in TABLE} == TABLE
    assert report["n"] == 135


def test_a_distance_is_that_of_the_middle_of_the_picture(write_ipa: Callable[..., Path]) -> None:
    report = center_baseline(read_annotations(write_ipa("a")))
    assert report["spatial_px"]["violin"] == report["spatial_px"]["average"] == 20
    assert report["frames"]["violin"] == 20


def test_an_id_that_is_listed_twice_counts_twice_in_space(write_ipa: Callable[..., Path]) -> None:
    annotations = read_annotations(write_ipa("a", "b", "a"))
    assert [video.n_listed for video in annotations.videos] == [2, 1]
    assert center_baseline(annotations)["videos"]["violin"] == 3


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.array([[1.0, float("nan")]]), "outside of the picture"),
        (np.array([[1.0, 1e9]]), "outside of the picture"),
        (np.zeros((3, 3)), "shape"),
        (np.zeros(2), "shape"),
        (np.array([["a", "b"]]), "not numbers"),
        (np.array([[{}, {}]], object), "not numbers"),
        (np.zeros((100_000, 2)), "larger than"),
    ],
)
def test_a_broken_array_is_refused(tmp_path: Path, array: np.ndarray, reason: str) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ValueError, match=reason):
        read_points(tmp_path / "a.npy")


@pytest.mark.parametrize(
    "content", [b"", b"\x93NUMPY", b"garbage" * 20, b"\x93NUMPY\x01\x00\x0a\x00{'a': ((1\n"]
)
def test_garbage_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r".+"):
        read_points(tmp_path / "a.npy")


def test_a_header_that_claims_a_huge_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 2)))
    content = (tmp_path / "a.npy").read_bytes()
    huge = content.replace(b"(2, 2), }      ", b"(9999999, 2), }")
    assert huge != content
    (tmp_path / "a.npy").write_bytes(huge)
    with pytest.raises(ValueError, match="shape"):
        read_points(tmp_path / "a.npy")


def test_broken_frames_are_skipped_and_counted(write_ipa: Callable[..., Path]) -> None:
    root = write_ipa("a")
    folder = root / "action_annotations/te/Violin/a"
    (folder / "0_5.0.npy").write_bytes(b"garbage")
    (folder / "0_5.1.npy").unlink()
    annotations = read_annotations(root)
    assert [name for name, _ in annotations.skipped if "npy" in name] == [
        "Violin/a/0_5.0.npy",
        "Violin/a/0_5.1.npy",
    ]
    assert center_baseline(annotations)["frames"]["violin"] == 19


def test_an_id_is_no_path(write_ipa: Callable[..., Path]) -> None:
    root = write_ipa("a")
    (root / "video_id.te.json").write_text(json.dumps({"Violin": ["../../Violin/a", "a", 7]}))
    annotations = read_annotations(root)
    assert [video.id for video in annotations.videos] == ["a"]
    assert len(annotations.skipped) == 3  # and no list of drummers


@pytest.mark.parametrize("content", ["[1, 2]", "{", "[" * 100_000, "\x00"])
def test_a_broken_list_of_ids_is_one_line(write_ipa: Callable[..., Path], content: str) -> None:
    root = write_ipa("a")
    (root / "video_id.te.json").write_text(content)
    with pytest.raises(ClipError, match=r"^.*video_id.te.json: [^\n]+$"):
        read_annotations(root)


def test_an_unknown_tag_is_named(write_ipa: Callable[..., Path]) -> None:
    root = write_ipa("a")
    (root / "tag_list.instrument.csv").write_text("Kazoo,1,1\n")
    with pytest.raises(ClipError, match="unknown tag 'Kazoo'"):
        read_annotations(root)


def test_without_sizes_the_middle_is_not_known(write_ipa: Callable[..., Path]) -> None:
    with pytest.raises(ClipError, match="--videos"):
        center_baseline(read_annotations(write_ipa("a", has_sizes=False)))


def test_models_are_scored_on_videos_named_by_their_ids(
    write_ipa: Callable[..., Path], make_clip: Callable[..., Path], tmp_path: Path
) -> None:
    root = write_ipa("a", "b", "a", has_sizes=False)
    (tmp_path / "videos").mkdir()
    make_clip("videos/a.mp4", duration=7.0, size=(64, 36))
    report, _ = run(Request(root, "ipa", tmp_path / "videos", cache=tmp_path / "cache"))
    paper = report["outputs"]["action*object*sound"]["paper"]
    assert report["n_videos"] == 1
    assert paper["n"]["temporal_auc"]["violin"] == 1  # by id
    assert paper["n"]["spatial_px"]["violin"] == 2  # by the list
    assert paper["n"]["frames"]["violin"] == 2 * (5 + 2)  # 5 s, and 4 frames of the next 5
    assert 0 <= paper["spatial_px"]["violin"] < 256
    assert report["n_skipped"] == 1 + 1 + 2  # drummers, video b, the fragments after the end


def test_a_folder_without_the_videos_is_one_line(
    write_ipa: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(ClipError, match="none of the 1 videos"):
        run(Request(write_ipa("a"), "ipa", tmp_path))


def test_the_labels_are_ours() -> None:
    assert set(TABLE) == set(LABELS)

"""Garbage in every file of every data set: one line, or a counted skip; never a file outside."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from playspot.training import imagenet, medleydb
from playspot.training.clips import ClipError, ClipIndex, load_truth
from playspot.training.data_sets import NAMES, read
from playspot.training.ipa import read_points

# The file of each data set that says what there is, and a medium that it may name.
TABLES = {
    "bandstand": ("a.json", "a.mp4"),
    "folder": ("tags.csv", "a.mp4"),
    "audioset": ("eval_segments.csv", "a_0.mp4"),
    "youtube8m": ("fold.tr.txt", "a.mp4"),
    "ipa": ("video_id.te.json", "a.mp4"),
    "medleydb": ("a_SOURCEID.lab", "a_MIX.wav"),
    "imagenet": ("n02992211_1.xml", "n02992211_1.JPEG"),
    "magnatagatune": ("annotations_final.csv", "a.mp3"),
}
DEEP = 20_000  # far more than any reader can follow
LAUGHS = '<!DOCTYPE x [<!ENTITY a "ha">' + "".join(
    f'<!ENTITY a{n} "{"&a" + str(n - 1 if n else "") + ";" * 10}">' for n in range(10)
)
GARBAGE: dict[str, bytes] = {
    "nothing": b"",
    "binary": bytes(range(256)) * 40,
    "zeros": bytes(10_000),
    "latin-1": "Geige,Cello é\n".encode("latin-1") * 3,
    "utf-16": "file,labels\na.mp4,cello\n".encode("utf-16"),
    "half a character": b"file,labels\na.mp4,cell\xc3",
    "a line without end": b"a," * 500_001,
    "a huge field": b"a,0,10," + b"x" * 500_000 + b"\n",
    "too many columns": b"file,labels\n" + b",".join([b"a"] * 100_000),
    "quotes without end": b'a,"0,10\n"""","\n' * 100,
    "times": b"a,-1,10,cello\na,nan,inf,cello\na,1e999,2,cello\na,10,1,cello\na,0x1,,cello\n",
    "ways out": b"file,labels\n../../etc/passwd,cello\n/etc/passwd,drum\n~/x,drum\na/../../b,drum",
    "ids out": b"../../etc/passwd,0,10,cello\n/etc/passwd,0,10,/m/01xqw\n\x1b[2J,0,10,cello\n",
    "deep": b"[" * DEEP,
    "deep keys": b'{"a":' * DEEP,
    "deep tags": b"<a>" * DEEP,
    "a big number": b'{"seed": ' + b"9" * 6000 + b"}",
    "wrong types": b'{"played": {"a": 1}, "visible": [[]], "heard": [null], "seed": true}',
    "laughs": LAUGHS.encode() + b"]><annotation>&a9;</annotation>",
    "a file's content": b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotation>&a;</annotation>',
    "laughs in utf-16": LAUGHS.encode("utf-16"),
    "anchors": b"a: &a [x,x]\n" + b"".join(b"b%d: &b%d [*a,*a,*a]\n" % (n, n) for n in range(99)),
    "an object": b"!!python/object/apply:os.system ['touch owned']\n",
}


def npy(header: str, content: bytes = b"") -> bytes:
    """Return a file of NumPy with a header of its own."""
    return b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header.encode() + content


ARRAY = "{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}\n"
HEADERS = {
    "a pickle": npy(ARRAY.format("|O", "(1, 2)"), b"\x80\x04."),
    "a minus without end": npy("-" * 9000 + "1"),
    "brackets without end": npy("(" * 9000),
    "less than nothing": npy(ARRAY.format("<f8", "(-1, 2)"), bytes(64)),
    "True": npy(ARRAY.format("<f8", "(True, 2.0)"), bytes(16)),
    "too little": npy(ARRAY.format("<f8", "(3, 2)"), bytes(8)),
}


def outcome(name: str, root: Path) -> ClipIndex | str:
    """Read a data set; return the index or the line of the error, and check both."""
    try:
        index = read(name, root)
    except ClipError as error:
        return _checked(str(error))
    for _, reason in index.skipped:
        _checked(reason)
    for clip in index.clips:
        assert clip.path.resolve().is_relative_to(root.resolve())
        assert 0 <= clip.start < (clip.end or 1e9) < 1e10
    return index


def _checked(line: str) -> str:
    assert line.isprintable()
    assert len(line) < 1000
    return line


@pytest.mark.parametrize("name", NAMES)
def test_garbage_is_one_line_or_a_skip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    table, medium = TABLES[name]
    (tmp_path / medium).write_bytes(b"media")
    random = np.random.default_rng(0)
    noise = {f"noise {n}": random.bytes(n) for n in range(1, 200, 20)}
    for kind, content in (GARBAGE | noise).items():
        (tmp_path / table).write_bytes(content)
        try:
            outcome(name, tmp_path)
        except Exception as error:
            raise AssertionError(f"{table} that holds {kind}") from error
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_regular_file_is_one_line_or_a_skip(tmp_path: Path, name: str) -> None:
    table, medium = TABLES[name]
    os.mkfifo(tmp_path / medium)  # who opens it waits for ever
    os.mkfifo(tmp_path / table)
    outcome(name, tmp_path)
    for path in (tmp_path / medium, tmp_path / table):
        path.unlink()
        path.mkdir()
    outcome(name, tmp_path)


HEADS = {
    "folder": ("file,labels", "a.mp4", "cello;violin"),
    "audioset": ("# ids", "a", "0.000", "10.000", '"/m/01xqw,/m/07y_7"'),
    "medleydb": ("start_time,end_time,instrument_label", "0.5", "1.5", "cello"),
    "magnatagatune": ("clip_id\tcello\tflute\tmp3_path", '"1"', '"0"', '"1"', '"0/a.mp3"'),
}
FIELDS = ["", " ", "nan", "-inf", "1e400", "-5", "٣", "a", "\x00", '"', "..", "/", "é" * 300]


@pytest.mark.parametrize("name", HEADS)
def test_rows_with_a_wrong_field_are_skipped_and_the_others_read(tmp_path: Path, name: str) -> None:
    header, *row = HEADS[name]
    table, medium = TABLES[name]
    (tmp_path / medium).write_bytes(b"media")
    between = "\t" if "\t" in header else ","
    for place, field in itertools.product(range(len(row)), FIELDS):
        wrong = [*row[:place], field, *row[place + 1 :]]
        lines = [header, between.join(wrong), between.join(row)]
        (tmp_path / table).write_text("\n".join(lines), encoding="utf-8")
        found = outcome(name, tmp_path)
        if name != "medleydb" and not isinstance(found, str):  # a NUL is an error of the whole file
            assert len(found.clips) == 1, wrong


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "a.mp4").write_bytes(b"media")
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.mp4").symlink_to(secret / "a.mp4")
    (root / "folder").symlink_to(secret)
    (root / "round.mp4").symlink_to(root / "round.mp4")
    (root / "b.mp4").write_bytes(b"media")
    (root / "c.mp4").symlink_to(root / "b.mp4")
    found = outcome("folder", root)
    assert isinstance(found, ClipIndex)
    assert [clip.name for clip in found.clips] == ["b", "c"]
    assert [name for name, _ in found.skipped] == ["folder", "a.mp4", "round.mp4"]


def test_garbage_in_the_truth_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a_ACTIVATION_CONF.lab").write_bytes(b"time,S01\n0,1\n1,1\n")
    (tmp_path / "b_METADATA.yaml").write_bytes(b"stems: {S01: {instrument: cello}}")
    calls: dict[str, Callable[[], object]] = {
        "a_METADATA.yaml": lambda: medleydb.activations(tmp_path, "a"),
        "b_ACTIVATION_CONF.lab": lambda: medleydb.activations(tmp_path, "b"),
        "c.xml": lambda: imagenet.boxes(tmp_path, "c"),
        "d.json": lambda: load_truth(tmp_path / "d.json"),
        "0_5.0.npy": lambda: read_points(tmp_path / "0_5.0.npy"),
    }
    for kind, content in (GARBAGE | HEADERS).items():
        for name in calls:
            (tmp_path / name).write_bytes(content)
        medleydb._songs.cache_clear()  # the folder has changed
        imagenet._boxes_below.cache_clear()
        for name, call in calls.items():
            if (name, kind) == ("d.json", "wrong types"):
                continue  # of tags: not what this reads
            try:
                call()
            except ValueError as error:
                _checked(str(error))
            else:
                pytest.fail(f"{name} that holds {kind} was read")


@pytest.mark.parametrize(
    "steps",
    [
        "1",
        "[1]",
        '[{"step": 0}]',
        '[{"step": 0, "players": [{"label": [], "playing": true, "points": []}]}]',
        '[{"step": 0, "players": [{"label": "drum", "playing": 1, "points": []}]}]',
        '[{"step": 0, "players": [{"label": "drum", "playing": true, "points": [[1]]}]}]',
        '[{"step": 0, "players": [{"label": "drum", "playing": true, "points": [[NaN, 0]]}]}]',
        '[], "players": [{"label": "drum", "playing": [["a", 1]]}]',
        '[], "duration": "long"',
    ],
)
def test_a_truth_of_another_form_is_one_line(tmp_path: Path, steps: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(f'{{"steps": {steps}}}')
    with pytest.raises(ClipError, match=r"^a\.json: `(steps|players|duration)[.\w]*`: "):
        load_truth(path)


BOX = (
    "<a><size><width>{w}</width><height>9</height></size><object><name>cello</name>"
    "<bndbox><xmin>{x}</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox></object></a>"
)


@pytest.mark.parametrize(
    ("w", "x"), [("0", "1"), ("nan", "1"), ("9", "inf"), ("9", "6"), ("", "1")]
)
def test_boxes_that_cannot_be_are_refused(tmp_path: Path, w: str, x: str) -> None:
    path = tmp_path / "a.xml"
    path.write_text(BOX.format(w=w, x=x))
    with pytest.raises(ClipError, match="PASCAL VOC"):
        imagenet.read_boxes(path)

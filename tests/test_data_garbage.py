"""Garbage in every file of every data set: one line, or a counted skip; never a file outside."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from playspot.training import imagenet, medleydb
from playspot.training.clips import ClipError, ClipIndex
from playspot.training.data_sets import NAMES, read

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
DEEP = 20_000
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
    "a line without end": b"a," * 600_000,
    "a huge field": b"a,0,10," + b"x" * 500_000 + b"\n",
    "a column too many": b"file,labels\n" + b",".join([b"a"] * 400_000),
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
    "npy": b"\x93NUMPY" + struct.pack("<BBH", 1, 0, 20) + b"{'descr': '|O'}" + b"\x80\x04.",
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
@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_is_one_line_or_a_skip(tmp_path: Path, name: str, kind: str) -> None:
    table, medium = TABLES[name]
    (tmp_path / table).write_bytes(GARBAGE[kind])
    (tmp_path / medium).write_bytes(b"media")
    outcome(name, tmp_path)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("name", NAMES)
@settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_random_files_are_one_line_or_a_skip(tmp_path: Path, name: str, content: bytes) -> None:
    table, medium = TABLES[name]
    (tmp_path / table).write_bytes(content)
    (tmp_path / medium).write_bytes(b"media")
    outcome(name, tmp_path)


HEADS = {
    "folder": ("file,labels", "a.mp4", "cello;violin"),
    "audioset": ("# ids", "a", "0.000", "10.000", '"/m/01xqw,/m/07y_7"'),
    "medleydb": ("start_time,end_time,instrument_label", "0.5", "1.5", "cello"),
    "magnatagatune": ("clip_id\tcello\tflute\tmp3_path", '"1"', '"0"', '"1"', '"0/a.mp3"'),
}
FIELD = st.sampled_from(
    ["", " ", "nan", "-inf", "1e400", "-5", "٣", "a", "\x00", '"', "..", "/", "é" * 300, "0", "a;b"]
)


@pytest.mark.parametrize("name", HEADS)
@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_rows_with_a_wrong_field_are_skipped_and_the_others_read(
    tmp_path: Path, name: str, data: st.DataObject
) -> None:
    header, *row = HEADS[name]
    wrong = list(row)
    wrong[data.draw(st.integers(0, len(row) - 1))] = data.draw(FIELD)
    between = "\t" if "\t" in header else ","
    lines = [header, between.join(wrong), between.join(row)]
    table, medium = TABLES[name]
    (tmp_path / table).write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / medium).write_bytes(b"media")
    found = outcome(name, tmp_path)
    if name != "medleydb" and not isinstance(found, str):  # a NUL is an error of the whole file
        assert len(found.clips) == 1


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


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_in_the_truth_is_one_line(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a_METADATA.yaml").write_bytes(GARBAGE[kind])
    (tmp_path / "a_ACTIVATION_CONF.lab").write_bytes(b"time,S01\n0,1\n1,1\n")
    (tmp_path / "b_METADATA.yaml").write_bytes(b"stems: {S01: {instrument: cello}}")
    (tmp_path / "b_ACTIVATION_CONF.lab").write_bytes(GARBAGE[kind])
    (tmp_path / "c.xml").write_bytes(GARBAGE[kind])
    calls: list[Callable[[], object]] = [
        lambda: medleydb.activations(tmp_path, "a"),
        lambda: medleydb.activations(tmp_path, "b"),
        lambda: imagenet.boxes(tmp_path, "c"),
    ]
    for call in calls:
        with pytest.raises(ClipError) as caught:
            call()
        assert str(caught.value).isprintable()


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

"""Data sets in their published formats: small ones made here, and the real lists where they are."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from playspot.models.labels import LABELS
from playspot.training import imagenet, medleydb
from playspot.training.clips import ClipError
from playspot.training.data_sets import NAMES, guess, read
from playspot.training.vocabularies import WORDS, Words, by_word

Put = Callable[..., Path]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Return a function that writes a file below the test's folder."""

    def write(name: str, content: str | bytes = b"media") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def test_every_label_has_its_words_and_no_word_two_labels() -> None:
    assert tuple(WORDS) == LABELS
    for field in Words._fields:
        words = [word for row in WORDS.values() for word in getattr(row, field)]
        assert len({word.lower() for word in words}) == len(words)


def test_our_words_are_those_of_the_data_sets(shared: Path) -> None:
    tags = (shared / "data/clip2frame/tag_list.top188.txt").read_text().split("\n")
    index = (shared / "data/annotations/audioset/class_labels_indices.csv").read_text()
    stems = {
        line.split(",")[2]
        for path in (shared / "data/annotations/medleydb_source_id").glob("*.lab")
        for line in path.read_text().splitlines()
    }
    for words in WORDS.values():
        assert set(words.magnatagatune) <= set(tags)
        assert all(f"{mid}," in index for mid in words.audioset)
        assert set(words.medleydb) <= stems


# AudioSet ---------------------------------------------------------------------------------------

GOOGLE = """# Segments csv created Sun Mar  5 10:54:31 2017
# num_ytids=3, num_segs=3, num_unique_labels=4, num_positive_labels=5
# YTID, start_seconds, end_seconds, positive_labels
--4gqARaEJE, 0.000, 10.000, "/m/068hy,/m/07q6cd_,/m/0bt9lr,/m/0jbk"
--BfvyPmVMo, 20.000, 30.000, "/m/03l9g,/m/01xqw,/m/07y_7"
-nope_nope-, 30.000, 40.000, "/m/0342h"
"""


def test_segments_as_google_publishes_them(tmp_path: Path, put: Put) -> None:
    put("balanced_train_segments.csv", GOOGLE)
    put("wav/--BfvyPmVMo_20000_30000.flac")
    index = read("audioset", tmp_path)
    assert [(clip.name, clip.heard, clip.split) for clip in index.clips] == [
        ("--BfvyPmVMo_20000_30000", ("cello", "violin"), "training")
    ]
    assert [name for name, _ in index.skipped] == ["-nope_nope-"]


def test_segments_as_the_authors_publish_them(tmp_path: Path, put: Put) -> None:
    put("eval_segments.all.csv", "-JUBdOr8Hes,30.000,40.000,Accordion,Singing\nbad row\n")
    put("-JUBdOr8Hes_000030.mp4")
    index = read("audioset", tmp_path)
    assert [(clip.heard, clip.split) for clip in index.clips] == [(("accordion",), "validation")]
    assert index.skipped == (("eval_segments.all.csv:2", "not `id, start, end, labels`"),)


def test_a_segment_of_a_whole_video_is_a_part_of_it(
    tmp_path: Path, put: Put, make_clip: Callable[..., Path]
) -> None:
    put("x_segments.csv", "whole,2,3,Flute\ncut,30,31,Flute\n")
    for name, duration in (("whole", 4.0), ("Ycut", 1.0)):
        make_clip(f"{name}.wav", duration=duration, size=None, audio_codec="pcm_s16le")
    clips = {clip.name: clip for clip in read("audioset", tmp_path).clips}
    assert clips.keys() == {"whole_2-3", "Ycut"}
    assert (clips["whole_2-3"].start, clips["whole_2-3"].end) == (2.0, 3.0)
    assert not clips["Ycut"].is_part


def test_rows_of_one_part_are_joined(tmp_path: Path, put: Put) -> None:
    put("x_segments.csv", "ab_cd,0,10,Flute\nab_cd,0,10,Piano\n")
    put("ab_cd_0.wav")
    assert [clip.heard for clip in read("audioset", tmp_path).clips] == [("flute", "piano")]


def test_the_authors_choice_of_audioset_is_read_whole(shared: Path) -> None:
    index = read("audioset", shared / "data/ipa/song_list")
    assert len(index.skipped) == 37_954 + 921  # each row has a label; no media lie there


# YouTube-8M -------------------------------------------------------------------------------------


def test_lists_of_youtube8m_give_the_first_minutes(tmp_path: Path, put: Put) -> None:
    put("fold.tr.txt", "---2pGwkL7M\n--00kIHI1pM\n")
    put("fold.va.txt", "--2B4d4lQhs\n")
    put("tags.csv", "file,labels\n--2B4d4lQhs,Drummer;Guitar\n")
    put("a/---2pGwkL7M.webm")
    put("b/--2B4d4lQhs.mp4")
    index = read("youtube8m", tmp_path)
    assert [(clip.path.name, clip.split, clip.end, clip.played) for clip in index.clips] == [
        ("---2pGwkL7M.webm", "training", 60.0, ()),
        ("--2B4d4lQhs.mp4", "validation", 60.0, ("drum", "guitar")),
    ]
    assert [name for name, _ in index.skipped] == ["--00kIHI1pM"]


def test_the_authors_lists_of_youtube8m_are_read_whole(shared: Path) -> None:
    index = read("youtube8m", shared / "data/ipa/song_list/YouTube8M")
    assert len(index.skipped) == 16_804 + 2_100


# MedleyDB ---------------------------------------------------------------------------------------

METADATA = "stems:\n  S01: {instrument: violin}\n  S02: {instrument: clean electric guitar}\n"


def test_songs_have_the_instruments_that_sound(tmp_path: Path, put: Put) -> None:
    put("A_B_SOURCEID.lab", "start_time,end_time,instrument_label\n1.5,2.5,cello\n2,3,cello\n")
    put("C_D_METADATA.yaml", METADATA)
    put("Audio/A_B/A_B_MIX.wav")
    put("Audio/A_B/A_B_STEMS/A_B_STEM_01.wav")
    put("Audio/C_D/C_D_MIX.flac")
    put("E_F_SOURCEID.lab", "start_time,end_time,instrument_label\n0,1,flute\n")
    index = read("medleydb", tmp_path)
    assert [(clip.name, clip.heard, clip.split) for clip in index.clips] == [
        ("A_B", ("cello",), "test"),
        ("C_D", ("guitar", "violin"), "test"),
    ]
    assert index.skipped == (("E_F", "no mix of this song below the folder"),)
    np.testing.assert_array_equal(medleydb.activations(tmp_path, "A_B")["cello"], [[1.5, 3.0]])


def test_confidences_become_intervals(tmp_path: Path, put: Put) -> None:
    put("C_D_METADATA.yaml", METADATA)
    put("C_D_ACTIVATION_CONF.lab", "time,S01,S02\n0,0.9,0\n1,0.6,0.4\n2,0.1,0.8\n3,0.5,0.9\n")
    found = medleydb.activations(tmp_path, "C_D")
    assert {label: times.tolist() for label, times in found.items()} == {
        "guitar": [[2.0, 3.0]],
        "violin": [[0.0, 1.0]],
    }


def test_the_songs_of_medleydb_are_those_of_the_papers_table_5(shared: Path) -> None:
    root = shared / "data/annotations/medleydb_source_id"
    songs = [medleydb.activations(root, song) for song in medleydb.songs(root)]
    counts = Counter(label for song in songs for label in song)
    assert [counts[label] for label in LABELS] == [5, 11, 65, 10, 64, 43, 5, 7, 14]
    assert sum(bool(song) for song in songs) == 111


def test_confidences_and_source_ids_of_medleydb_say_the_same(shared: Path) -> None:
    both = shared / "data/annotations"
    alone = [both / "medleydb_activation_conf", both / "medleydb_metadata"]
    for song in ("MusicDelta_ModalJazz", "MusicDelta_Reggae", "MusicDelta_CoolJazz"):
        said = medleydb.activations(both / "medleydb_source_id", song)
        stems = medleydb._stems(alone[1] / f"{song}_METADATA.yaml")
        found = medleydb._of_confidence(alone[0] / f"{song}_ACTIVATION_CONF.lab", stems)
        assert found.keys() == said.keys()
        for label, parts in found.items():
            np.testing.assert_allclose(medleydb._merged(parts), said[label], atol=1e-4)


# ImageNet ---------------------------------------------------------------------------------------

VOC = """<annotation><folder>n02992211</folder><filename>n02992211_7</filename>
<size><width>400</width><height>200</height><depth>3</depth></size><segmented>0</segmented>
<object><name>{name}</name><pose>Unspecified</pose><truncated>0</truncated>
<bndbox><xmin>100</xmin><ymin>50</ymin><xmax>300</xmax><ymax>{ymax}</ymax></bndbox></object>
</annotation>"""


def test_boxes_of_imagenet_are_parts_of_the_picture(tmp_path: Path, put: Put) -> None:
    put("Annotation/n02992211/n02992211_7.xml", VOC.format(name="n02992211", ymax=210))
    put("images/n02992211/n02992211_7.JPEG")
    put("images/n02992211/n02992211_8.JPEG")
    put("val/ILSVRC2012_val_00000001.JPEG")
    put("boxes/ILSVRC2012_val_00000001.xml", VOC.format(name="n04515003", ymax=100))
    put("images/n01440764/n01440764_1.JPEG")  # a fish
    index = read("imagenet", tmp_path)
    assert [(clip.name, clip.visible) for clip in index.clips] == [
        ("ILSVRC2012_val_00000001", ("piano",)),
        ("n02992211_7", ("cello",)),
        ("n02992211_8", ("cello",)),
    ]
    boxes = imagenet.boxes(tmp_path, index.clips[1].path)
    np.testing.assert_array_equal(boxes["cello"], [[0.25, 0.25, 0.75, 1.0]])
    assert [clip.truth is None for clip in index.clips] == [False, False, True]


# MagnaTagATune, plain folders, and telling them --------------------------------------------------


def test_tags_of_magnatagatune_become_labels(tmp_path: Path, put: Put) -> None:
    rows = [
        ["clip_id", "no piano", "guitars", "sax", "fiddle", "mp3_path"],
        ["2", "1", "1", "0", "1", "f/artist-name-01-title-30-59.mp3"],
        ["6", "0", "0", "1", "0", "c/artist-name-02-title-0-29.mp3"],
        ["7", "0", "0", "2", "0", "c/artist-name-03-title-0-29.mp3"],
        ["8", "0", "0", "1", "0", "../../../etc/passwd"],
    ]
    text = "\n".join("\t".join(f'"{field}"' for field in row) for row in rows)
    put("annotations_final.csv", text)
    put("f/artist-name-01-title-30-59.mp3")
    put("c/artist-name-02-title-0-29.mp3")
    index = read("magnatagatune", tmp_path)
    assert [(clip.heard, clip.split) for clip in index.clips] == [
        (("guitar", "violin"), "test"),
        (("saxophone",), "validation"),
    ]
    assert [name for name, _ in index.skipped] == ["annotations_final.csv:4", "passwd"]


def test_a_plain_folder_has_the_tags_of_its_table(tmp_path: Path, put: Put) -> None:
    put("tags.csv", "\ufefffile,labels\nsub/a.mp4,violin;Cello\nb,\nc.wav,kazoo\ngone.mp4,flute\n")
    for name in ("sub/a.mp4", "b.mp3", "c.wav", "d.jpg"):
        put(name)
    index = read("folder", tmp_path)
    assert {clip.name: clip.played for clip in index.clips} == {
        "a": ("cello", "violin"),
        "b": (),
        "c": (),
        "d": (),
    }
    reasons = dict(index.skipped)
    assert "unknown label 'kazoo'" in reasons["tags.csv:4"]
    assert reasons["gone"] == "no file of this name in the folder"


def test_clips_of_one_name_in_two_folders_are_told_apart(tmp_path: Path, put: Put) -> None:
    for name in ("x/a.mp4", "y/a.mp4", "b.mp4"):
        put(name)
    assert [clip.name for clip in read("folder", tmp_path).clips] == ["b", "x__a", "y__a"]


def test_of_a_video_and_its_sound_and_cover_the_video_is_taken(tmp_path: Path, put: Put) -> None:
    for name in ("a.wav", "a.mp4", "a.jpg", "b.flac", "b.png", "a.annotated.mp4"):
        put(name)
    index = read("folder", tmp_path)
    assert [clip.path.name for clip in index.clips] == ["a.mp4", "b.flac"]
    assert index.skipped == ()


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("audioset", ("balanced_train_segments.csv", "a.wav")),
        ("youtube8m", ("lists/fold.tr.txt",)),
        ("ipa", ("tag_list.instrument.csv", "fold.tr.txt")),
        ("medleydb", ("x_SOURCEID.lab",)),
        ("imagenet", ("a.xml", "a.JPEG")),
        ("magnatagatune", ("annotations_final.csv",)),
        ("bandstand", ("a.mp4", "a.json")),
        ("folder", ("a.mp4", "tags.csv")),
    ],
)
def test_a_folder_is_told_by_its_files(tmp_path: Path, put: Put, name: str, files: str) -> None:
    for file in files:
        put(file)
    assert guess(tmp_path) == name


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_folder_is_an_error_of_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(ClipError) as caught:
        read(name, tmp_path)
    assert "\n" not in str(caught.value)


def test_our_labels_are_words_of_every_data_set() -> None:
    for field in Words._fields:
        assert by_word(field).keys() >= set(LABELS)

"""What a terminal shows, and what a program that reads along gets."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from playspot.stream.media import SourceInfo
from playspot.stream.played import Played
from playspot.stream.table import LiveView, part_line, place_text, print_line, print_summary

MakePlayed = Callable[..., Played]
BOX = (0.25, 0.25, 0.75, 0.75)
INFO = SourceInfo(name="clip", has_video=True, has_audio=True, duration=10.0)


def console(*, is_terminal: bool, encoding: str = "utf-8", width: int = 110) -> Console:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    return Console(
        file=file, force_terminal=is_terminal, width=width, color_system=None, legacy_windows=False
    )


def shown(screen: Console) -> str:
    raw: bytes = screen.file.buffer.getvalue()  # type: ignore[attr-defined]
    return raw.decode(screen.encoding)


@pytest.fixture
def played(make_played: MakePlayed) -> Played:
    return make_played(
        70.0,
        ("violin", 2, 11, (0.1, 0.2), BOX, 0.75),
        ("drum", 20, 130, (0.5, 0.5), BOX, 0.5),
    )


def test_the_table_says_which_when_where_and_how_sure(played: Played) -> None:
    screen = console(is_terminal=True)
    print_summary(screen, played)
    header, violin, drum = shown(screen).splitlines()
    assert header.split()[:3] == ["instrument", "from", "to"]
    for fact in ("violin", "0:00.8", "0:05.9", "5.1 s", "0.75", "upper left (10 %, 20 %)"):
        assert fact in violin
    for fact in ("drum", "0:10.0", "1:06.8", "0.50", "centre (50 %, 50 %)"):
        assert fact in drum


def test_without_a_terminal_there_is_a_plain_line_a_part(played: Played) -> None:
    screen = console(is_terminal=False, width=20)
    print_summary(screen, played)
    lines = shown(screen).splitlines()
    assert lines == [part_line(part) for part in played.parts]


def test_nothing_detected_says_what_came_nearest(make_played: MakePlayed) -> None:
    quiet = make_played(3.0)
    for is_terminal in (True, False):
        screen = console(is_terminal=is_terminal)
        print_summary(screen, quiet)
        assert "nothing detected (nearest to it: accordion 0.05 at 0:00.0)" in shown(screen)
    screen = console(is_terminal=False)
    print_summary(screen, Played(["drum"]))
    assert "no step" in shown(screen)


def test_many_parts_are_summed_up_by_instrument(make_played: MakePlayed) -> None:
    parts = [("violin", 3 * i, 3 * i, None, None, 0.5) for i in range(60)]
    screen = console(is_terminal=True)
    print_summary(screen, make_played(100.0, *parts))
    _, violin = shown(screen).splitlines()
    assert violin.split()[1:] == ["60", "0:00.0", "1:30.9", "30.5", "s", "0.50"]


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ((0.0, 0.0), "upper left"),
        ((0.5, 0.1), "top"),
        ((0.9, 0.1), "upper right"),
        ((0.1, 0.5), "left"),
        ((0.5, 0.5), "centre"),
        ((1.0, 1.0), "lower right"),
        ((0.5, 0.9), "bottom"),
        (None, "no picture"),
    ],
)
def test_places_have_names(point: tuple[float, float] | None, words: str) -> None:
    assert place_text(point).split(" (")[0] == words


def test_the_view_shows_progress_speed_and_who_plays(make_played: MakePlayed) -> None:
    played = make_played(5.0, ("violin", 2, 99, (0.1, 0.2), BOX, 0.75))
    screen = console(is_terminal=True)
    with LiveView(screen, Path("concert.mp4")) as view:
        view.opened(INFO)
        view.step(played)
    text = shown(screen)
    for fact in ("concert.mp4", "0:05 / 0:10", "x real time", "violin", "0.75", "since 0:00.8"):
        assert fact in text


def test_the_view_is_drawn_ten_times_a_second_at_most(
    make_played: MakePlayed, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = 100.0
    monkeypatch.setattr("playspot.stream.table.time.monotonic", lambda: wall)
    screen = console(is_terminal=True)
    played = make_played(5.0)
    with LiveView(screen, Path("concert.mp4")) as view:
        view.opened(INFO)
        view.step(played)
        length = len(shown(screen))
        view.step(played)
        assert len(shown(screen)) == length
        wall += 0.11
        view.step(played)
        assert len(shown(screen)) > length


def test_the_view_goes_on_while_the_video_is_drawn(make_played: MakePlayed) -> None:
    screen = console(is_terminal=True)
    with LiveView(screen, Path("concert.mp4")) as view:
        view.opened(INFO)
        view.drawn(1.0)
    assert "drawing" in shown(screen)
    assert "100%" in shown(screen)


def test_a_file_of_unknown_length_has_no_percentage(make_played: MakePlayed) -> None:
    screen = console(is_terminal=True)
    with LiveView(screen, Path("concert.mp4")) as view:
        view.opened(SourceInfo(name="clip", has_video=True, has_audio=True))
        view.step(make_played(5.0))
    assert "0:05   " in shown(screen)


def test_without_a_terminal_each_begin_and_end_is_told_once(make_played: MakePlayed) -> None:
    screen = console(is_terminal=False)
    with LiveView(screen, Path("concert.mp4")) as view:
        view.opened(INFO)
        for duration in (1.0, 3.0, 5.0, 8.0, 8.5):
            view.step(make_played(duration, ("violin", 4, 9, (0.1, 0.2), BOX, 0.75)))
        view.drawn(0.5)
    assert shown(screen).splitlines() == [
        "0:01.8  violin begins, upper left (10 %, 20 %)",
        "0:04.9  violin ends (since 0:01.8, 0.75)",
    ]


def test_control_characters_and_markup_of_a_name_are_shown_not_obeyed(
    make_played: MakePlayed,
) -> None:
    screen = console(is_terminal=True)
    with LiveView(screen, Path("[bold]a\x1b[31m\n.mp4")) as view:
        view.opened(INFO)
        view.step(make_played(5.0))
    assert r"'[bold]a\x1b[31m\n.mp4'" in shown(screen)


def test_letters_that_the_terminal_lacks_are_escaped() -> None:
    screen = console(is_terminal=False, encoding="ascii")
    print_line(screen, "Flöte 笛 \udcff")
    assert shown(screen) == "Fl\\xf6te \\u7b1b \\udcff\n"


def test_the_view_works_on_a_terminal_of_ascii(make_played: MakePlayed) -> None:
    screen = console(is_terminal=True, encoding="ascii")
    with LiveView(screen, Path("Flöte.mp4")) as view:
        view.opened(INFO)
        view.step(make_played(5.0, ("violin", 2, 99, (0.1, 0.2), BOX, 0.75)))
    print_summary(screen, make_played(5.0, ("violin", 2, 99, (0.1, 0.2), BOX, 0.75)))
    assert "Fl\\xf6te.mp4" in shown(screen)

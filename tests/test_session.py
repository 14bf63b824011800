import json

import pytest

from playspot.stream.config import SourceConfig
from playspot.stream.media import SourceInfo
from playspot.stream.session import SERIAL_BITS, Session, base_of
from playspot.stream.timeline import STEP

INFO = SourceInfo("stage", has_video=True, has_audio=False, width=640, height=360)
CONFIG = SourceConfig(url="rtsp://user:secret@127.0.0.1/x", labels=("violin",))


def test_a_session_survives_the_way_through_a_message_without_its_password() -> None:
    session = Session(7, INFO, 12, CONFIG)
    text = json.dumps(session.to_json())
    again = Session.from_json(7, json.loads(text))
    assert (again.number, again.info, again.base) == (7, INFO, 12)
    assert again.config.labels == ("violin",)
    assert "secret" not in text


@pytest.mark.parametrize("data", [{}, {"info": {}, "base": 0, "config": {}}, {"info": 3}])
def test_what_is_no_announcement_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"session|SourceConfig"):
        Session.from_json(1, data)


def test_the_base_is_where_the_clock_says() -> None:
    assert base_of(100.0 + 20 * STEP, 100.0, 3) == 20


def test_time_never_runs_backwards_over_sessions() -> None:
    assert base_of(100.0, 100.0, 33) == 33


def test_a_reader_never_comes_to_the_session_numbers_of_the_next() -> None:
    a_year_of_one_picture_looped = 25 * 86_400 * 366
    assert a_year_of_one_picture_looped < 1 << SERIAL_BITS

"""What is recorded of one event: which pictures its clip gets when, and the moment of its snapshot.

In: the messages of the event, and the film of its source. Out: what is to be written next. Nothing
is written here.
"""

import time
from dataclasses import dataclass, field

from .events import Event
from .film import Film
from .output_config import RecordingsConfig
from .previews import Heard, Preview
from .stored_event import began_at
from .timeline import STEP

NEAR = STEP / 2  # s; a picture that is further from a moment does not show it
LATE = 3.0  # s after which a picture does not come any more
SOUND_LATE = 1.0  # s that sound may come after the pictures of its time
SILENCE = 60.0  # s without a message after which an event counts as over
IN_A_BIT = 16  # pictures that are written at once


@dataclass
class Bit:
    """A part of a clip: what to write next, whether that is all, whether there is sound at all."""

    pictures: list[Preview] = field(default_factory=list)
    sound: list[Heard] = field(default_factory=list)
    is_last: bool = False
    has_sound: bool = False


class Recording:
    """One event on its way into a snapshot and a clip.

    Parameters
    ----------
    config : RecordingsConfig
    event : Event
        The first message of it.

    Attributes
    ----------
    event : Event
        The last message.
    began_at : float
        Unix time.
    is_clipped : bool
        Whether the clip is complete, or there is to be none.
    has_ended : bool
        Whether the event is over.
    """

    def __init__(self, config: RecordingsConfig, event: Event) -> None:
        self._config = config
        self.event = event
        self.began_at = began_at(event)
        self.is_clipped = not config.clips
        self.has_ended = False
        self.top_score = -1.0  # of the snapshot
        self._shot: Event | None = None  # its moment, while the picture is not there yet
        self._heard = time.monotonic()
        self._first = max(0.0, event.start_time - config.before)
        self._seen = event.time
        self._reached = self._first - 1e-6  # media time up to which the clip was written
        self._samples = 0
        self._end: float | None = None
        self.note(event)

    def note(self, event: Event) -> None:
        """Take in a message of the event."""
        self.event, self._heard = event, time.monotonic()
        if event.type == "end":
            self._close(event.end_time)
            return
        self._seen = max(self._seen, event.time)
        best = max(self.top_score, self._shot.score if self._shot is not None else -1.0)
        if self._config.snapshots and event.score > best and not self.has_ended:
            self._shot = event

    def close(self) -> None:
        """Take it that the event is over, whatever was said."""
        self._close(None)

    def look(self) -> None:
        """Take it that the event is over if nothing was heard of it for long."""
        if time.monotonic() - self._heard > SILENCE:
            self._close(None)

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be done."""
        return self.has_ended and self.is_clipped and self._shot is None

    @property
    def wanted_from(self) -> float:
        """Media time from which pictures are still wanted."""
        return self._reached if not self.is_clipped else float("inf")

    def shot(self, film: Film) -> tuple[Event, Preview] | None:
        """Return the moment that the snapshot is to show, once there is a picture of it."""
        if self._shot is None:
            return None
        picture = film.nearest(self._shot.time, NEAR)
        moment = self._shot
        if picture is None or film.newest < moment.time:
            is_late = time.monotonic() - self._heard > LATE or film.newest > moment.time + NEAR
            if not is_late and not self.has_ended:
                return None
        self._shot = None
        if picture is None:
            return None
        self.top_score = moment.score
        return moment, picture

    def take_bit(self, film: Film, *, is_final: bool = False) -> Bit | None:
        """Return the next part of the clip, None if it is not there yet.

        Parameters
        ----------
        film : Film
        is_final : bool
            No more pictures will come.
        """
        until, is_settled = self._until()
        bit = Bit(has_sound=self._config.sound and film.has_sound)
        for picture in film.pictures(self._reached, until):
            if len(bit.pictures) == IN_A_BIT:
                break
            bit.pictures.append(picture)
        if bit.pictures:
            self._reached = bit.pictures[-1].time
        has_all = len(bit.pictures) < IN_A_BIT
        bit.is_last = has_all and is_settled and (is_final or self._is_past(film, until))
        if bit.has_sound:
            bit.sound = film.sound(self._samples, until if bit.is_last else self._reached)
        if bit.sound:
            self._samples = bit.sound[-1].start + 1
        return bit if bit.pictures or bit.is_last else None

    def begin_again(self) -> None:
        """Write the clip anew, with what the film still has of it."""
        self._reached, self._samples = self._first - 1e-6, 0

    def _until(self) -> tuple[float, bool]:
        """Return up to where pictures belong to the clip for sure, and whether that is its end."""
        end = self._end if self._end is not None else self._seen + STEP / 2
        until, most = end + self._config.after, self._first + self._config.longest
        return min(until, most), self._end is not None or until >= most

    def _is_past(self, film: Film, until: float) -> bool:
        until += SOUND_LATE * self._config.sound
        due = film.captured(until)
        if film.newest >= until or due is None:
            return True
        return time.monotonic() > max(due, self._heard) + LATE

    def _close(self, end: float | None) -> None:
        if not self.has_ended:
            self._end = end if end is not None else self._seen + STEP / 2
        self.has_ended = True

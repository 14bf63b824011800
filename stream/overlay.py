"""What was played, laid over the frames of its video one after the other.

In: parts and playing maps, and frames with their media times, which increase. Out: the frames with
everything drawn that is going on at their time.
"""

import math

import numpy as np
from numpy.typing import NDArray

from .drawing import DARK, LIGHT, Canvas, Patch, colour_of, make_patch
from .played import Part, Played
from .spool import HalfMap, MapSpool
from .timeline import STEP

STRIP_OPACITY = 140  # of 255: where nothing is played
MAP_LIMIT = 0.05  # heat of a map whose maximum is below this is not drawn


class Overlay:
    """Everything to be drawn, at any time from the start to the end.

    Parameters
    ----------
    played : Played
    spool : MapSpool, optional
        Without it there is no heat.
    """

    def __init__(self, played: Played, spool: MapSpool | None) -> None:
        self._coming = sorted(played.parts, key=lambda part: part.start, reverse=True)
        self._strip = Strip(played)
        self._spool = spool
        self._active: list[Part] = []
        self._maps: dict[int, dict[str, HalfMap]] = {}

    def draw(self, canvas: Canvas, time: float) -> None:
        """Draw what is going on at a media time; later than the time before."""
        while self._coming and self._coming[-1].start <= time:
            self._active.append(self._coming.pop())
        self._active = [part for part in self._active if time < part.end]
        floor = canvas.height - self._strip.height(canvas)
        for label in dict.fromkeys(part.label for part in self._active):
            scores = self._map(label, time)
            if scores is not None and scores.max() >= MAP_LIMIT:
                canvas.heat(scores, colour_of(label))
        marks = [(part.label, part.at(time)) for part in self._active]
        for label, mark in marks:
            if mark.box is not None:
                canvas.box(mark.box, colour_of(label))
        for label, mark in marks:
            if mark.point is not None:
                canvas.point(mark.point, colour_of(label))
        canvas.tags(
            [
                (f"{label} {mark.score:.2f}", label, colour_of(label), mark.box, mark.point)
                for label, mark in marks
            ],
            floor,
        )
        self._strip.draw(canvas, time)

    def _map(self, label: str, time: float) -> NDArray[np.float32] | None:
        # Between two steps the map goes evenly from the one to the other.
        place = max(0.0, time / STEP)
        step = math.floor(place)
        share = np.float32(place - step)
        before, after = (self._read(k).get(label) for k in (step, step + 1))
        if before is None:
            return None if after is None else after.astype(np.float32) * share
        scores = before.astype(np.float32) * (1 - share)
        if after is not None and after.shape == before.shape:
            scores += after * share
        return scores

    def _read(self, step: int) -> dict[str, HalfMap]:
        if step not in self._maps:
            self._maps = {k: maps for k, maps in self._maps.items() if k >= step - 1}
            self._maps[step] = self._spool.read(step) if self._spool is not None else {}
        return self._maps[step]


class Strip:
    """A strip along the bottom: one row a label, all parts in their colours, and where we are.

    Parameters
    ----------
    played : Played
        Labels without a part get no row; without any part there is no strip.
    """

    def __init__(self, played: Played) -> None:
        self._parts = played.parts
        self._duration = max(played.duration, 1e-3)
        with_parts = {part.label for part in self._parts}
        self._labels = [label for label in played.labels if label in with_parts]
        self._patches: tuple[Patch, Patch] | None = None

    def height(self, canvas: Canvas) -> int:
        """Return how many rows of pixels of a canvas the strip takes."""
        row, gap = self._row(canvas)
        height = len(self._labels) * (row + gap) + gap
        height += height % 2
        # A strip of many labels would hide a very small picture.
        return height if self._labels and height <= canvas.height // 4 else 0

    def draw(self, canvas: Canvas, time: float) -> None:
        """Draw the strip with its playhead at a media time."""
        height = self.height(canvas)
        if not height:
            return
        if self._patches is None:
            self._patches = self._strip(canvas, height), _playhead(canvas, height)
        strip, playhead = self._patches
        top = canvas.height - canvas.height % 2 - height
        canvas.paste(strip, 0, top)
        x = round(min(max(time / self._duration, 0.0), 1.0) * canvas.width)
        canvas.paste(playhead, x - playhead.width // 2, top)

    def _row(self, canvas: Canvas) -> tuple[int, int]:
        side = min(canvas.width, canvas.height)
        return max(3, round(side / 150)), max(1, round(side / 500))

    def _strip(self, canvas: Canvas, height: int) -> Patch:
        width = canvas.width - canvas.width % 2
        row, gap = self._row(canvas)
        image = np.full((height, width, 3), DARK, np.uint8)
        opacity = np.full((height, width), STRIP_OPACITY, np.uint8)
        for part in self._parts:
            y = gap + self._labels.index(part.label) * (row + gap)
            x0 = int(part.start / self._duration * width)
            x1 = max(x0 + 1, math.ceil(part.end / self._duration * width))
            image[y : y + row, x0:x1] = colour_of(part.label)
            opacity[y : y + row, x0:x1] = 255
        return make_patch(image, opacity, canvas.coding)


def _playhead(canvas: Canvas, height: int) -> Patch:
    width = 2 * max(2, canvas.line + 1)
    image = np.full((height, width, 3), DARK, np.uint8)
    image[:, width // 4 : width - width // 4] = LIGHT
    return make_patch(image, np.full((height, width), 230, np.uint8), canvas.coding)

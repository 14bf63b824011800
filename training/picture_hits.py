"""Hit rate of an object model on photographs with boxes, as the paper measures it on ImageNet."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .paper_metrics import PaperTally, in_pixels, picture_size
from .scores import ClipScores


class PictureHits:
    """Whether maxima lie in boxes, picture by picture, and the report made of it.

    Source: Liu, Yang and Jeng 2018, section V-B2 (TABLE VII).
    """

    def __init__(self, labels: tuple[str, ...]) -> None:
        self.labels = labels
        self._tally = PaperTally()

    def add(self, name: str, boxes: Mapping[str, NDArray[np.float64]], scores: ClipScores) -> None:
        """Add a picture: its boxes (n, 4) by label, normalised x0, y0, x1, y1, and its map."""
        if scores.object_map is None:
            return
        size = picture_size(scores.width, scores.height)
        for k, label in enumerate(self.labels):
            if label in boxes:
                own = in_pixels(boxes[label], size)
                self._tally.add_hits(name, label, scores.object_map[:1, k], [own], size)

    def report(self) -> dict[str, Any]:
        """Return `hit_rate`, `n` (pictures) and `intervals` over pictures."""
        found = self._tally.report(self.labels)
        return {
            "hit_rate": found.get("hit_rate", {}),
            "n": {"hit_rate": found["n"].get("hit_rate", {})},
            "intervals": {"hit_rate": found["intervals"].get("hit_rate", {})},
        }

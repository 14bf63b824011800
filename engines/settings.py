"""How the scores of a model set are fused and decoded: weights, calibration, thresholds.

They belong to the models, not to the user's taste, so they travel with them (the `fusion` table of
a model set's TOML, the header of a bundled model); the user may still override what is shown.
"""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

Mode = Literal["action", "action*object", "action*sound", "action*object*sound"]
ModalityName = Literal["action", "object", "sound"]
MODALITIES: tuple[ModalityName, ...] = ("action", "object", "sound")


class Decoding(BaseModel):
    """Fusion weights, score calibration and event thresholds.

    The fused score is the weighted geometric mean g of the modalities that the mode names and
    that are present: the paper's point-wise product, put back on the scale of one score, so that
    a missing modality leaves the scale as it is. Where a label has a slope or a bias, the score
    is `sigmoid(slope * logit(g) + bias)`.

    Attributes
    ----------
    mode : str
        Which modalities are multiplied (paper, section III-B).
    weights : dict
        Exponent of each modality; normalised over those present. Absent ones count 1.
    slope, bias : dict of label to float
        Recalibration of the fused score (only while all modalities of the mode are present).
    on, off : float
        A detection begins at a score of `on` and lasts while it is at least `off`.
    label_on, label_off : dict of label to float
        Exceptions to `on` and `off`.
    min_duration, gap_merge : float
        Seconds. Shorter events are not reported; shorter gaps do not end one.
    region : float
        A region reaches to this fraction of its peak's score (but not below `off`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Mode = "action*object*sound"
    weights: dict[ModalityName, float] = Field(default_factory=dict)
    slope: dict[str, float] = Field(default_factory=dict)
    bias: dict[str, float] = Field(default_factory=dict)
    on: float = Field(default=0.5, ge=0, le=1)
    off: float = Field(default=0.35, ge=0, le=1)
    label_on: dict[str, float] = Field(default_factory=dict)
    label_off: dict[str, float] = Field(default_factory=dict)
    min_duration: float = Field(default=0.75, ge=0)
    gap_merge: float = Field(default=1.1, ge=0)
    region: float = Field(default=0.6, gt=0, le=1)

    def on_of(self, label: str) -> float:
        """Return the score at which a label's detection begins."""
        return self.label_on.get(label, self.on)

    def off_of(self, label: str) -> float:
        """Return the score below which a label's detection ends; never above `on_of`."""
        return min(self.label_off.get(label, self.off), self.on_of(label))

    def with_thresholds(self, on: float | None, label_on: Mapping[str, float]) -> Self:
        """Return these settings with thresholds of the user's; each `off` keeps its ratio to `on`.

        Parameters
        ----------
        on : float or None
            For all labels; None leaves them as they are.
        label_on : mapping of label to float
            Over `on`.
        """
        label_off = {
            label: value * _ratio(self.off_of(label), self.on_of(label))
            for label, value in label_on.items()
        }
        changes: dict[str, object] = {
            "label_on": {**({} if on is not None else self.label_on), **label_on},
            "label_off": {**({} if on is not None else self.label_off), **label_off},
        }
        if on is not None:
            changes |= {"on": on, "off": on * _ratio(self.off, self.on)}
        return self.model_copy(update=changes)


def _ratio(off: float, on: float) -> float:
    return min(off, on) / on if on else 1.0

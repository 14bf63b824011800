"""Settings of a training run, and the two recipes: as published, and for a CPU in minutes.

`PAPER` holds the settings of Liu, Yang and Jeng 2018, section IV-D; `SMALL` those that train our
quarter-width networks from scratch in minutes on a CPU.
"""

from typing import Any, Literal, Self

from pydantic import Field, ValidationError

from ..engines.engine import Kind
from ..stream.config_errors import explain, shown
from ..stream.config_model import ConfigModel, Unit


class TrainingError(ValueError):
    """Training that cannot begin or go on; the message is one line for the user."""


class TrainConfig(ConfigModel):
    """Everything that decides the result of a training run, besides the clips and the teachers.

    Examples
    --------
    >>> TrainConfig(kind="sound", steps=100).replace(lr=0.1).lr
    0.1
    >>> TrainConfig(kind="sound").replace(lr=-1)
    Traceback (most recent call last):
    ...
    playspot.training.config.TrainingError: lr: -1 is too small; give more than 0
    """

    kind: Kind
    """Which network: `sound`, `object` or `action`."""
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Of first weights, batches and dropout."""

    # The network
    width: float = Field(default=0.25, gt=0, le=4)
    """Multiplies the number of filters of every layer; 1 is the paper's network."""
    backbone: str = Field(default="", max_length=100, examples=["mobilenetv3_small_100"])
    """Object and action: a network of timm in place of the paper's early layers; none if empty."""
    init: Literal["xavier", "he"] = "xavier"
    """Of convolutions. Xavier is the paper's; He keeps the scale through eight ReLU layers."""
    init_from: str = Field(default="", max_length=4096)
    """Checkpoint to begin with: one of ours gives all its layers, another its early ones."""
    input_scale: float = Field(default=1.0, gt=0, le=1000)
    """What the picture and action networks divide their input by."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Share of the numbers that are left out in the late layers."""

    # How long, and how
    steps: int = Field(default=3000, ge=1, le=10_000_000)
    """Mini-batches, unless `epochs` is given."""
    epochs: int | None = Field(default=None, ge=1, le=10_000)
    """How often each clip is used, in place of `steps`."""
    frozen_steps: int = Field(default=0, ge=0, le=10_000_000)
    """So many first steps leave the early layers as they are; `frozen_epochs` comes before it."""
    frozen_epochs: int | None = Field(default=None, ge=0, le=10_000)
    """The same in epochs. The paper: 20 of 50, for the object network on pre-trained layers."""
    clips_per_batch: int = Field(default=1, ge=1, le=4096)
    """The paper: 1. Batches of several clips learn faster from scratch."""
    frames_per_clip: int = Field(default=10, ge=1, le=1000)
    """Object and action: pictures or stacks of each clip of a batch."""
    consecutive: bool = False
    """Object and action: frames of a clip follow each other, as one of its sub-clips (paper: 10
    frames, 5 s); else they are from anywhere in it."""
    optimiser: Literal["sgd", "adagrad", "adamw"] = "sgd"
    """The paper: SGD for pictures and flow, AdaGrad for sound."""
    lr: float = Field(default=0.001, gt=0, le=1e30)
    """Learning rate."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Of `sgd`."""
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    """How much weights shrink a step, as a part of `lr`."""
    schedule: Literal["constant", "cosine"] = "constant"
    """`cosine` falls to zero over the run, after a rise over the first tenth, at most 100 steps."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """The mixed ones are for GPUs: faster, with less memory."""
    validate_every: int = Field(default=200, ge=0, le=10_000_000)
    """Steps between validations, each followed by a checkpoint; 0: after every epoch."""
    validation_frames: int = Field(default=5, ge=1, le=1000)
    """Frames a clip in a validation."""
    checkpoint_every: int = Field(default=500, ge=1, le=10_000_000)
    """Steps between checkpoints, besides those of validations."""

    # The loss
    target: str = Field(default="SOT0503", min_length=2, max_length=10)
    """Action: what it is to output, such as VT, ST05, OT03 or SOT0503; see `targets`."""
    sound_threshold: float | None = Field(default=None, gt=0, le=1)
    """Action: v of the paper, over that in the target's name."""
    object_threshold: float | None = Field(default=None, gt=0, le=1)
    """Action: u of the paper, over that in the target's name."""
    positive_weight: float = Field(default=1.0, gt=0, le=1000)
    """Action: how much more a target of 1 counts in the loss."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """Targets of 0 and 1 become s and 1 - s."""
    pool: Literal["mean", "max", "linear"] = "mean"
    """Clip score from those of a sound's frames (paper: mean) or of a picture's places (paper:
    max). Linear is the mean weighted by the scores themselves: it does not ask a label to sound
    all through a clip, and lets every place of a picture learn, not only the highest."""

    # Pictures and flows, changed at random
    flip: bool = False
    """Mirror half of the pictures and flows."""
    zoom: float = Field(default=0.0, ge=0, le=3)
    """Largest zoom, in or out, as a part of 1; the view shifts as far as it allows."""
    light: float = Field(default=0.0, ge=0, le=3)
    """Largest change of a picture's brightness, natural log."""
    roll: Unit = 0.0
    """Object: share of pictures that are shifted by any amount, around the edges. Without, a
    network may report an instrument at a fixed distance from where it is."""
    mosaic: Unit = 0.0
    """Object: share of batches of four half-size pictures a picture, each with its own tags: what
    is seen in one quarter must not be reported in another."""
    grey: Unit = 0.0
    """Object: share of pictures that lose their colour."""
    blur: Unit = 0.0
    """Object: share of pictures that are blurred."""
    cut: Unit = 0.0
    """Object: share of pictures with a rectangle of one colour before them."""
    grain: float = Field(default=0.0, ge=0, le=255)
    """Object: largest standard deviation of noise, of 255."""
    camera: float = Field(default=0.0, ge=0, le=100)
    """Action: largest motion of the camera that is added to flows, pixels per tick; most move much
    less."""
    speed: float = Field(default=0.0, ge=0, le=3)
    """Action: largest scaling of flows, natural log."""
    flow_noise: float = Field(default=0.0, ge=0, le=100)
    """Action: largest standard deviation of noise added to flows, pixels per tick."""
    still: Unit = 0.0
    """Action: share of stacks replaced by those of a camera, still or moving, before a picture in
    which nothing moves."""
    blobs: Unit = 0.0
    """Action: share of stacks that soft forms which move are added to."""
    crop: Unit = 0.0
    """Action, targets with places: share of batches of which a part, of any shape, is taken."""

    # Sounds, changed at random
    seconds: float = Field(default=10.0, gt=0, le=3600)
    """Length of the sounds; from longer ones so much is taken, shorter ones are repeated."""
    gain: float = Field(default=0.0, ge=0, le=60)
    """Largest change of a sound's level, in dB."""
    mix: Unit = 0.0
    """Share of sounds that a second clip is added to, with its tags."""
    background: Unit = 0.0
    """Share of sounds that a clip without tags is added to."""
    colour: float = Field(default=0.0, ge=0, le=40)
    """Sound: largest gain or loss of a band, dB, as by other microphones."""
    band_limit: Unit = 0.0
    """Sound: share of sounds that lose what is above, and what is below, some frequency."""
    noise: Unit = 0.0
    """Sound: share of sounds with steady noise added."""
    mask: Unit = 0.0
    """Sound: share of sounds with bands and stretches of time taken out."""

    def to_dict(self) -> dict[str, Any]:
        """Return all settings as numbers, text and None."""
        return self.model_dump()

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the configuration of `to_dict`; what is not given has its default.

        Raises
        ------
        TrainingError
            If a key is unknown or a value outside its bounds: one line.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            loc = first["loc"]
            given = first.get("input")
            text = str(given) if isinstance(given, str | int | float) else None
            name = shown(".".join(map(str, loc))).strip("'")
            raise TrainingError(f"{name}: {explain(first, loc, text, cls)}") from None

    def replace(self, **changes: Any) -> Self:
        """Return the configuration with other values, which are checked.

        A number of steps without one of epochs puts that of epochs away.

        Raises
        ------
        TrainingError
            As `from_dict`.
        """
        for which in ("", "frozen_"):
            if f"{which}steps" in changes:
                changes.setdefault(f"{which}epochs", None)
        return self.from_dict(self.to_dict() | changes)

    def in_steps(self, epoch_steps: int) -> Self:
        """Return the same for epochs of so many steps, without epochs.

        Examples
        --------
        >>> PAPER["object"].in_steps(200).frozen_steps
        4000
        """
        return self.replace(
            steps=self.steps if self.epochs is None else self.epochs * epoch_steps,
            frozen_steps=(
                self.frozen_steps
                if self.frozen_epochs is None
                else self.frozen_epochs * epoch_steps
            ),
            validate_every=self.validate_every or epoch_steps,
        )


# Section IV-D to the letter. A mini-batch of the object and action networks is one sub-clip of one
# video; the best epoch is taken. That of the sound network is not told: 10 clips of 10 s.
PAPER: dict[Kind, TrainConfig] = {
    "sound": TrainConfig(
        kind="sound",
        width=1,
        epochs=100,
        clips_per_batch=10,
        frames_per_clip=1,
        optimiser="adagrad",
        lr=0.01,
        validate_every=0,
    ),
    "object": TrainConfig(
        kind="object",
        width=1,
        epochs=50,
        frozen_epochs=20,
        consecutive=True,
        pool="max",
        validate_every=0,
    ),
    "action": TrainConfig(kind="action", width=1, epochs=100, consecutive=True, validate_every=0),
}
SMALL: dict[Kind, TrainConfig] = {
    "sound": TrainConfig(
        kind="sound",
        width=0.5,
        steps=6000,
        clips_per_batch=16,
        frames_per_clip=1,
        optimiser="adamw",
        lr=0.002,
        weight_decay=0.01,
        schedule="cosine",
        validate_every=400,
        label_smoothing=0.01,
        pool="linear",
        seconds=5.0,
        gain=8.0,
        mix=0.2,
        background=0.1,
        colour=6.0,
        band_limit=0.3,
        noise=0.2,
        mask=0.15,
        dropout=0.1,
    ),
    "object": TrainConfig(
        kind="object",
        steps=3000,
        clips_per_batch=16,
        frames_per_clip=1,
        optimiser="adamw",
        lr=0.001,
        weight_decay=0.01,
        schedule="cosine",
        init="he",
        pool="linear",
        flip=True,
        zoom=0.4,
        light=0.2,
        roll=0.4,
        mosaic=0.6,
        grey=0.2,
        blur=0.2,
        cut=0.2,
        grain=8.0,
        input_scale=58.0,
        dropout=0.2,
    ),
    "action": TrainConfig(
        kind="action",
        steps=1300,
        clips_per_batch=16,
        frames_per_clip=1,
        optimiser="adamw",
        lr=0.001,
        weight_decay=0.01,
        schedule="cosine",
        init="he",
        positive_weight=5.0,
        flip=True,
        zoom=0.5,
        speed=0.2,
        flow_noise=0.1,
        still=0.1,
        dropout=0.2,
    ),
}
RECIPES = {"paper": PAPER, "small": SMALL}

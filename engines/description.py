"""What a small TOML says of a public network, so that it can serve as one of our models.

A description lies beside the model file (`net.onnx`, `net.toml`) or is shipped here for the public
models that we know. It says what the network eats, what comes out, and how its classes become our
labels: evidence in log-odds, a slope and a bias a label. The README of `playspot models` shows one.
"""

import csv
import re
import tomllib
from fnmatch import fnmatch
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from .engine import FrontEnd, Header, ModelError
from .metadata import one_line

ClassName = int | str
MAX_TOML_BYTES = 2**20


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Input(_Table):
    """What the network eats.

    Attributes
    ----------
    name : str or None
        Of the network's input; None for its only one.
    layout : {"nchw", "nhwc"}
        Object only: where the colours are.
    channels : {"rgb", "bgr"}
        Object only: their order.
    scale, shift : float or three floats
        The network gets `value * scale + shift`; pictures have values 0 to 255.
    """

    name: str | None = None
    layout: Literal["nchw", "nhwc"] = "nchw"
    channels: Literal["rgb", "bgr"] = "rgb"
    scale: float | tuple[float, float, float] = 1.0
    shift: float | tuple[float, float, float] = 0.0


class Output(_Table):
    """What comes out of the network.

    Attributes
    ----------
    name : str or None
        Of the output with the classes; None for the first.
    activation : {"softmax", "sigmoid", "none"}
        How its numbers become probabilities; none if they are.
    layout : {"nchw", "nhwc"}
        Object only: where the classes are.
    n_classes : int or None
        Checked where given.
    """

    name: str | None = None
    activation: Literal["softmax", "sigmoid", "none"] = "softmax"
    layout: Literal["nchw", "nhwc"] = "nchw"
    n_classes: int | None = Field(default=None, ge=1)


class Evidence(_Table):
    """Which classes speak for a label, and how strongly.

    Attributes
    ----------
    classes : list of int or str
        Number or name of each class that is this label.
    support : list
        Classes that speak for it less strongly: counted times the description's `support`.
    competitors : list
        Classes that speak against it where they are stronger than its own.
    slope, competition : float or None
        In place of the description's.
    bias : float or None
        In place of the description's. The score is the sigmoid of `slope * log-odds + bias`.
    """

    classes: tuple[ClassName, ...] = Field(min_length=1)
    support: tuple[ClassName, ...] = ()
    competitors: tuple[ClassName, ...] = ()
    slope: float | None = Field(default=None, gt=0)
    bias: float | None = None
    competition: float | None = Field(default=None, ge=0)


class Description(_Table):
    """A public network as one of our models.

    Attributes
    ----------
    kind, name : str
        As in a header.
    file : str
        The model file's name beside the TOML, or in a shipped description a pattern of names.
    picture_side, picture_multiple, stride, offset : see `Header`
    lighten_to : float or None
        Object only: dark pictures are lightened, by 6 at most, until their lights (the 95th
        percentile of all values, 0 to 255) reach this.
    smoothing : int
        Object only: outputs are averaged over this many cells square.
    scales : tuple of float
        Object only: how surely a label is seen is averaged over these scales of the picture,
        weighted by scale. The first is 1; a scale that leaves fewer than two rows of cells is
        passed over.
    front_end : see `Header`
    focus_db : float or None
        Sound only, front end `yamnet`: its windows are longer than the step that they stand for.
        A step that is this much quieter than its window gets half the score: what sounds is
        beside it.
    labels_file : str or None
        Beside the model: a class name a line, or a CSV with a column `display_name` or `name`.
    class_numbers : dict of name to int
        In place of a labels file: the classes that are used.
    slope, bias, support, competition : float
        See `Evidence`; competition is how much of a competitor's lead is taken off.
    labels : dict of label to Evidence
    provenance : dict of str
    """

    kind: Literal["object", "sound"]
    name: str
    file: str | None = None
    input: Input = Input()
    output: Output = Output()
    picture_side: int = Field(default=448, ge=32, le=4096)
    picture_multiple: int = Field(default=32, ge=1, le=1024)
    stride: float = Field(default=32.0, gt=0)
    offset: float = 15.5
    lighten_to: float | None = Field(default=None, gt=0, le=255)
    smoothing: int = Field(default=1, ge=1, le=15)
    scales: tuple[float, ...] = (1.0,)
    front_end: FrontEnd = "yamnet"
    focus_db: float | None = Field(default=None, gt=0)
    labels_file: str | None = None
    class_numbers: dict[str, int] = Field(default_factory=dict)
    slope: float = Field(default=1.0, gt=0)
    bias: float = 0.0
    support: float = Field(default=0.3, gt=0, le=1)
    competition: float = Field(default=0.0, ge=0)
    labels: dict[str, Evidence] = Field(min_length=1)
    provenance: dict[str, str] = Field(default_factory=dict)

    @field_validator("scales")
    @classmethod
    def _first_is_one(cls, scales: tuple[float, ...]) -> tuple[float, ...]:
        if not scales or scales[0] != 1 or not all(0.05 <= scale <= 1 for scale in scales):
            raise ValueError(f"scales are {scales}; the first is 1, the others 0.05 to 1")
        return scales

    @property
    def header(self) -> Header:
        """What the engine says of itself to the pipeline; labels are in alphabetical order."""
        own: dict[str, Any] = {"front_end": self.front_end}
        if self.kind == "object":
            names = ("picture_side", "picture_multiple", "stride", "offset")
            own = {name: getattr(self, name) for name in names}
        return Header(
            kind=self.kind,
            name=self.name,
            labels=tuple(sorted(self.labels)),
            normalisation={"scale": self.input.scale, "shift": self.input.shift},
            provenance=dict(self.provenance),
            **own,
        )

    def numbers(self, names: tuple[ClassName, ...], folder: Path) -> list[int]:
        """Return the numbers of classes given by number or name.

        Raises
        ------
        ModelError
            If a name is not in `class_numbers` or the labels file.
        """
        known = dict(self.class_numbers)
        if self.labels_file and not all(isinstance(n, int) or n in known for n in names):
            known = read_class_names(folder / self.labels_file) | known
        for name in names:
            if isinstance(name, str) and name not in known:
                raise ModelError(
                    f"{self.name}: there is no class {name!r}; use a name of its labels file, "
                    "or the class's number"
                )
        return [name if isinstance(name, int) else known[name] for name in names]


def read_class_names(path: Path) -> dict[str, int]:
    """Return the number of each class in a labels file.

    A text file has one class a line, several names of a class parted by commas; a CSV has the
    names in a column `display_name` or `name`. The first class of a name counts.

    Raises
    ------
    ModelError
        If the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise ModelError(f"{path}: no readable labels file ({one_line(error)})") from None
    lines = text.splitlines()
    if path.suffix == ".csv":
        rows = list(csv.DictReader(lines))
        column = next((c for c in ("display_name", "name") if rows and c in rows[0]), None)
        if column is None:
            raise ModelError(f"{path}: no column `display_name` or `name`")
        groups = [[row[column] or ""] for row in rows]
    else:
        groups = [[line, *re.split(r",\s*", line)] for line in lines]
    names: dict[str, int] = {}
    for number, group in enumerate(groups):
        for name in group:
            names.setdefault(name.strip(), number)
    return names


def read_description(path: Path) -> Description:
    """Return the description in a TOML file.

    Raises
    ------
    ModelError
        If it cannot be read or says something impossible: one line with the place.
    """
    try:
        if path.stat().st_size > MAX_TOML_BYTES:
            raise ModelError(f"{path}: above 1 MiB; a description is a few dozen lines")
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
        raise ModelError(f"{path}: no readable TOML ({one_line(error)})") from None
    return _describe(table, str(path))


@cache
def shipped_descriptions() -> tuple[Description, ...]:
    """Return the descriptions of the public models that we know."""
    here = resources.files(__package__)
    found = []
    for entry in sorted(here.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".toml"):
            table = tomllib.loads(entry.read_text(encoding="utf-8"))
            if "labels" in table:
                found.append(_describe(table, entry.name))
    return tuple(found)


def find_description(model: Path) -> Description | None:
    """Return the description of a model file: the TOML beside it, else a shipped one, else None.

    A shipped description is found by the file's name; whether the network is really the one that
    it describes is checked when the engine is made.

    Raises
    ------
    ModelError
        If the TOML beside it is wrong.
    """
    beside = model.with_suffix(".toml")
    if beside.is_file():
        return read_description(beside)
    for description in shipped_descriptions():
        if description.file and fnmatch(model.name.lower(), description.file):
            return description
    return None


def _describe(table: dict[str, object], name: str) -> Description:
    try:
        return Description.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"{name}: {place}: {' '.join(first['msg'].split())[:150]}") from None

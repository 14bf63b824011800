"""What all parts of the configuration have in common, and the types they share."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

NAME_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}$"

MIN_SIDE, MAX_SIDE = 64, 1920  # px, of pictures that are made for whoever looks

Unit = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Side = Annotated[int, Field(ge=MIN_SIDE, le=MAX_SIDE)]
UserPath = Annotated[Path, AfterValidator(Path.expanduser)]


class ConfigModel(BaseModel):
    """A part of the configuration: unknown keys are errors, and no value is ever shown."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,  # it may hold a password
    )

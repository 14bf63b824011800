"""What is wrong with a configuration, in words: the value, the bound, and what to do.

In: errors as Pydantic lists them, and the text of the value as the user wrote it. Out: one line
each. Pydantic's own texts are for programmers, and show values that may hold a password.
"""

import re
import types
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel

from .config import Config
from .marked_yaml import Loc
from .nearest import nearest
from .one_line import printable

MAX_SHOWN = 60  # characters of a value
_CLOCK = re.compile(r"\d+(:\d\d)+")
_UNIT = re.compile(r"[\d.]+\s*(ms|s|sec|seconds?|m|min|minutes?|h|hours?)", re.IGNORECASE)


def explain(
    error: Mapping[str, Any], loc: Loc, text: str | None, model: type[BaseModel] = Config
) -> str:
    """Return what is wrong and what to do, in one line.

    Parameters
    ----------
    error : mapping
        An item of `ValidationError.errors()`.
    loc : tuple
        Of the value in a `model`.
    text : str or None
        The value as it was written; None if it is no single text.
    model : type of BaseModel
        What the value is a part of.
    """
    kind, bounds = str(error["type"]), error.get("ctx", {})
    value = shown(text)
    if kind == "missing":
        return "a corner is two numbers, [x, y]" if isinstance(loc[-1], int) else "is missing"
    if kind == "extra_forbidden":
        known = _keys(model, loc[:-1])
        return "unknown key; " + nearest(str(loc[-1]), known, f"there are {', '.join(known)}")
    if kind == "value_error":
        return str(bounds["error"])
    if error.get("input", ...) is None:
        return "is empty; give it a value, or remove it"
    if kind == "string_pattern_mismatch":
        return "a name has letters, digits, - _ . only, begins with none of - . and has at most 64"
    if kind == "literal_error":
        known = _options(model, loc)
        return f"{value} is unknown; " + nearest(str(text), known, f"give {' or '.join(known)}")
    if kind in _BOUNDS:
        return _BOUNDS[kind].format(value=text, **bounds)
    if kind in ("too_short", "too_long"):
        return _length(kind, bounds, loc)
    return _type(kind, text, value)


def source_error(error: Mapping[str, Any], loc: Loc) -> str:
    """Return what is wrong with the configuration of one source, in one line.

    Parameters
    ----------
    error : mapping
        An item of `ValidationError.errors()`.
    loc : tuple
        Of the value in a `SourceConfig`.
    """
    given = error.get("input")
    text = str(given) if isinstance(given, str | int | float) else None
    what = explain(error, ("sources", "it", *loc), text)
    return f"{dotted(loc)}: {what}" if loc else what


def shown(text: str | None) -> str:
    """Return a value for a message, in quotes; not if it may hold a password.

    Examples
    --------
    >>> shown("on"), shown("rtsp://user:password@camera/1")
    ("'on'", 'the URL')
    """
    if text is None:
        return "this"
    if "://" in text or "@" in text:
        return "the URL"
    text = printable(text)
    return f"'{text}'" if len(text) <= MAX_SHOWN else f"'{text[:MAX_SHOWN]}...'"


def dotted(loc: Loc) -> str:
    """Return a path of keys as people write it.

    Examples
    --------
    >>> dotted(("sources", "stage", "labels", 0))
    'sources.stage.labels[0]'
    """
    parts = [f"[{key}]" if isinstance(key, int) else "." + shown(key).strip("'") for key in loc]
    return "".join(parts).removeprefix(".")


_BOUNDS = {
    "greater_than": "{value} is too small; give more than {gt:g}",
    "greater_than_equal": "{value} is too small; give at least {ge:g}",
    "less_than": "{value} is too much; give less than {lt:g}",
    "less_than_equal": "{value} is too much; give at most {le:g}",
    "string_too_short": "is empty; give it a value",
    "string_too_long": "has more than {max_length} characters",
}


def _length(kind: str, bounds: Mapping[str, Any], loc: Loc) -> str:
    n = bounds["actual_length"]
    if loc == ("sources",):
        return "there is no source; give at least one"
    if kind == "too_short":
        return f"has {n}; give at least {bounds['min_length']}"
    return f"has {n}; give at most {bounds['max_length']}"


def _type(kind: str, text: str | None, value: str) -> str:
    if kind.startswith(("float", "int", "finite_number")):
        if text is None:
            return "is not one number"
        if _CLOCK.fullmatch(text.strip()) or _UNIT.fullmatch(text.strip()):
            return f"{value} is not a number; durations are seconds without a unit, such as 90"
        return f"{value} is not a number"
    if kind.startswith("bool"):
        return f"{value} is neither true nor false"
    if kind.startswith(("tuple", "list")):
        return "is not a list; write " + ("[...]" if text is None or "://" in text else f"[{text}]")
    if kind.startswith(("model", "dict")):
        return "takes keys of its own, on lines below it that are indented"
    if kind == "string_unicode":
        return "is not a text that UTF-8 can hold; rename it"
    if kind.startswith(("string", "path")):
        return "is not one text; put it on one line, in quotes"
    return "is not valid here"


def _annotation(model: type[BaseModel], loc: Loc) -> Any:
    """Return the type that the fields of a model state for a place, None if there is no such."""
    kind: Any = model
    for key in loc:
        if isinstance(kind, types.UnionType):  # a part that may be left out
            kind = get_args(kind)[0]
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            fields = kind.model_fields
            kind = fields[str(key)].annotation if key in fields else None
        else:
            kind = (get_args(kind) or (None,))[-1]  # dict[key, value]
    return get_args(kind)[0] if isinstance(kind, types.UnionType) else kind


def _keys(model: type[BaseModel], loc: Loc) -> list[str]:
    kind = _annotation(model, loc)
    is_model = isinstance(kind, type) and issubclass(kind, BaseModel)
    return list(kind.model_fields) if is_model else []


def _options(model: type[BaseModel], loc: Loc) -> list[str]:
    options: list[str] = []
    for part in get_args(_annotation(model, loc)):
        options += [part] if isinstance(part, str) else [p for p in get_args(part) if p]
    return options

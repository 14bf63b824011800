"""YAML text -> plain data, and the line of each of its keys and values.

Every value is a text or nothing, whatever YAML 1.1 takes it for (`off`, `22:30`, `010`, a date):
what a text means is for the field that it is given to. Tags are refused, aliases and merges (`<<`)
resolved within limits, so that neither objects nor a flood of values can come out of a file.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml

MAX_VALUES = 20_000  # with what aliases repeat
MAX_DEPTH = 20  # of nested values; a configuration needs 6
_CORE = "tag:yaml.org,2002:"
_SCALARS = ("str", "null", "bool", "int", "float", "timestamp", "merge", "value")

Key = str | int
Loc = tuple[Key, ...]
# What YAML's own messages become. They are not shown: they may quote a part of a password.
_TEXTS = (
    (r"'\\t'", "a tab; indent with spaces"),
    (r"cannot start any token", "a text that begins with this character needs quotes around it"),
    (r"mapping values are not", "a second ': ', or wrong indentation; quote texts that hold ': '"),
    (r"could not find expected ':'", "a line without `key: value`; is a colon or a quote missing?"),
    (r"expected <block end>", "the indentation does not fit the lines before it"),
    (r"undefined alias", "a text that begins with * needs quotes around it"),
    (r"duplicate anchor", "an anchor (&) of this name exists already"),
    (r"unexpected end of stream", "a quote is not closed"),
    (r"while parsing a flow", "a bracket is not closed, or a comma is missing"),
    (r"single document", "a second document begins here; one file is one configuration"),
    (r"undefined tag handle", "a text that begins with ! needs quotes around it"),
)


class Problem(NamedTuple):
    """Something wrong: its line (from 1), its key, and one line that says what."""

    line: int
    loc: Loc
    message: str


class Place(NamedTuple):
    """Where a value stands: the lines (from 1) of its key and its own, and its text, if it is one.

    The text is as in the file, environment variables not put in.
    """

    key_line: int
    line: int
    text: str | None


@dataclass
class Marked:
    """What a YAML text holds.

    Attributes
    ----------
    data : dict, list, str or None
        Without keys that have a problem.
    places : dict
        Path of keys and indices to where it stands.
    problems : list of Problem
    """

    data: Any = None
    places: dict[Loc, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def place(self, loc: Loc) -> Place:
        """Return where a value stands, or the nearest one around it that does."""
        while loc not in self.places and loc:
            loc = loc[:-1]
        return self.places.get(loc, Place(1, 1, None))


def read_yaml(text: str, expand: Callable[[str], str] = str) -> Marked:
    r"""Return what a YAML text holds, and where.

    Parameters
    ----------
    text : str
    expand : function
        Applied to every text that is a value; a ValueError of it is a problem of that value.

    Examples
    --------
    >>> marked = read_yaml("publish: off\nsources:\n  stage: {url: a.mp4}")
    >>> marked.data
    {'publish': 'off', 'sources': {'stage': {'url': 'a.mp4'}}}
    >>> marked.place(("sources", "stage")).line
    3
    """
    marked = Marked()
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is not None:
            marked.data = _Walk(marked, expand).value(root, (), root.start_mark.line + 1)
    except yaml.MarkedYAMLError as error:
        message = _yaml_problem(f"{error.context} {error.problem}")
        begins, found = error.context_mark, error.problem_mark
        mark = begins if begins and "not closed" in message else found or begins
        marked.problems.append(Problem(mark.line + 1 if mark else 1, (), message))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        marked.problems.append(Problem(line, (), "a control character; remove it"))
    except (_TooMuchError, RecursionError):
        marked.problems.append(
            Problem(1, (), f"more than {MAX_VALUES} values, or nested deeper than {MAX_DEPTH}")
        )
    return marked


def _yaml_problem(problem: str) -> str:
    for pattern, message in _TEXTS:
        if re.search(pattern, problem):
            return message
    return "not YAML; are a quote, a colon or the indentation wrong?"


class _TooMuchError(Exception):
    pass


class _Walk:
    """Turn nodes into data, aliases as often as they are used."""

    def __init__(self, marked: Marked, expand: Callable[[str], str]) -> None:
        self._marked = marked
        self._expand = expand
        self._n_values = 0

    def value(self, node: Any, loc: Loc, key_line: int) -> Any:
        self._n_values += 1
        if self._n_values > MAX_VALUES or len(loc) > MAX_DEPTH:
            raise _TooMuchError
        line = node.start_mark.line + 1
        is_scalar = isinstance(node, yaml.ScalarNode)
        self._marked.places[loc] = Place(key_line, line, node.value if is_scalar else None)
        kind = node.tag.removeprefix(_CORE)
        if is_scalar and kind in _SCALARS:
            return None if kind == "null" else self._scalar(node, loc, line)
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            return [
                self.value(item, (*loc, i), item.start_mark.line + 1)
                for i, item in enumerate(node.value)
            ]
        if isinstance(node, yaml.MappingNode) and kind == "map":
            return self._mapping(node, loc)
        self._problem(line, loc, "a tag; a text that begins with ! needs quotes around it")
        return None

    def _scalar(self, node: Any, loc: Loc, line: int) -> str | None:
        try:
            return self._expand(node.value)
        except ValueError as error:
            self._problem(line, loc, str(error))
            return None

    def _mapping(self, node: Any, loc: Loc) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for key, value in node.value:
            if key.tag == _CORE + "merge":
                merged = {**self._merged(value, loc), **merged}
        own: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag == _CORE + "merge":
                continue
            if not isinstance(key, yaml.ScalarNode):
                self._problem(line, loc, "a key that is no text; write `key: value`")
            elif key.value in lines:
                where = (*loc, key.value)
                self._problem(line, where, f"is there twice (line {lines[key.value]}); remove one")
            else:
                lines[key.value] = line
                own[key.value] = self.value(value, (*loc, key.value), line)
        return {**merged, **own}

    def _merged(self, node: Any, loc: Loc) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for part in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(part, yaml.MappingNode):
                self._problem(part.start_mark.line + 1, loc, "<< takes an alias of a mapping")
            elif len(loc) > MAX_DEPTH:
                raise _TooMuchError
            else:
                self._n_values += 1
                merged = {**self._mapping(part, loc), **merged}
        return merged

    def _problem(self, line: int, loc: Loc, message: str) -> None:
        self._marked.problems.append(Problem(line, loc, message))

"""A YAML file, or sources on the command line -> `Config`; everything that is wrong, at its line.

Texts may hold `${NAME}` or `${NAME:-default}`: environment variables, for passwords. Their values
are in the `Config` and in no message.
"""

import os
import re
import stat
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from ..engines.catalogue import find_models
from ..engines.engine import ModelError
from .config import Config
from .config_errors import dotted, explain, shown
from .locator import LocatorError, parse_locator
from .marked_yaml import Loc, Marked, Problem, read_yaml
from .nearest import nearest
from .one_line import printable

ENDINGS = (".yaml", ".yml")
MAX_BYTES = 1_000_000
STAND_IN = "1"  # for a variable that is not set: does as a password, a host, a port, a number
NAME_LENGTH = 60  # of a derived name; with a number it stays below the 64 of `NAME_PATTERN`
_VARIABLE = re.compile(r"(\$?)\$\{([^}]*)(\}?)")
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_USER = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^/]*@")  # the part of a URL up to its host
_NOT_IN_USER = re.compile(r"[/?#@\[\]\s]|%(?![0-9A-Fa-f]{2})")


class ConfigError(ValueError):
    """A configuration that cannot be used.

    Parameters
    ----------
    lines : sequence of str
        One for each thing that is wrong, such as "playspot.yaml:12: budget: 99 is too much; ...".
    """

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)


def read_config(
    path: str | Path,
    *,
    labels: Sequence[str] | None = None,
    may_lack_secrets: bool = False,
) -> Config:
    """Return the configuration of a YAML file.

    Parameters
    ----------
    path : str or Path
    labels : sequence of str, optional
        Those the models know; if not given, the models that the file names are looked at.
    may_lack_secrets : bool
        Take `1` for variables that the environment does not have: to check, not to run.

    Raises
    ------
    ConfigError
        With a line for everything that is wrong.
    """
    text = read_text(Path(path))
    marked = read_yaml(text, _expansion(os.environ, may_lack_secrets))
    config, problems = _validated(marked, text)
    problems += _unknown_labels(marked, labels)
    if problems or config is None:
        order = sorted(set(problems), key=lambda p: (p.line, dotted(p.loc)))
        raise ConfigError([_line(path, problem) for problem in order])
    return config


def config_of_sources(
    texts: Sequence[str],
    *,
    settings: Mapping[str, Any] | None = None,
    of_sources: Mapping[str, Any] | None = None,
) -> Config:
    """Return the configuration of what stands on a command line.

    Parameters
    ----------
    texts : sequence of str
        Sources, which get a name each; or one file of YAML.
    settings : mapping, optional
        Fields of `Config`, over those of the file; None leaves one as it is.
    of_sources : mapping, optional
        Fields of `SourceConfig`, for every source; None leaves one as it is.

    Raises
    ------
    ConfigError
        If an option is impossible or the file is wrong.
    ModelError
        If `settings` name models that cannot be used.

    Examples
    --------
    >>> config = config_of_sources(["rtsp://me:secret@camera/1", "x.mp4"], settings={"budget": 3})
    >>> {name: source.url for name, source in config.sources.items()}
    {'camera': 'rtsp://me:secret@camera/1', 'x': 'x.mp4'}
    """
    files = [text for text in texts if is_config_file(text)]
    if files and len(texts) > 1:
        raise ConfigError([f"{shown(files[0])} is a configuration; give it alone, or sources only"])
    settings, of_sources = _given(settings), _given(of_sources)
    data: dict[str, Any] = {}
    if files:
        labels = find_models(settings["models"]).labels if "models" in settings else None
        data = read_config(files[0], labels=labels).model_dump(exclude_unset=True)
    sources: dict[str, dict[str, Any]] = data.setdefault("sources", {})
    try:
        for text in () if files else texts:
            sources[source_name(text, sources)] = {"url": text}
    except LocatorError as error:
        raise ConfigError([str(error)]) from None
    for source in sources.values():
        source |= of_sources
    try:
        return Config.model_validate(data | settings)
    except ValidationError as error:
        lines = []
        for item in error.errors(include_url=False):
            value = str(item["input"]) if isinstance(item["input"], str | int | float) else None
            lines.append(_message(item["loc"], explain(item, item["loc"], value)))
        raise ConfigError(lines) from None


def is_config_file(text: str) -> bool:
    """Return whether an argument names a configuration and not a source.

    Examples
    --------
    >>> is_config_file("home.yaml"), is_config_file("rtsp://camera/a.yml")
    (True, False)
    """
    return "://" not in text and text.lower().endswith(ENDINGS)


def source_name(text: str, taken: Collection[str] = ()) -> str:
    """Return a name for a source: its host, its file or its device, and a number if it is taken.

    Examples
    --------
    >>> source_name("rtsp://user:secret@192.168.1.20:554/stream"), source_name("a b/Käse.mp4")
    ('192.168.1.20', 'Kase')
    >>> source_name("v4l2:///dev/video0+mic://default"), source_name("x.mp4", {"x"})
    ('video0', 'x-2')
    """
    locator = parse_locator(text)
    base = locator.host or PurePosixPath(locator.address.partition("?")[0]).stem
    ascii_only = unicodedata.normalize("NFKD", base).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9_.]+", "-", ascii_only)[:NAME_LENGTH].strip("-.") or locator.scheme
    unique = [name, *(f"{name}-{n}" for n in range(2, len(taken) + 2))]
    return next(each for each in unique if each not in taken)


def _given(options: Mapping[str, Any] | None) -> dict[str, Any]:
    return {key: value for key, value in (options or {}).items() if value is not None}


def read_text(path: Path) -> str:
    """Return the text of a file of settings.

    Raises
    ------
    ConfigError
        If it is no text of a sensible size.
    """
    name = printable(str(path))
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise ConfigError([f"{name}: a folder; give the file in it"])
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
            raise ConfigError([f"{name}: {found.st_size} bytes; give a file of up to {MAX_BYTES}"])
        content = path.read_bytes()[: MAX_BYTES + 1]
    except (OSError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        reason = getattr(error, "strerror", None) or "not the name of a file"
        raise ConfigError([f"{name}: {reason}; give a file such as playspot.yaml"]) from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{name}:{line}: not UTF-8; save the file in that encoding"]) from None


def _expansion(environ: Mapping[str, str], may_lack: bool) -> Callable[[str], str]:
    """Return a function that puts environment variables into a text."""

    def expand(text: str) -> str:
        user = _USER.match(text)

        def value(match: "re.Match[str]") -> str:
            is_escaped, inside, is_closed = match.groups()
            if is_escaped:
                return match[0][1:]
            parts = _NAME.fullmatch(inside) if is_closed else None
            if parts is None:
                raise ValueError("write ${NAME} or ${NAME:-default}; $${ stands for ${ itself")
            name, default = parts.groups()
            found = environ.get(name, STAND_IN if may_lack and default is None else None)
            if default is not None:
                found = found or default
            if found is None:
                raise ValueError(f"the environment variable {name} is not set; set it")
            if user and match.end() <= user.end() and _NOT_IN_USER.search(found):
                raise ValueError(
                    f"the value of {name} has a character that means something else in a URL; "
                    "percent-encode it, such as %40 for @"
                )
            return found

        return _VARIABLE.sub(value, text)

    return expand


def _validated(marked: Marked, text: str) -> tuple[Config | None, list[Problem]]:
    """Return the configuration, if there is one, and everything that is wrong."""
    problems = list(marked.problems)
    if not isinstance(marked.data, dict):
        if not problems:
            what = "empty" if marked.data is None else "no list of `key: value` lines"
            problems = [
                Problem(1, (), f"{what}; begin with `sources:`, see examples/playspot.yaml")
            ]
        return None, problems
    try:
        return Config.model_validate(marked.data), problems
    except ValidationError as error:
        found = error.errors(include_url=False)
    as_written = _value_errors(text)
    for item in found:
        loc, is_key = item["loc"], item["loc"][-1:] == ("[key]",)
        loc = loc[:-1] if is_key else loc
        if any(loc[: len(p.loc)] == p.loc for p in marked.problems if p.loc):
            continue  # a value that could not be read has been told of
        if item["type"] == "too_short" and any(_is_within(e["loc"], loc) for e in found):
            continue  # wrong items are not counted
        place = marked.place(loc)
        value = str(loc[-1]) if is_key else place.text if loc in marked.places else None
        at_key = value is None or is_key or item["type"] == "extra_forbidden"
        message = explain(item, loc, value)
        if item["type"] == "value_error" and (names := _variables(marked, loc)):
            message = as_written.get(loc, f"does not do with the value of {', '.join(names)}")
        problems.append(Problem(place.key_line if at_key else place.line, loc, message))
    return None, problems


def _is_within(loc: Loc, outer: Loc) -> bool:
    return len(loc) > len(outer) and loc[: len(outer)] == outer


def _value_errors(text: str) -> dict[Loc, str]:
    """Return what our own checks say to the values as they are written: no variable is put in."""
    try:
        Config.model_validate(read_yaml(text).data)
    except ValidationError as error:
        found = error.errors(include_url=False)
        return {e["loc"]: str(e["ctx"]["error"]) for e in found if e["type"] == "value_error"}
    return {}


def _variables(marked: Marked, loc: Loc) -> list[str]:
    """Return the names of the variables in a value, and in those within it."""
    inner = (p.text for other, p in marked.places.items() if other[: len(loc)] == loc and p.text)
    found = (match[2].partition(":-")[0] for text in inner for match in _VARIABLE.finditer(text))
    return sorted(set(found))


def _unknown_labels(marked: Marked, labels: Sequence[str] | None) -> list[Problem]:
    """Return a problem for each label that the models do not know, or for the models."""
    data = marked.data if isinstance(marked.data, dict) else {}
    sources = data.get("sources")
    if labels is None and data:
        folder = data.get("models")
        path = Path(folder).expanduser() if isinstance(folder, str) else None
        try:
            labels = find_models(path).labels
        except (ModelError, OSError) as error:
            place = marked.place(("models",))
            message = str(error).replace(str(path), place.text or "").removeprefix(": ")
            return [Problem(place.line, ("models",), message)]
    problems = []
    for name, source in sources.items() if isinstance(sources, dict) else ():
        fields = source if isinstance(source, dict) else {}
        for key in ("labels", "thresholds"):
            value = fields.get(key)
            for i, label in enumerate(value if isinstance(value, list | dict) else ()):
                if isinstance(label, str) and label not in (labels or ()):
                    loc: Loc = ("sources", name, key, i if key == "labels" else label)
                    place = marked.place(loc)
                    text = place.text if key == "labels" else label
                    hint = nearest(
                        text or "", labels or (), f"give some of {', '.join(labels or ())}"
                    )
                    problems.append(Problem(place.line, loc, f"{shown(text)} is unknown; {hint}"))
    return problems


def _message(loc: Loc, message: str) -> str:
    return f"{dotted(loc)}: {message}" if loc else message


def _line(path: str | Path, problem: Problem) -> str:
    return printable(f"{path}:{problem.line}: {_message(problem.loc, problem.message)}")

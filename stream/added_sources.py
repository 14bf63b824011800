"""Sources that were added over HTTP: kept beside the journal, so that the next run has them too."""

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .config import SourceConfig
from .config_errors import source_error
from .config_model import NAME_PATTERN
from .whole_file import write_private

FILE_NAME = "sources.json"

logger = logging.getLogger(__name__)


class SourceRefusedError(ValueError):
    """A source that cannot be added or removed; one line, without credentials.

    Attributes
    ----------
    code : {"invalid", "exists", "unknown"}
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class AddedSources:
    """The sources that were added while running.

    Parameters
    ----------
    folder : Path
        Of the journal. The file in it holds passwords: only its owner may read it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._sources = _read(self._path)

    def __contains__(self, name: object) -> bool:
        return name in self._sources

    def over(self, configured: Mapping[str, SourceConfig]) -> dict[str, SourceConfig]:
        """Return the configured sources and the added ones; of one name the configured one."""
        return self._sources | dict(configured)

    def add(self, name: str, config: Mapping[str, Any]) -> SourceConfig:
        """Add a source and keep it.

        Raises
        ------
        SourceRefusedError
            If the name or the configuration is wrong.
        """
        if not re.fullmatch(NAME_PATTERN, name):
            raise SourceRefusedError(
                "invalid",
                "name: has letters, digits, - _ . only, begins with none of - . and has at most 64",
            )
        source = checked_source(config)
        self._sources[name] = source
        self._write()
        return source

    def remove(self, name: str) -> None:
        """Forget a source."""
        if self._sources.pop(name, None) is not None:
            self._write()

    def _write(self) -> None:
        known = {
            name: source.model_dump(mode="json", exclude_unset=True)
            for name, source in self._sources.items()
        }
        try:
            write_private(self._path, json.dumps(known, indent=1))
        except OSError as error:
            logger.warning("added sources are gone after the end: %s", error.strerror)


def checked_source(config: Mapping[str, Any]) -> SourceConfig:
    """Return the configuration of a source from outside.

    Raises
    ------
    SourceRefusedError
        With what is wrong, on one line.

    Examples
    --------
    >>> checked_source({"url": "x.mp4", "threshold": 2})
    Traceback (most recent call last):
    playspot.stream.added_sources.SourceRefusedError: threshold: 2 is too much; give at most 1
    """
    try:
        return SourceConfig.model_validate(dict(config))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise SourceRefusedError("invalid", source_error(first, first["loc"])) from None


def _read(path: Path) -> dict[str, SourceConfig]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        logger.warning("%s cannot be read: sources that were added are left out", path)
        return {}
    sources: dict[str, SourceConfig] = {}
    for name, config in known.items() if isinstance(known, dict) else ():
        try:
            sources[str(name)] = checked_source(config)
        except (SourceRefusedError, TypeError, ValueError):
            logger.warning("%s: the source %r is left out: it is not valid", path, name)
    return sources

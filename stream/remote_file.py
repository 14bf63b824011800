"""A recording on a web server -> what `FileSource` gives of the same file, read through HTTP."""

from collections.abc import Callable, Iterator

import av
from av.container import InputContainer

from .config import SourceConfig
from .connect import connect, failure_of
from .failures import SourceFailure
from .locator import Locator
from .media import MediaItem, SourceInfo
from .sources import FileSource, SourceError

# The connection is gone; a file would be taken to have a bad spot there.
FATAL = (OSError, av.error.ExitError, av.error.HTTPError)


class RemoteFile(FileSource):
    """A `FileSource` whose container comes from a server.

    Parameters
    ----------
    container : InputContainer
        Open; closed with the source.
    locator : Locator
    config : SourceConfig
    name : str
    picture_side, picture_multiple : int
    """

    _fatal = FATAL

    def __init__(
        self,
        container: InputContainer,
        locator: Locator,
        config: SourceConfig,
        *,
        name: str,
        picture_side: int,
        picture_multiple: int,
    ) -> None:
        self._first: InputContainer | None = container
        self._locator, self._config = locator, config
        self._sound_delay = config.av_offset
        super().__init__(
            locator.shown, name=name, picture_side=picture_side, picture_multiple=picture_multiple
        )

    def _open(self) -> InputContainer:
        container, self._first = self._first, None
        return container if container is not None else connect(self._locator, self._config)


def read_remote(
    container: InputContainer,
    locator: Locator,
    config: SourceConfig,
    *,
    name: str,
    picture_side: int,
    picture_multiple: int,
    preview_side: Callable[[], int] = lambda: 0,
) -> Iterator[SourceInfo | MediaItem]:
    """Yield what is known of a recording, then its items; then the container is closed.

    Parameters
    ----------
    container, locator, config, name, picture_side, picture_multiple
        As of `RemoteFile`.
    preview_side : callable
        Longer side (px) of the previews that are wanted at the moment; 0: none.

    Raises
    ------
    SourceFailure
        If the connection breaks, or nothing can be decoded.
    """
    try:
        with RemoteFile(
            container,
            locator,
            config,
            name=name,
            picture_side=picture_side,
            picture_multiple=picture_multiple,
        ) as source:
            yield source.info
            for item in source:
                yield item
                source.preview_side = preview_side()
    except SourceFailure:
        raise
    except SourceError as error:
        # The path stands for the URL there, and a path has only one slash.
        text = str(error).partition(": ")[2] or str(error)
        raise SourceFailure("damaged", f"{locator.shown}: {text}") from None
    except (av.FFmpegError, OSError) as error:
        raise failure_of(error, locator, config.timeout) from None

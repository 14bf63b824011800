"""What the web process is started with, and what all of its handlers share."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .measure import Measures
from .output_config import WebConfig
from .web_live import Live

if TYPE_CHECKING:
    from .web_pictures import Pictures
    from .web_requests import Requests


@dataclass(frozen=True)
class WebJob:
    """What the web process is started with.

    Attributes
    ----------
    config : WebConfig
    database : Path or None
        The file with the history of events; None where there is none.
    recordings : Path or None
        Folder of snapshots and clips; None where none are made.
    system_id : str
        Of the run.
    labels : tuple of str
        Instruments that the models know.
    """

    config: WebConfig
    database: Path | None
    recordings: Path | None
    system_id: str
    labels: tuple[str, ...]


MOST_CLIENTS = 64  # of WebSocket and server-sent events together


@dataclass
class Web:
    """What the handlers of requests share.

    Attributes
    ----------
    job : WebJob
    live : Live
        What is known of the run at this moment.
    requests : Requests
        What the supervisor is asked.
    pictures : Pictures
        Live pictures, while somebody looks at them.
    measures : dict
        What each worker has counted, by its name.
    """

    job: WebJob
    live: Live
    requests: "Requests"
    pictures: "Pictures"
    measures: dict[str, Measures]

    @property
    def is_full(self) -> bool:
        """Whether there are as many live clients as may be."""
        return len(self.live.clients) >= MOST_CLIENTS

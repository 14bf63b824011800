"""What the web process is started with."""

from dataclasses import dataclass
from pathlib import Path

from .output_config import WebConfig


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

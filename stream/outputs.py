"""The processes of a live run that take detections somewhere: sinks, recorder, web.

Each runs only if the configuration asks for it. A failure of one of them stops nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import zmq

from .config import Config
from .messages import Message, try_send
from .output_config import DatabaseConfig
from .services import Service, Services
from .sockets import LIVE_QUEUE, push
from .status import RecordingsStatus, SinkStatus

DISPENSABLE = frozenset({"sinks", "recorder"})  # a run begins without them if it must


@dataclass(frozen=True)
class Places:
    """Where outputs keep their files; None for what there is not.

    Attributes
    ----------
    journal : Path
        Folder of the journal.
    database : Path or None
    recordings : Path or None
        Folder of snapshots and clips.
    """

    journal: Path
    database: Path | None
    recordings: Path | None


def places_of(config: Config, journal: Path) -> Places:
    """Return where the outputs of a run keep their files; the live page needs a database.

    Examples
    --------
    >>> config = Config(sources={"a": {"url": "a.mp4"}}, web={})
    >>> places_of(config, Path("journal")).database
    PosixPath('journal.sqlite')
    """
    database = recordings = None
    if config.database is not None or config.web is not None:
        given = config.database.path if config.database is not None else None
        database = given or journal.with_name(f"{journal.name}.sqlite")
    if config.recordings is not None:
        recordings = config.recordings.folder or journal.with_name(f"{journal.name}-recordings")
    return Places(journal, database, recordings)


class Outputs:
    """Sinks, recorder and web of a run.

    Parameters
    ----------
    services : Services
        That watch them.
    context : zmq.Context
    run : str

    Attributes
    ----------
    web : str or None
        URL of the live page.
    """

    def __init__(
        self, services: Services, context: "zmq.Context[zmq.Socket[bytes]]", run: str
    ) -> None:
        self._services = services
        self._to_web = push(context, run, "answers", queue=LIVE_QUEUE)
        self._names: list[str] = []
        self.web: str | None = None

    def start(
        self,
        config: Config,
        places: Places,
        system_id: str,
        labels: tuple[str, ...],
        wait_ready: Callable[[str], dict[str, Any]],
    ) -> None:
        """Start what is configured; returns when the live page can be reached."""
        database = None
        if places.database is not None:
            database = (config.database or DatabaseConfig()).model_copy(
                update={"path": places.database}
            )
        if database or config.jsonl or config.mqtt or config.webhooks:
            from .sinks_worker import SinksJob, serve_sinks

            sinks_job = SinksJob(
                journal=places.journal,
                system_id=system_id,
                jsonl=config.jsonl,
                database=database,
                mqtt=config.mqtt,
                webhooks=config.webhooks,
            )
            self._add("sinks", serve_sinks, sinks_job)
        if config.recordings is not None and places.recordings is not None:
            from .recorder import RecorderJob, record_live

            recorder_job = RecorderJob(config.recordings, places.recordings, system_id)
            self._add("recorder", record_live, recorder_job)
        if config.web is not None:
            from .web_worker import WebJob, serve_web

            web_job = WebJob(
                config=config.web,
                database=places.database,
                recordings=places.recordings,
                system_id=system_id,
                labels=labels,
            )
            web = self._add("web", serve_web, web_job)
            self.web = str(wait_ready("web")["url"])
            # A web process that takes its place must be found at the same port.
            bound = config.web.at_port(urlsplit(self.web).port or 0)
            web.job = replace(web_job, config=bound)

    def sinks(self) -> dict[str, SinkStatus]:
        """Return how each sink is, as last reported."""
        data = self._services["sinks"].watched.data if "sinks" in self._names else {}
        return {name: SinkStatus(**status) for name, status in data.get("sinks", {}).items()}

    def recordings(self) -> RecordingsStatus | None:
        """Return how the recorder is, as last reported."""
        data = self._services["recorder"].watched.data if "recorder" in self._names else {}
        return RecordingsStatus(**data["recordings"]) if "recordings" in data else None

    def tell_measures(self, measures: dict[str, Any]) -> None:
        """Tell the web process what every worker has counted."""
        if self.web is not None:
            try_send(self._to_web, Message("measures", data=measures))

    def answer(self, request: Message, error: str | None = None, code: str = "ok") -> None:
        """Answer a request of the web process."""
        data = {"id": request.data.get("id"), "error": error, "code": code}
        try_send(self._to_web, Message("answer", data=data))

    def _add(self, name: str, target: Callable[..., None], job: Any) -> Service:
        self._names.append(name)
        return self._services.add(name, target, job)

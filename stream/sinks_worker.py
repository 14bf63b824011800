"""The sinks process of a live run: from the journal to files, the database, MQTT and webhooks.

Each sink has a thread and a position in the journal of its own (`sink_runner.py`), so none waits
for another. This process hears from the publisher only how sources and the run are doing.

On SIGTERM the publisher ends the events that are open, at the same time: so the sinks go on until
it has gone, and until they have delivered all that it left, for `GRACE` seconds at most. What is
not delivered by then is delivered by the next run of the program, from the position.
"""

import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType

import zmq
from zmq.utils.monitor import recv_monitor_message

from .hub import hub_socket, record_of
from .journal_reader import Position, beginning
from .output_config import DatabaseConfig, JsonLinesConfig, MqttConfig, WebhookConfig
from .sink import Sink, SinkError
from .sink_cursor import ExactSink, WithCursor
from .sink_runner import SinkRunner
from .sockets import endpoint
from .status import RunStatus, SourceStatus
from .topics import STATUS_ROOT
from .worker import Worker

LOOP_MS = 100  # how long a turn waits for statuses
GRACE = 1.5  # s from SIGTERM to the end
LAST_WORDS = 0.3  # s more, to close what can be closed


@dataclass(frozen=True)
class SinksJob:
    """What the sinks process is started with.

    Attributes
    ----------
    journal : Path
        Folder of the journal.
    system_id : str
        Of the run. A sink that is new gets all events of the run, the database all of the journal.
    jsonl, mqtt : config or None
    database : DatabaseConfig or None
        With its path.
    webhooks : mapping
        By name.
    """

    journal: Path
    system_id: str
    jsonl: JsonLinesConfig | None = None
    database: DatabaseConfig | None = None
    mqtt: MqttConfig | None = None
    webhooks: Mapping[str, WebhookConfig] = field(default_factory=dict)


def serve_sinks(worker: Worker, run: str, job: SinksJob) -> None:
    """Be the sinks process of a live run, until asked to stop by SIGTERM."""
    stopped_at: list[float] = []

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopped_at.append(time.monotonic())

    signal.signal(signal.SIGTERM, stop)
    hub = _Hub(worker.context, endpoint(run, "hub"))
    runners = [SinkRunner(name, make, job.journal) for name, make in makers(job).items()]
    for runner in runners:
        runner.start()
    worker.tell("ready", sinks=[runner.name for runner in runners])
    while not stopped_at or time.monotonic() < stopped_at[0] + GRACE:
        hub.pass_on(runners, LOOP_MS)
        worker.beat(sinks={runner.name: runner.status().model_dump() for runner in runners})
        if stopped_at and not hub.is_connected:
            for runner in runners:
                runner.finish()
            if all(runner.join(0) for runner in runners):
                break
    for runner in runners:
        runner.stop()
    for runner in runners:
        runner.join(LAST_WORDS / len(runners))
    hub.close()


def makers(job: SinksJob) -> dict[str, Callable[[], ExactSink]]:
    """Return what makes each sink that is configured, by the name it goes by."""
    made: dict[str, Callable[[], ExactSink]] = {}
    if job.jsonl is not None:
        made["jsonl"] = partial(_make_jsonl, job, job.jsonl)
    if job.database is not None:
        made["database"] = partial(_make_database, job, job.database)
    if job.mqtt is not None:
        made["mqtt"] = partial(_make_mqtt, job, job.mqtt)
    for name, config in job.webhooks.items():
        made[f"webhook-{name}"] = partial(_make_webhook, job, name, config)
    return made


def _make_jsonl(job: SinksJob, config: JsonLinesConfig) -> ExactSink:
    from .jsonl_sink import JsonLinesSink

    return JsonLinesSink(config, _cursor_path(job, "jsonl"), _start(job))


def _make_database(job: SinksJob, config: DatabaseConfig) -> ExactSink:
    from .database_sink import DatabaseSink

    return DatabaseSink(config, job.journal)


def _make_mqtt(job: SinksJob, config: MqttConfig) -> ExactSink:
    try:
        from .mqtt_sink import MqttSink
    except ImportError as error:  # it says what to install
        raise SinkError(str(error), is_over=True) from None
    return _with_cursor(job, MqttSink(config, job.system_id))


def _make_webhook(job: SinksJob, name: str, config: WebhookConfig) -> ExactSink:
    from .webhook_sink import WebhookSink

    return _with_cursor(job, WebhookSink(f"webhook-{name}", config), most=1)


def _with_cursor(job: SinksJob, sink: Sink, **options: int) -> WithCursor:
    return WithCursor(sink, _cursor_path(job, sink.name), _start(job), **options)


def _start(job: SinksJob) -> Callable[[], Position]:
    return partial(beginning, job.journal, job.system_id)


def _cursor_path(job: SinksJob, name: str) -> Path:
    return job.journal / "cursors" / f"{name}.json"


class _Hub:
    """Statuses from the publisher, and whether it is there."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", address: str) -> None:
        self.is_connected = False
        self._socket = hub_socket(context, [STATUS_ROOT])
        self._monitor = self._socket.get_monitor_socket(
            zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED
        )
        self._socket.connect(address)

    def pass_on(self, runners: list[SinkRunner], timeout_ms: int) -> None:
        """Give the sinks what has come, waiting for at most so long."""
        while self._monitor.poll(0):
            event = recv_monitor_message(self._monitor)
            self.is_connected = event["event"] == zmq.EVENT_CONNECTED
        while self._socket.poll(timeout_ms):
            timeout_ms = 0
            status = record_of(self._socket.recv_multipart())
            if isinstance(status, RunStatus | SourceStatus):
                for runner in runners:
                    runner.note(status)

    def close(self) -> None:
        """Close the sockets."""
        self._socket.disable_monitor()
        self._monitor.close()
        self._socket.close()

"""The sockets of the run and the HTTP server, in one event loop.

Everything but the disk happens in the loop's thread. The sockets of the run are read when the loop
says that they have something, and ten times a second besides: their file descriptors tell of new
messages only, not of those that are left.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

import zmq

from .hub import hub_socket
from .measure import Measures
from .messages import unpack
from .previews import PreviewInlet
from .sockets import LIVE_QUEUE, endpoint, pull
from .topics import HEARTBEAT_ROOT, HEAT_ROOT, STATUS_ROOT, STEP_ROOT, TOPIC_ROOT, source_topic
from .web_app import make_app
from .web_live import Live
from .web_pictures import Pictures
from .web_replay import Replays
from .web_requests import Requests
from .web_server import bind, make_server, url_of
from .web_state import Web
from .web_worker import WebJob
from .worker import Worker

TURN = 0.1  # seconds between two turns
BATCH = 200  # messages taken before others of the loop get their turn

Take = Callable[[list[bytes]], None]

logger = logging.getLogger(__name__)


class WebLoop:
    """The sockets of the run, and the server; made and used in an event loop.

    Parameters
    ----------
    worker : Worker
    run : str
        Name of the run.
    job : WebJob
    """

    def __init__(self, worker: Worker, run: str, job: WebJob) -> None:
        self._worker, self._job = worker, job
        topics = (TOPIC_ROOT, STEP_ROOT, STATUS_ROOT, HEARTBEAT_ROOT)
        self._hub = hub_socket(worker.context, topics)
        self._hub.connect(endpoint(run, "hub"))
        self._answers = pull(worker.context, run, "answers", queue=LIVE_QUEUE)
        self._replays = Replays(worker.context, run)
        self._previews = PreviewInlet(worker.context, run, "web")
        self._heat: set[str] = set()  # sources whose heat is subscribed to
        live = Live(job.system_id, self._replays)
        self._web = Web(job, live, Requests(worker.try_tell), Pictures(live), {})
        self._n_taken = 0
        self._inlets: list[tuple[zmq.Socket[bytes], Take]] = [
            (self._hub, live.take),
            (self._replays.socket, self._replays.take),
            (self._answers, self._answer),
        ]

    async def serve(self, stopped: asyncio.Event) -> None:
        """Serve until asked to stop."""
        loop = asyncio.get_running_loop()
        socket = bind(self._job.config)
        try:
            server = make_server(make_app(self._web), self._job.config)
            for inlet, take in self._inlets:
                loop.add_reader(inlet, self._drain, inlet, take)
            loop.add_reader(self._previews.socket, self._look)
            serving = asyncio.create_task(server.serve([socket]))
            turning = asyncio.create_task(self._turn())
            waiting = asyncio.create_task(stopped.wait())
            self._worker.tell("ready", url=url_of(socket, self._job.config))
            await asyncio.wait({turning, waiting, serving}, return_when=asyncio.FIRST_COMPLETED)
            self._web.live.stop()
            server.should_exit = True
            waiting.cancel()
            await serving
            turning.cancel()
            with suppress(asyncio.CancelledError):
                await turning  # whatever made it fail
        finally:
            socket.close()
            self._close()

    async def _turn(self) -> None:
        """Report that the loop goes round, and see to what is due; for ever."""
        while True:
            for inlet, take in self._inlets:
                self._drain(inlet, take)
            self._look()
            self._worker.beat(n=self._n_taken)
            self._n_taken = 0
            await asyncio.sleep(TURN)

    def _drain(self, inlet: "zmq.Socket[bytes]", take: Take) -> None:
        """Take what has arrived at a socket."""
        for _ in range(BATCH):
            try:
                parts = inlet.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            self._n_taken += 1
            try:
                take(parts)
            except (LookupError, TypeError, ValueError) as error:
                logger.warning("web: skipped a message: %s", type(error).__name__)
        asyncio.get_running_loop().call_soon(self._drain, inlet, take)

    def _look(self) -> None:
        """Take the pictures that have come; say what clients want."""
        self._previews.want(self._web.pictures.wanted())
        for picture in self._previews.turn():
            self._web.pictures.take(picture)
        wanted = {name for client in self._web.live.clients for name in client.watch.heat}
        for source in wanted - self._heat:
            self._hub.subscribe(source_topic(HEAT_ROOT, source))
        for source in self._heat - wanted:
            self._hub.unsubscribe(source_topic(HEAT_ROOT, source))
        self._heat = wanted

    def _answer(self, parts: list[bytes]) -> None:
        message = unpack(parts)
        if message.kind == "answer":
            self._web.requests.take(message.data)
        elif message.kind == "measures":
            self._web.measures = {
                name: Measures.from_json(counted) for name, counted in message.data.items()
            }

    def _close(self) -> None:
        loop = asyncio.get_running_loop()
        for socket in (*(inlet for inlet, _ in self._inlets), self._previews.socket):
            loop.remove_reader(socket)
        for inlet, _ in self._inlets:
            inlet.close()
        self._previews.close()

"""Replay: a ROUTER that gives a subscriber the events it has missed.

A DEALER sends one part, a `ReplayRequest`; it gets a `ReplayAnswer` and the events, one part each.
(A REQ may ask as well: the empty part that it puts before its own comes back.)
"""

import zmq
from pydantic import ValidationError

from .event_ring import EventRing
from .wire import REPLAY_MOST, ReplayAnswer, ReplayRequest

IN_A_TURN = 4  # answers
QUEUE = 8  # requests and answers of a peer that may wait
LINGER_MS = 0  # who still waits asks the next publisher


class Replay:
    """The ROUTER of a publisher, bound. Whatever arrives, nothing is raised.

    Parameters
    ----------
    socket : zmq.Socket
        Of type ROUTER, not bound yet.
    ring : EventRing
        What there is.
    next_seq : dict
        Source to the `seq` of its next event; looked at for each answer.
    system_id : str
        Of the run.

    Attributes
    ----------
    n_replayed : int
        Events in answers.
    n_refused : int
        Requests that were malformed, or whose sender does not take the answers.
    """

    def __init__(
        self,
        socket: "zmq.Socket[bytes]",
        ring: EventRing,
        next_seq: dict[str, int],
        system_id: str,
    ) -> None:
        self.n_replayed = self.n_refused = 0
        self.socket = socket
        self._ring, self._next_seq, self._system_id = ring, next_seq, system_id
        socket.setsockopt(zmq.LINGER, LINGER_MS)
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # a full queue is noticed
        socket.set_hwm(QUEUE)

    def serve(self) -> None:
        """Answer a few of the requests that have arrived; to be called often."""
        for _ in range(IN_A_TURN):
            if not self.socket.poll(0):
                return
            parts = self.socket.recv_multipart()
            sender = parts[:2] if len(parts) == 3 and not parts[1] else parts[:1]
            answer, bodies = self._answer(parts[len(sender) :])
            self.n_refused += answer.error is not None
            head = answer.model_dump_json(by_alias=True).encode()
            try:
                self.socket.send_multipart([*sender, head, *bodies], zmq.DONTWAIT)
            except zmq.Again:
                self.n_refused += 1
            except zmq.ZMQError:
                continue  # it has gone
            else:
                self.n_replayed += len(bodies)

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    def _answer(self, parts: list[bytes]) -> tuple[ReplayAnswer, list[bytes]]:
        """Return the answer to a request, and the bodies of the events."""
        if len(parts) != 1:
            return self._refusal(f"a request has 1 part, this one has {len(parts)}"), []
        try:
            request = ReplayRequest.model_validate_json(parts[0])
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            return self._refusal(f"{place or 'request'}: {first['msg']}"), []
        source = request.source
        found = self._ring.find(source, request.since, request.until, REPLAY_MOST)
        answer = ReplayAnswer(
            id=request.id,
            system_id=self._system_id,
            source=source,
            oldest=self._ring.oldest(source),
            next=self._next_seq.get(source, 0),
            n=len(found),
        )
        return answer, [event.body for event in found]

    def _refusal(self, reason: str) -> ReplayAnswer:
        return ReplayAnswer(system_id=self._system_id, source="", error=reason)

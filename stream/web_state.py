"""What all handlers of requests share."""

from dataclasses import dataclass

from .measure import Measures
from .web_live import Live
from .web_pictures import Pictures
from .web_requests import Requests
from .web_worker import WebJob

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
    requests: Requests
    pictures: Pictures
    measures: dict[str, Measures]

    @property
    def is_full(self) -> bool:
        """Whether there are as many live clients as may be."""
        return len(self.live.clients) >= MOST_CLIENTS

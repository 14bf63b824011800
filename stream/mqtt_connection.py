"""A connection to an MQTT 5 broker that knows what the broker has acknowledged.

Everything happens in the thread that calls; `paho` gets no thread of its own, so nothing is queued
behind anybody's back: who publishes waits until there is room (the broker's receive maximum), and
who wants to be sure waits for the acknowledgements.

Within this process a session is taken up again after a broken connection, so that an event of QoS 2
that was half delivered is neither lost nor doubled. If the broker has forgotten the session, so has
this side: what was not acknowledged is to be published again.
"""

import contextlib
import ssl
import time
from collections.abc import Callable, Hashable, Iterable
from typing import Any, NamedTuple

try:
    from paho.mqtt import client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode
    from paho.mqtt.subscribeoptions import SubscribeOptions
except ImportError as error:
    raise ImportError("MQTT needs paho-mqtt: pip install 'playspot[mqtt]'") from error

from .output_config import MqttConfig
from .restarts import Restarts
from .sink import SinkError

KEEPALIVE = 30  # s
CONNECT_TIME = 3.0  # s for TCP and TLS, and again for the broker's answer
ACK_TIME = 5.0  # s without any acknowledgement after which the broker counts as hung
SESSION_TIME = 3600  # s that the broker remembers what is half delivered (QoS 2)
LAST_RETRY = 10.0  # s between two attempts to connect, at most
YIELD_TIME = 60.0  # s for which a program that took over the client id is left alone
WINDOW = 100  # messages on their way at once, or fewer if the broker wants so
HEAD_BYTES = 200  # of a message, besides its payload: topic and properties
CUT_TIME = 10.0  # s; a connection that broke sooner may have been taken over
CUTS = 3  # of them in a row that are called suspicious; not every broker says that it was
REFUSED = (134, 135)  # user or password; not authorised
TAKEN_OVER = 142

Receive = Callable[[str, str, bool], None]


class _Message(NamedTuple):
    """One that the broker has not acknowledged."""

    topic: str
    qos: int
    key: Hashable | None


class MqttConnection:
    """A connection that is made when it is needed.

    Parameters
    ----------
    config : MqttConfig
    will : tuple of str
        Topic and payload that the broker publishes, retained, if this program just vanishes.
    receive : callable
        Gets topic, text and whether it was retained, of what is subscribed to.

    Attributes
    ----------
    is_up : bool
        Whether there is a connection.
    acked : set
        Keys of what the broker has acknowledged; who reads it clears it.
    """

    def __init__(self, config: MqttConfig, will: tuple[str, str], receive: Receive) -> None:
        self.is_up = False
        self.acked: set[Hashable] = set()
        self._config, self._receive = config, receive
        self._port = config.port or (8883 if config.tls else 1883)
        self._pending: dict[int, _Message] = {}
        self._restarts = Restarts()
        self._retry_at = 0.0
        self._trouble: str | None = None  # why there is no connection
        self._refusal: str | None = None  # of a message
        self._is_taken_over = False
        self._up_since = 0.0
        self._n_cut = 0  # connections in a row that were cut as soon as they were made
        self._window, self._max_qos = WINDOW, 2
        self._max_bytes: int | None = None  # of a message
        self._has_tls = False
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, config.client_id, protocol=MQTTProtocolVersion.MQTTv5
        )
        self._client.connect_timeout = CONNECT_TIME
        self._client.max_inflight_messages_set(0)  # `publish` minds the window
        if config.user is not None or config.password is not None:
            self._client.username_pw_set(config.user, config.password)
        self._client.will_set(*will, qos=1, retain=True)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.on_message = self._on_message

    @property
    def place(self) -> str:
        """The broker, in words."""
        return f"the MQTT broker at {self._config.host}:{self._port}"

    @property
    def under_way(self) -> set[Hashable]:
        """Keys of what is published and not acknowledged; it is not to be published again."""
        return {message.key for message in self._pending.values()}

    def open(self) -> bool:
        """Connect if there is no connection; return whether it is a new one.

        Raises
        ------
        SinkError
            If it cannot be made, or it is too early to try again.
        """
        if self.is_up:
            return False
        if time.monotonic() < self._retry_at:
            raise SinkError(self._trouble or f"{self.place} is not connected")
        self._trouble = None
        try:
            self._connect()
        except (OSError, ValueError) as error:  # ValueError: what can be no host
            reason = getattr(error, "strerror", None) or error
            self._n_cut = 0
            raise self._failure(f"{self.place} cannot be reached: {reason}") from None
        self._restarts.started()
        return True

    def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe to topics; what this program publishes there itself does not come."""
        options = SubscribeOptions(qos=1, noLocal=True)
        self._client.subscribe([(topic, options) for topic in topics])

    def publish(
        self,
        topic: str,
        payload: str,
        qos: int,
        *,
        key: Hashable | None = None,
        is_retained: bool = False,
        expiry: int | None = None,
    ) -> None:
        """Publish a message as soon as the broker has room for it.

        Parameters
        ----------
        topic, payload : str
        qos : int
            Less if the broker knows less.
        key : hashable, optional
            Comes into `acked` once the broker has acknowledged the message (QoS 0: once it is with
            the socket).
        is_retained : bool
        expiry : int, optional
            Seconds after which the broker is to forget it.

        Raises
        ------
        SinkError
            If the broker is gone, or takes no message of this size.
        """
        if self._max_bytes and (size := len(payload.encode()) + HEAD_BYTES) > self._max_bytes:
            raise SinkError(
                f"{self.place} takes messages of {self._max_bytes} bytes, but one of {topic} has "
                f"{size}: raise its limit"
            )
        self.settle(self._window - 1)
        properties = _properties(PacketTypes.PUBLISH)
        properties.PayloadFormatIndicator = 1  # UTF-8
        if expiry is not None:
            properties.MessageExpiryInterval = expiry
        qos = min(qos, self._max_qos)
        info = self._client.publish(topic, payload, qos, is_retained, properties)
        if qos > 0:  # also if that failed: `paho` tries again once it is connected
            self._pending[info.mid] = _Message(topic, qos, key)
        if info.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_AGAIN):
            raise self._failure(self._trouble or f"{self.place} closed the connection")
        if qos == 0 and not info.is_published():
            self._pending[info.mid] = _Message(topic, qos, key)
        elif qos == 0 and key is not None:
            self.acked.add(key)

    def settle(self, most: int = 0, patience: float | None = None) -> None:
        """Wait until the broker has acknowledged all but at most `most` messages.

        Raises
        ------
        SinkError
            If it is gone, refuses one, or acknowledges nothing for `patience` (`ACK_TIME`) s.
        """
        patience = ACK_TIME if patience is None else patience
        left, until = len(self._pending), time.monotonic() + patience
        while len(self._pending) > most:
            self.turn(0.05)
            if len(self._pending) < left:
                left, until = len(self._pending), time.monotonic() + patience
            elif time.monotonic() > until:
                raise self._failure(f"{self.place} acknowledges nothing for {patience:.0f} s")

    def turn(self, timeout: float = 0.0) -> None:
        """Receive and send what there is; wait for up to `timeout` s."""
        failed = self._client.loop(timeout)
        if failed or self._trouble:
            raise self._failure(self._trouble or f"{self.place} closed the connection")
        if self._refusal is not None:
            refusal, self._refusal = self._refusal, None
            raise SinkError(refusal)

    def close(self) -> None:
        """End the connection as planned: no last will, and no session is left behind."""
        properties = _properties(PacketTypes.DISCONNECT)
        properties.SessionExpiryInterval = 0
        self._disconnect(None, properties)

    def _connect(self) -> None:
        """Connect, and wait for the broker's answer."""
        if self._config.tls and not self._has_tls:
            self._client.tls_set_context(self._tls())
            self._has_tls = True
        session = _properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = SESSION_TIME
        # The first connection of a process is a clean start: numbers of messages that a killed one
        # had used must not meet those of this one.
        self._client.connect(self._config.host, self._port, KEEPALIVE, properties=session)
        until = time.monotonic() + CONNECT_TIME
        while not self.is_up:
            if time.monotonic() > until:
                raise self._failure(f"{self.place} does not answer; does it speak MQTT 5?")
            self.turn(0.05)

    def _tls(self) -> ssl.SSLContext:
        authority = self._config.certificate_authority
        try:
            return ssl.create_default_context(cafile=authority)
        except OSError as error:  # ssl.SSLError is one
            reason = error.strerror or "no certificate in PEM"
            raise self._failure(f"certificate_authority {authority}: {reason}") from None

    def _disconnect(self, reason: ReasonCode | None, properties: Any = None) -> None:
        self.is_up = False
        with contextlib.suppress(OSError, ValueError):
            self._client.disconnect(reason, properties)
            if self._client.socket() is not None:
                self._client.loop(0.0)

    def _failure(self, trouble: str) -> SinkError:
        """Drop the connection, and return what is to be raised."""
        self._disconnect(ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message"))
        delay = min(self._restarts.failed(is_patient=True), LAST_RETRY)
        if self._is_taken_over:  # two that take each other's place for ever help nobody
            delay, self._is_taken_over = YIELD_TIME, False
        self._trouble, self._retry_at = trouble, time.monotonic() + delay
        return SinkError(trouble)

    def _on_connect(
        self, client: mqtt.Client, _: Any, flags: Any, reason: ReasonCode, told: Any
    ) -> None:
        if reason.is_failure:
            self._trouble = f"{self.place} refuses the connection: {reason}"
            if reason.value in REFUSED:
                self._trouble += f" (user {self._config.user!r}); correct user and password"
            return
        lost = list(self._pending)
        if flags.session_present:
            lost = [number for number, message in self._pending.items() if message.qos == 0]
        else:
            client.drop_out_messages()
        for number in lost:
            del self._pending[number]
        self._window = min(WINDOW, getattr(told, "ReceiveMaximum", WINDOW))
        self._max_qos = getattr(told, "MaximumQoS", 2)
        self._max_bytes = getattr(told, "MaximumPacketSize", None)
        self.is_up, self._up_since = True, time.monotonic()

    def _on_disconnect(
        self, _client: mqtt.Client, _: Any, flags: Any, reason: ReasonCode, _told: Any
    ) -> None:
        was_up, self.is_up = self.is_up, False
        one_each = f"the client id {self._config.client_id!r}; give each program one of its own"
        if flags.is_disconnect_packet_from_server:
            self._trouble = f"{self.place} closed the connection: {reason}"
            if reason.value == TAKEN_OVER:
                self._is_taken_over = True
                self._trouble = f"another program at {self.place} has taken {one_each}"
        elif was_up:
            self._n_cut = self._n_cut + 1 if time.monotonic() - self._up_since < CUT_TIME else 0
            if self._n_cut >= CUTS:
                self._trouble = f"{self.place} cuts each connection; perhaps others use {one_each}"

    def _on_publish(
        self, _client: mqtt.Client, _: Any, number: int, reason: ReasonCode, _told: Any
    ) -> None:
        if (message := self._pending.pop(number, None)) is None:
            return
        if reason.is_failure:
            self._refusal = f"{self.place} refuses {message.topic}: {reason}"
        elif message.key is not None:
            self.acked.add(message.key)

    def _on_message(self, _client: mqtt.Client, _: Any, message: mqtt.MQTTMessage) -> None:
        self._receive(message.topic, message.payload.decode(errors="replace"), message.retain)


def _properties(packet: int) -> Any:
    return Properties(packet)  # type: ignore[no-untyped-call]

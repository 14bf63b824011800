"""Why a source fails, as types: what may heal is tried again, what will not is said and left."""

from typing import Final, Literal, get_args

from .demux import SourceError

FailureKind = Literal[
    "refused",  # nobody listens there
    "unreachable",  # no route, no network
    "dns",  # the host's name is unknown
    "timeout",  # it does not answer, or stopped to
    "lost",  # the connection broke
    "ended",  # the other side ended the stream
    "auth",  # wrong or no password
    "untrusted",  # a certificate that nobody vouches for
    "not_found",  # 404, no such file or stream
    "forbidden",  # the server refuses (403, 4xx), permissions
    "unplugged",  # a device that is gone
    "busy",  # a device that somebody else uses
    "unsupported",  # no such protocol, or codec, here
    "damaged",  # nothing of it can be decoded
    "crashed",  # the reader process ended
]
KINDS: Final[tuple[str, ...]] = get_args(FailureKind)
WILL_NOT_HEAL: Final = frozenset({"auth", "untrusted", "unsupported"})


class SourceFailure(SourceError):  # noqa: N818  # it says how a source failed
    """A source that broke off or could not be opened; the message is one line for the user.

    Parameters
    ----------
    kind : FailureKind
    message : str
        Without credentials: use `locator.redacted`.
    may_heal : bool, optional
        Whether it is worth trying again without a change by the user; by its kind if not given.
    """

    def __init__(self, kind: FailureKind, message: str, *, may_heal: bool | None = None) -> None:
        super().__init__(message)
        self.kind: FailureKind = kind
        self.may_heal = kind not in WILL_NOT_HEAL if may_heal is None else may_heal

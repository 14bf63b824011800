"""The topics of what is published, by which subscribers say what they want.

Each ends with a slash, so that who subscribes to `cam1` does not get `cam10`.
"""

from typing import Final

TOPIC_ROOT: Final = "playspot/v1/"  # of events
STEP_ROOT: Final = "playspot/steps/v1/"
STATUS_ROOT: Final = "playspot/status/v1/"
HEARTBEAT_ROOT: Final = "playspot/heartbeat/v1/"
HEAT_ROOT: Final = "playspot/heat/v1/"


def topic(source: str, label: str) -> str:
    """Return the topic of a label of a source; slashes in names become underscores.

    Examples
    --------
    >>> topic("stage", "violin")
    'playspot/v1/stage/violin/'
    """
    return f"{TOPIC_ROOT}{source.replace('/', '_')}/{label.replace('/', '_')}/"


def source_topic(root: str, source: str) -> str:
    """Return the topic of all of a kind (`root`) that there is of a source; of the run for "".

    Examples
    --------
    >>> source_topic(STEP_ROOT, "stage"), source_topic(STATUS_ROOT, "")
    ('playspot/steps/v1/stage/', 'playspot/status/v1/')
    """
    return f"{root}{source.replace('/', '_')}/" if source else root

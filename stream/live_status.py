"""What the supervisor knows of a live run -> the status records that are published."""

import time

from .feed import Feed
from .locator import redacted
from .measure import Measures
from .status import Ages, Clock, SourceStatus, StageName, WorkerStatus
from .watched import Watched

STAGES: tuple[StageName, ...] = ("reader", "flow", "mel", "detector", "publisher")


def source_status(
    feed: Feed, services: dict[str, Measures], account: dict[str, int]
) -> SourceStatus:
    """Return the status of a source.

    Parameters
    ----------
    feed : Feed
    services : dict
        What the stages that serve all sources have counted.
    account : dict
        What became of its steps, as the publisher has it: "published", and causes.
    """
    measures = {"reader": feed.reader.measures, **services}
    drops: dict[StageName, dict[str, int]] = {}
    ages: dict[StageName, Ages] = {}
    for stage in STAGES:
        counted = measures.get(stage, Measures())
        of_source = {c: n for (source, c), n in counted.drops.items() if source == feed.name}
        if of_source:
            drops[stage] = of_source
        if feed.name in counted.ages:
            ages[stage] = Ages.of(counted.ages[feed.name])
    waits = feed.state == "retrying" and feed.reader.retry_at is not None
    return SourceStatus(
        source=feed.name,
        wall_time=time.time(),
        state=feed.state,
        since=feed.since,
        url=redacted(feed.config.url),
        error=feed.failure,
        retry_in=max(0.0, (feed.reader.retry_at or 0.0) - time.monotonic()) if waits else None,
        # The last report of a reader that was ended may be older than its last step.
        steps=max(feed.n_steps, sum(account.values())),
        published=account.get("published", 0),
        dropped={cause: n for cause, n in account.items() if cause != "published"},
        drops=drops,
        ages_ms=ages,
        sessions=feed.n_sessions,
        restarts=feed.reader.restarts.total,
        failures_in_a_row=feed.reader.restarts.in_a_row,
        clock=Clock(**vars(feed.clock)),
    )


def worker_status(watched: Watched) -> WorkerStatus:
    """Return the status of a process."""
    return WorkerStatus(
        name=watched.name,
        pid=watched.pid,
        state="running" if watched.is_running else "waiting",
        rss_mb=round(watched.rss_mb, 1),
        restarts=watched.restarts.total,
        failures_in_a_row=watched.restarts.in_a_row,
        reason=watched.last_reason,
    )

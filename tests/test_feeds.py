"""The sources of a live run, as far as they can be seen without their processes."""

from playspot.stream.config import SourceConfig
from playspot.stream.feeds import Feeds
from playspot.stream.supervisor import Supervisor


def test_the_time_of_a_source_that_is_removed_and_added_again_goes_on() -> None:
    feeds = Feeds(Supervisor("@unused"), 256, 1, 1024, lambda name, reason: None)
    stage, hall = SourceConfig(url="a.mp4"), SourceConfig(url="b.mp4")
    feeds.configure({"stage": stage, "hall": hall})
    before = next(feed for feed in feeds if feed.name == "stage")
    before.n_steps = 40
    feeds.configure({"hall": hall})
    feeds.configure({"hall": hall, "stage": stage})
    after = next(feed for feed in feeds if feed.name == "stage")
    assert after is not before
    assert (after.epoch, after.n_steps) == (before.epoch, 40)

from playspot.stream.fair_queue import Turns


def test_whoever_was_served_longest_ago_comes_first() -> None:
    turns = Turns()
    for name in ("a", "b", "c", "a"):
        turns.take(name)
    assert turns.order(["a", "b", "c"]) == ["b", "c", "a"]


def test_a_new_source_comes_before_all_others() -> None:
    turns = Turns()
    turns.take("a")
    assert turns.order(["a", "new"]) == ["new", "a"]


def test_only_those_that_wait_are_ordered() -> None:
    turns = Turns()
    turns.take("b")
    assert turns.order(["a"]) == ["a"]

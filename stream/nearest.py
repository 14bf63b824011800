"""The name that somebody meant."""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return the known name that is meant, as a question; else what to do.

    Parameters
    ----------
    name : str
    known : iterable of str
    otherwise : str
        What to say if none is near.

    Examples
    --------
    >>> nearest("celo", ["cello", "drum"])
    "did you mean 'cello'?"
    >>> nearest("x", ["cello", "drum"], "give cello or drum")
    'give cello or drum'
    """
    names = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), names, 1)
    return f"did you mean '{names[near[0]]}'?" if near else otherwise

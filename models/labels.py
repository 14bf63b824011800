"""The nine instruments, in the order that every array, file and message uses."""

LABELS = (
    "accordion",
    "cello",
    "drum",
    "flute",
    "guitar",
    "piano",
    "saxophone",
    "trumpet",
    "violin",
)

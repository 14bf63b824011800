"""Log who played what, and when, as CSV: python csv_logger.py FILE [ENDPOINT].

Started again, it goes on where it was: what ended meanwhile is asked for, and added.
"""

import csv
import sys
from pathlib import Path

from playspot.stream import listen

FIELDS = "source", "label", "start_time", "end_time", "top_score", "end_reason", "system_id", "seq"

path = Path(sys.argv[1])
with path.open("a+", newline="") as file:
    file.seek(0)
    since = {row["source"]: (row["system_id"], int(row["seq"]) + 1) for row in csv.DictReader(file)}
    log = csv.DictWriter(file, FIELDS, extrasaction="ignore")
    if not since:
        log.writeheader()
    for event in listen(*sys.argv[2:3], since=since):
        if event.type == "end":
            log.writerow(event.model_dump())
            file.flush()

"""Light whoever plays, by OSC: python osc_lights.py DESK_HOST DESK_PORT [ENDPOINT].

/playspot/stage/violin/level is 1 while the violin plays, then 0; /playspot/stage/violin/at is where
(x, y from 0 to 1, from the top left). Needs: pip install python-osc
"""

import sys

from pythonosc.udp_client import SimpleUDPClient

from playspot.stream import listen

desk = SimpleUDPClient(sys.argv[1], int(sys.argv[2]))
for event in listen(*sys.argv[3:4]):
    address = f"/playspot/{event.source}/{event.label}"
    if event.type != "update":
        desk.send_message(f"{address}/level", 0.0 if event.type == "end" else 1.0)
    if event.point is not None:
        desk.send_message(f"{address}/at", event.point)

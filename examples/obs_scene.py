"""Show the scene of whoever began to play last: python obs_scene.py [ENDPOINT].

OBS has a scene named after each instrument, and one named `wide` for when nobody plays. Its
WebSocket server (Tools) runs with a password: OBS_PASSWORD=... Needs: pip install obsws-python
"""

import os
import sys

import obsws_python

from playspot.stream import listen

port = int(os.environ.get("OBS_PORT", "4455"))
obs = obsws_python.ReqClient(host="127.0.0.1", port=port, password=os.environ["OBS_PASSWORD"])
playing: dict[str, str] = {}  # event to instrument, the last that began at the end
for event in listen(*sys.argv[1:2]):
    before = list(playing.values())[-1:]
    if event.type == "end":
        playing.pop(event.id, None)
    else:
        playing.setdefault(event.id, event.label)
    after = list(playing.values())[-1:]
    if after != before:
        obs.set_current_program_scene(after[0] if after else "wide")

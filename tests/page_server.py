"""A server for the live page that plays made-up music, for tests (fixture `page_server`).

It speaks the routes and the WebSocket of the live page, and notes what it is asked for. Without
`scenes` a source is a grey picture with a white square that moves, and a violin in a fixed box.
"""

import asyncio
import base64
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import uvicorn
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from playspot.models.labels import LABELS
from playspot.stream.drawing import colour_of
from playspot.stream.timeline import STEP, TICK, TICKS_PER_STEP

ASSETS = Path(__file__).resolve().parents[1] / "stream"
POLICY = {"Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'"}
PICTURE_DELAY, STEP_DELAY = 0.1, 0.8  # seconds from capture to sending
BOX = (0.25, 0.25, 0.5, 0.75)
MODEL = {"name": "bundled", "hash": "0" * 8, "engine": "onnx", "precision": "fp32"}

Player = tuple[str, tuple[float, float], tuple[float, float, float, float] | None, float]


class Scene(Protocol):
    """What a source shows, and who plays in it."""

    def picture(self, time: float) -> NDArray[np.uint8]:
        """Return the picture (H, W, 3), BGR."""
        ...

    def players(self, time: float) -> list[Player]:
        """Return label, point, box and score of all who play."""
        ...


class PlainScene:
    """Grey, with a white square that moves; the violin plays 2 s of every 4, from the start."""

    def picture(self, time: float) -> NDArray[np.uint8]:
        image = np.full((180, 320, 3), 96, np.uint8)
        left = int(40 * time) % 280
        image[150:170, left : left + 40] = 255
        return image

    def players(self, time: float) -> list[Player]:
        return [("violin", (0.375, 0.5), BOX, 0.9)] if time % 4 < 2 else []


class PageServer:
    """The stand-in: change its attributes while it runs."""

    def __init__(self, scenes: dict[str, Scene], port: int = 0, token: str | None = None) -> None:
        self.scenes, self.token = dict(scenes), token
        self.states = dict.fromkeys(scenes, "live")
        self.system_id = f"run{time.monotonic_ns() % 10**9}"
        self.began = time.time()
        self.history: list[dict[str, Any]] = []  # stored events, oldest first
        self.watches: list[dict[str, Any]] = []
        self.requests: list[str] = []
        self.pictures_sent: Counter[str] = Counter()
        self.can_record = True
        self.clips: dict[str, bytes] = {}
        self.snapshots: dict[str, bytes] = {}
        self.workers = [worker("publisher"), worker("detector"), worker("web")]
        self.sinks: dict[str, dict[str, Any]] = {}
        self.seq: Counter[str] = Counter()
        self._open: dict[tuple[str, str], dict[str, Any]] = {}
        self._clients: dict[WebSocket, dict[str, Any]] = {}
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        app = Starlette(
            routes=[
                Route("/", self._page),
                Route("/assets/{name}", self._asset),
                Route("/api/login", self._login, methods=["POST"]),
                Route("/api/status", self._status),
                Route("/api/sources", self._add, methods=["POST"]),
                Route("/api/sources/{name}", self._remove, methods=["DELETE"]),
                Route("/api/events", self._events),
                Route("/api/events/{id}", self._event),
                Route("/api/events/{id}/snapshot.jpg", self._snapshot),
                Route("/api/events/{id}/clip.mp4", self._clip),
                WebSocketRoute("/api/ws", self._serve),
            ]
        )
        self._server = uvicorn.Server(
            uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1)
        )
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        playing = asyncio.create_task(self._play())
        await self._server.serve(sockets=[self._socket])
        playing.cancel()

    # What is played.

    async def _play(self) -> None:
        tick = 0
        while True:
            await asyncio.sleep(max(0.0, self.began + tick * TICK + PICTURE_DELAY - time.time()))
            for name, scene in list(self.scenes.items()):
                if self.states[name] == "live":
                    await self._show(name, scene, tick)
            late = tick - round((STEP_DELAY - PICTURE_DELAY) / TICK)
            if late >= 0 and late % TICKS_PER_STEP == 0:
                for name, scene in list(self.scenes.items()):
                    if self.states[name] == "live":
                        await self._step(name, scene, late // TICKS_PER_STEP)
            if tick % 8 == 0:
                for status in [self.run_status(), *map(self.source_status, self.scenes)]:
                    await self._tell("status", status)
            tick += 1

    async def _show(self, name: str, scene: Scene, tick: int) -> None:
        wanting = [
            (client, watch["pictures"][name])
            for client, watch in self._clients.items()
            if name in watch.get("pictures", {})
        ]
        if not wanting:
            return
        picture = scene.picture(tick * TICK)
        side = max(side for _, side in wanting)
        scale = min(1.0, side / max(picture.shape[:2]))
        image = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
        header = {
            "source": name,
            "time": tick * TICK,
            "tick": tick,
            "captured": self.began + tick * TICK,
        }
        text = json.dumps(header).encode()
        self.pictures_sent[name] += len(wanting)
        for client, _ in wanting:
            await self._send(client, len(text).to_bytes(4, "big") + text + jpeg)

    async def _step(self, name: str, scene: Scene, step: int) -> None:
        moment = step * STEP
        captured = self.began + moment
        scores = {label: 0.04 + 0.03 * np.sin(step + k) ** 2 for k, label in enumerate(LABELS)}
        detections = []
        for label, point, box, score in scene.players(moment):
            scores[label] = score
            parts = {
                kind: {
                    "score": round(min(1.0, score * (0.9 + 0.12 * np.sin(1.7 * step + k))), 3),
                    "status": "ok",
                }
                for k, kind in enumerate(("action", "object", "sound"))
            }
            detections.append(
                {"label": label, "score": score, "point": point, "box": box, "modalities": parts}
            )
        body = {
            "schema": "playspot/step/1",
            "step": step,
            "time": moment,
            "scores": {label: round(float(score), 3) for label, score in scores.items()},
            "points": {},
            "detections": detections,
            "source": name,
            "system_id": self.system_id,
            "base": 0,
            "captured": captured,
            "latency_ms": 1000 * (time.time() - captured),
            "status": dict.fromkeys(("action", "object", "sound"), "ok"),
        }
        await self._tell("step", body)
        await self._follow(name, body)
        if detections:
            await self._tell("heat", heat(body))

    async def _follow(self, name: str, step: dict[str, Any]) -> None:
        playing = {found["label"]: found for found in step["detections"]}
        for label in {*playing, *(kept for source, kept in self._open if source == name)}:
            found, was = playing.get(label), self._open.get((name, label))
            start = was["start_time"] if was else max(0.0, step["time"] - STEP / 2)
            event = {
                **(was or {"id": f"{self.system_id}-{name}-{self.seq[name]}", "top_score": 0}),
                **(found or {}),
                "schema": "playspot/event/1",
                "type": "end" if found is None else "update" if was else "new",
                "source": name,
                "label": label,
                "start_time": start,
                "end_time": None if found else step["time"] - STEP / 2,
                "time": step["time"],
                "wall_time": time.time(),
                "step": step["step"],
                "seq": self.seq[name],
                "system_id": self.system_id,
                "zones": [],
                "latency_ms": step["latency_ms"],
                "model": MODEL,
                "end_reason": None if found else "silence",
            }
            event["top_score"] = max(event["top_score"], event["score"])
            self.seq[name] += 1
            if found is None:
                del self._open[name, label]
            else:
                self._open[name, label] = event
            self.remember(event)
            await self._tell("event", event)

    def remember(self, event: dict[str, Any]) -> None:
        captured = event["wall_time"] - event["latency_ms"] / 1000
        began = captured - (event["time"] - event["start_time"])
        is_over = event["type"] == "end"
        self.history[:] = [kept for kept in self.history if kept["id"] != event["id"]]
        self.history.append(
            stored(
                id=event["id"],
                source=event["source"],
                label=event["label"],
                began_at=began,
                ended_at=began + event["end_time"] - event["start_time"] if is_over else None,
                score=event["top_score"],
                system_id=self.system_id,
                last_seq=event["seq"],
            )
        )

    # Statuses.

    def run_status(self) -> dict[str, Any]:
        return {
            "schema": "playspot/status/1",
            "system_id": self.system_id,
            "wall_time": time.time(),
            "uptime": time.time() - self.began,
            "endpoint": "tcp://127.0.0.1:7773",
            "model": MODEL,
            "budget": 2.0,
            "latency": "normal",
            "look_ahead": 0.74,
            "workers": [*self.workers, *(worker(f"reader-{name}") for name in self.scenes)],
            "sources": self.states,
            "journal": {"folder": "journal", "error": None, "unsaved": 0, "lost": 0},
            "publisher": {"subscriptions": 3, "overflows": 0, "replayed": 0, "refused": 0},
            "sinks": self.sinks,
            "web": self.url,
            "labels": list(LABELS),
        }

    def source_status(self, name: str) -> dict[str, Any]:
        is_live = self.states[name] == "live"
        steps = int((time.time() - self.began) / STEP)
        return {
            "schema": "playspot/status/1",
            "source": name,
            "wall_time": time.time(),
            "state": self.states[name],
            "since": self.began,
            "url": f"bandstand://?seed={len(name)}",
            "error": None if is_live else {"kind": "refused", "message": "Connection refused."},
            "retry_in": None if is_live else 4.0,
            "steps": steps,
            "published": steps,
            "dropped": {"late": 2} if steps > 9 else {},
            "drops": {"detector": {"late": 2}},
            "ages_ms": {
                stage: {"n": steps, "p50": p50, "p95": p50 + 40, "p99": p50 + 90}
                for stage, p50 in (("reader", 12.0), ("detector", 768.0), ("publisher", 781.0))
            },
            "sessions": 1,
            "restarts": 0,
            "failures_in_a_row": 0,
            "clock": {"kind": "media", "av_offset_ms": 0.0, "uncertainty_ms": 0.0},
        }

    # The WebSocket.

    async def _serve(self, client: WebSocket) -> None:
        if self.token is not None and client.cookies.get("token") != self.token:
            await client.close(4401)
            return
        await client.accept()
        hello = {
            "type": "hello",
            "version": "0.1.0",
            "system_id": self.system_id,
            "labels": list(LABELS),
            "colours": {label: "#{:02x}{:02x}{:02x}".format(*colour_of(label)) for label in LABELS},
            "can_record": self.can_record,
        }
        await client.send_json(hello)
        try:
            while True:
                watch = await client.receive_json()
                self.watches.append(watch)
                if client not in self._clients:
                    for event in self._open.values():
                        await client.send_json({"type": "event", "data": event})
                    for status in [self.run_status(), *map(self.source_status, self.scenes)]:
                        await client.send_json({"type": "status", "data": status})
                self._clients[client] = watch
        except WebSocketDisconnect:
            pass
        finally:
            self._clients.pop(client, None)

    async def _tell(self, kind: str, data: dict[str, Any]) -> None:
        wants = {"event": "events", "step": "steps", "status": "status", "heat": "heat"}[kind]
        text = json.dumps({"type": kind, "data": data})
        for client, watch in list(self._clients.items()):
            wanted = watch.get(wants)
            if wanted and (kind != "heat" or data["source"] in wanted):
                await self._send(client, text)

    async def _send(self, client: WebSocket, message: str | bytes) -> None:
        try:
            if isinstance(message, bytes):
                await client.send_bytes(message)
            else:
                await client.send_text(message)
        except (RuntimeError, WebSocketDisconnect):
            self._clients.pop(client, None)

    # Routes.

    async def _page(self, request: Request) -> Response:
        return FileResponse(ASSETS / "page.html", headers=POLICY | {"Cache-Control": "no-cache"})

    async def _asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        if not name.startswith("page"):
            return fail(404, f"no asset {name}")
        return FileResponse(ASSETS / name, headers=POLICY | {"Cache-Control": "no-cache"})

    async def _login(self, request: Request) -> Response:
        if (await request.json()).get("token") != self.token:
            return fail(401, "that token is wrong")
        answer = JSONResponse({})
        answer.set_cookie("token", self.token or "", httponly=True, samesite="strict")
        return answer

    def _refused(self, request: Request) -> Response | None:
        self.requests.append(f"{request.method} {request.url.path}?{request.url.query}")
        if self.token is not None and request.cookies.get("token") != self.token:
            return fail(401, "log in, or send Authorization: Bearer")
        return None

    async def _status(self, request: Request) -> Response:
        sources = [self.source_status(name) for name in self.scenes]
        return self._refused(request) or JSONResponse(
            {"run": self.run_status(), "sources": sources}
        )

    async def _add(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        body = await request.json()
        if body["name"] in self.scenes:
            return fail(409, f"there is a source {body['name']} already; choose another name")
        if "://" not in body["url"]:
            return fail(400, f"url {body['url']!r} is none; it looks like rtsp://host/path")
        self.scenes[body["name"]] = PlainScene()
        self.states[body["name"]] = "live"
        return JSONResponse(self.source_status(body["name"]), 201)

    async def _remove(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self.scenes:
            return fail(404, f"there is no source {name}")
        del self.scenes[name], self.states[name]
        return Response(status_code=204)

    async def _events(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        query = request.query_params
        sources, labels = query.getlist("source"), query.getlist("label")
        first, last = float(query.get("from", 0)), float(query.get("to", 1e12))
        found = [
            event
            for event in sorted(self.history, key=lambda event: event["began_at"], reverse=True)
            if (not sources or event["source"] in sources)
            and (not labels or event["label"] in labels)
            and (event["ended_at"] or 1e12) >= first
            and event["began_at"] <= last
            and event["top_score"] >= float(query.get("min_score", 0))
            and query.get("state") in (None, event["state"])
        ]
        at, limit = int(query.get("cursor", 0)), int(query.get("limit", 50))
        after = at + limit
        return JSONResponse(
            {"events": found[at:after], "next": str(after) if after < len(found) else None}
        )

    async def _event(self, request: Request) -> Response:
        wanted = request.path_params["id"]
        found = [event for event in self.history if event["id"] == wanted]
        return JSONResponse(found[0]) if found else fail(404, "there is no such event")

    async def _snapshot(self, request: Request) -> Response:
        return media(self.snapshots.get(request.path_params["id"]), "image/jpeg")

    async def _clip(self, request: Request) -> Response:
        return media(self.clips.get(request.path_params["id"]), "video/mp4")


def fail(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status)


def media(body: bytes | None, kind: str) -> Response:
    if body is None:
        return fail(404, "there is no recording of this event")
    return Response(body, media_type=kind, headers=POLICY)


def worker(name: str, **changes: Any) -> dict[str, Any]:
    """Return a `WorkerStatus`."""
    fixed = {"name": name, "pid": 4711, "state": "running", "rss_mb": 84.2, "restarts": 0}
    return {**fixed, "failures_in_a_row": 0, "reason": "", **changes}


def stored(**changes: Any) -> dict[str, Any]:
    """Return a `StoredEvent`."""
    began, ended = changes["began_at"], changes.get("ended_at")
    score = changes.pop("score", 0.9)
    parts = {kind: {"score": score, "status": "ok"} for kind in ("action", "object", "sound")}
    return {
        "system_id": "before",
        "state": "open" if ended is None else "ended",
        "start_time": 0.0,
        "end_time": None if ended is None else ended - began,
        "ended_at": None,
        "score": score,
        "top_score": score,
        "top_at": began,
        "point": (0.375, 0.5),
        "box": BOX,
        "zones": [],
        "modalities": parts,
        "model": MODEL,
        "end_reason": None if ended is None else "silence",
        "first_seq": 0,
        "last_seq": 1,
        "has_snapshot": False,
        "has_clip": False,
        **changes,
    }


def heat(step: dict[str, Any]) -> dict[str, Any]:
    """Return a `Heat` with a warm spot at each player's point."""
    rows, columns = 18, 32
    y, x = np.mgrid[0:rows, 0:columns]
    maps = {}
    for found in step["detections"]:
        at = found["point"][0] * columns - 0.5, found["point"][1] * rows - 0.5
        spot = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 12)
        maps[found["label"]] = base64.b64encode((255 * spot).astype(np.uint8).tobytes()).decode()
    kept = {key: step[key] for key in ("source", "system_id", "step", "time")}
    return {"schema": "playspot/heat/1", **kept, "shape": (rows, columns), "maps": maps}


@contextmanager
def serving(scenes: dict[str, Scene], **options: Any) -> Iterator[PageServer]:
    """Yield a running server; end it afterwards."""
    server = PageServer(scenes, **options)
    try:
        yield server
    finally:
        server.close()

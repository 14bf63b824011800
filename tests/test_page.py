"""The live page in a real browser: Chromium, at the size of a desk and of a phone."""

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from playspot.stream.drawing import colour_of

CHROMIUM = Path("/usr/bin/chromium")
DESK = {"width": 1440, "height": 900}
PHONE = {"width": 360, "height": 740}
DEADLINE = 10.0  # s
BOX = (0.25, 0.25, 0.5, 0.75)

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs /usr/bin/chromium"),
]
playwright_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")


class Playing:
    """A grey picture with a white square that moves; a violin that always plays."""

    def picture(self, time: float) -> NDArray[np.uint8]:
        image = np.full((180, 320, 3), 96, np.uint8)
        left = int(40 * time) % 280
        image[150:170, left : left + 40] = 255
        return image

    def players(self, time: float) -> list[Any]:
        return [("violin", (0.375, 0.5), BOX, 0.9)]


class InTurns(Playing):
    """The piano plays every other second."""

    def players(self, time: float) -> list[Any]:
        return [("piano", (0.7, 0.5), (0.6, 0.4, 0.8, 0.6), 0.8)] if time % 2 < 1 else []


@pytest.fixture(scope="module")
def server(page_server: ModuleType) -> Iterator[Any]:
    with page_server.serving({"stage": Playing(), "<b>hall</b>": InTurns()}) as server:
        now = time.time()
        for k in range(120):
            server.history.append(
                page_server.stored(
                    id=f"old-{k}",
                    source="stage",
                    label=("cello", "drum")[k % 2],
                    began_at=now - 4000 + 20 * k,
                    ended_at=now - 3990 + 20 * k,
                    score=0.6 + 0.003 * k,
                )
            )
        recent = page_server.stored(
            id="recent",
            source="stage",
            label="flute",
            began_at=now - 60,
            ended_at=now - 50,
            has_snapshot=True,
            has_clip=True,
        )
        server.history.append(recent)
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM),
            args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"],
        )
        yield browser
        browser.close()


@pytest.fixture
def look(browser: Any) -> Iterator[Callable[..., Any]]:
    """Return what opens a page; fails at the end if the page has complained of anything."""
    contexts, complaints = [], []

    def note(line: Any) -> None:
        if line.type == "error":
            complaints.append(line.text)

    def open_page(url: str, size: dict[str, int] = DESK, **options: Any) -> Any:
        context = browser.new_context(viewport=size, **options)
        context.set_default_timeout(1000 * DEADLINE)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", note)
        for _ in range(3):
            page.goto(url)
            if not any("ERR_NETWORK_CHANGED" in line for line in complaints):
                break  # else another test has made a network just now, which breaks what loads
            complaints.clear()
        return page

    yield open_page
    for context in contexts:
        context.close()
    expected = ("net::ERR_CONNECTION", "401", "409", "WebSocket connection")
    assert [line for line in complaints if not any(part in line for part in expected)] == []


def wait(done: Callable[[], Any], page: Any, what: str) -> Any:
    deadline = time.monotonic() + DEADLINE
    while not (found := done()):
        assert time.monotonic() < deadline, what
        page.wait_for_timeout(50)  # the browser's events are taken meanwhile
    return found


STAGE = '[data-source="stage"]'
PIXEL = """([x, y]) => {
  const canvas = document.querySelector('[data-source="stage"] canvas');
  const at = [Math.round(x * canvas.width), Math.round(y * canvas.height)];
  return [...canvas.getContext("2d").getImageData(...at, 1, 1).data].slice(0, 3);
}"""
IS_DRAWN = "() => document.querySelector('[data-source=\"stage\"] canvas')?.width > 300"
ROW = """() => {
  const canvas = document.querySelector('[data-source="stage"] canvas');
  const y = Math.round(160 / 180 * canvas.height);
  const row = canvas.getContext("2d").getImageData(0, y, canvas.width, 1).data;
  return [...Array(canvas.width).keys()].findIndex((x) => row[4 * x] > 220) / canvas.width;
}"""


def is_near(page: Any, x: float, y: float, colour: tuple[int, ...], most: int = 40) -> bool:
    pixel: list[int] = page.evaluate(PIXEL, [x, y])
    return max(abs(a - b) for a, b in zip(pixel, colour, strict=True)) < most


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_pictures_of_a_source_are_shown_and_change(look: Any, server: Any, size: Any) -> None:
    page = look(server.url, size)
    page.wait_for_function(IS_DRAWN)
    first = wait(lambda: page.evaluate(ROW), page, "no square")
    wait(lambda: page.evaluate(ROW) not in (first, -1), page, "the same picture")
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_a_box_is_drawn_where_the_detection_says(look: Any, server: Any) -> None:
    page = look(server.url)
    page.wait_for_function(IS_DRAWN)
    violin, grey = colour_of("violin"), (96, 96, 96)
    wait(lambda: is_near(page, 0.25, 0.6, violin), page, "no left edge")
    assert is_near(page, 0.5, 0.6, violin)  # right
    assert is_near(page, 0.375, 0.5, violin)  # the point
    assert is_near(page, 0.3, 0.6, grey)
    assert is_near(page, 0.2, 0.6, grey)
    page.keyboard.press("b")
    wait(lambda: is_near(page, 0.25, 0.6, grey), page, "the box stays")
    assert page.get_by_role("button", name="Boxes").get_attribute("aria-pressed") == "false"


def test_heat_is_drawn_and_asked_for_only_when_wanted(look: Any, server: Any) -> None:
    page = look(server.url)
    page.wait_for_function(IS_DRAWN)
    wait(lambda: server.watches[-1].get("pictures"), page, "no watch")
    assert server.watches[-1]["heat"] == []
    wait(lambda: is_near(page, 0.42, 0.5, (96, 96, 96)), page, "no picture")
    page.keyboard.press("h")
    wait(lambda: "stage" in server.watches[-1]["heat"], page, "it is not asked for")
    wait(lambda: not is_near(page, 0.42, 0.5, (96, 96, 96)), page, "no heat")


DRAWN = """() => {
  window.drawn = [];
  document.addEventListener("drawn", ({ detail }) => {
    const done = new MessageChannel();  // after the frame was painted
    done.port1.onmessage = () => {
      const now = performance.timeOrigin + performance.now();
      window.drawn.push({ ...detail, age: now - 1000 * detail.published });
    };
    requestAnimationFrame(() => done.port2.postMessage(0));
  });
}"""


def test_the_picture_is_that_of_the_detection_unless_the_newest_is_wanted(
    look: Any, server: Any
) -> None:
    page = look(server.url)
    page.evaluate(DRAWN)
    gaps = "() => window.drawn.slice(-4).map((one) => one.picture - one.time)"
    wait(lambda: page.evaluate("window.drawn.length") >= 7, page, "no steps are drawn")
    assert max(map(abs, page.evaluate(gaps))) < 0.07
    page.keyboard.press("s")
    n = page.evaluate("window.drawn.length")
    wait(lambda: page.evaluate("window.drawn.length") >= n + 5, page, "no steps are drawn")
    assert min(page.evaluate(gaps)) > 0.4


def test_a_detection_is_on_the_screen_within_a_tenth_of_a_second(
    look: Any, page_server: ModuleType
) -> None:
    with page_server.serving({f"camera {k}": Playing() for k in range(6)}) as server:
        page = look(server.url)
        page.evaluate(DRAWN)
        wait(lambda: page.evaluate("window.drawn.length") >= 36, page, "no steps are drawn")
        ages = np.array(page.evaluate("window.drawn.slice(4).map((one) => one.age)"))
    median, late = np.percentile(ages, [50, 95])
    print(f"from sending to pixels: n {len(ages)}, median {median:.0f} ms, p95 {late:.0f} ms")
    assert median < 100


def test_time_lines_show_the_past_and_go_on(look: Any, server: Any) -> None:
    page = look(server.url)
    bar = page.locator(f'{STAGE} [aria-label^="flute, "]')
    bar.wait_for(state="attached")
    assert re.search(r"flute, [\d:]+, 10\.0 s, best score 0\.90", bar.get_attribute("aria-label"))
    before = bar.bounding_box()["x"]
    page.locator(f"{STAGE} .bar-of[data-open]").wait_for(state="attached")
    wait(lambda: bar.bounding_box()["x"] < before - 1, page, "it stands still")


def test_why_is_shown_of_the_strongest_or_of_the_one_that_is_picked(look: Any, server: Any) -> None:
    page = look(server.url)
    page.locator(f'{STAGE} .meters[aria-label="Why violin"]').wait_for()
    sound = page.locator(f"{STAGE} .meter.sound")
    wait(lambda: re.fullmatch(r"0\.\d\d", sound.locator(".number").inner_text()), page, "no score")
    assert sound.locator(".line").get_attribute("d").startswith("M")
    page.locator(f'{STAGE} [role=group][aria-label="flute"] .row-name').click()
    page.locator(f'{STAGE} .meters[aria-label="Why flute"]').wait_for()


def test_the_search_narrows_the_list_and_more_comes_page_by_page(look: Any, server: Any) -> None:
    page = look(server.url)
    rows = page.locator(".list li:visible")
    page.locator('.list li[data-id="recent"]').wait_for()
    assert rows.count() >= 50
    page.keyboard.press("/")
    page.keyboard.type("cello")
    wait(lambda: {*page.locator(".what b:visible").all_inner_texts()} == {"cello"}, page, "others")
    page.fill("#words", "")
    page.click("#filters summary")
    page.get_by_label("Instrument").select_option("drum")
    wait(lambda: {*page.locator(".what b:visible").all_inner_texts()} == {"drum"}, page, "others")
    page.get_by_label("Score at least").select_option("0.9")
    wait(lambda: rows.count() == 10, page, "no filter by score")
    page.get_by_label("Score at least").select_option("")
    wait(lambda: rows.count() == 50, page, "no page")
    page.click("#more")
    wait(lambda: rows.count() == 60, page, "no second page")
    assert not page.locator("#more").is_visible()
    page.select_option("[name=span]", "600")
    page.get_by_text("No event matches").wait_for()


def test_a_clip_is_played(look: Any, server: Any, media: ModuleType, tmp_path: Path) -> None:
    clip = media.make_clip(tmp_path / "clip.mp4", duration=1.0)
    server.clips["recent"] = clip.read_bytes()
    server.snapshots["recent"] = b""
    page = look(server.url)
    page.locator('.list li[data-id="recent"] button').click()
    page.get_by_role("dialog", name="flute").wait_for()
    video = page.locator("#event video")
    video.evaluate("(video) => { video.muted = true; return video.play(); }")
    wait(lambda: video.evaluate("(video) => video.currentTime") > 0.2, page, "it does not play")
    page.keyboard.press("Escape")
    wait(lambda: not video.count(), page, "it goes on playing")


def test_all_is_reached_by_keys(look: Any, server: Any) -> None:
    page = look(server.url)
    page.locator('.list li[data-id="recent"]').wait_for()
    reached, outlines = [], []
    for _ in range(40):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            "() => [document.activeElement.className + ' ' + document.activeElement.innerText,"
            " document.activeElement === document.body ? 'page'"
            " : getComputedStyle(document.activeElement).outlineStyle]"
        )
        reached.append(name)
        outlines.append(outline)
    seen = " | ".join(reached)
    for part in ("skip", "summary", "Boxes", "Heat", "Add source", "large", "row-name", "bar-of"):
        assert part in seen
    for part in ("event ", "Filter"):
        assert part in seen
    assert "none" not in outlines
    page.keyboard.press("?")
    assert page.get_by_role("dialog", name="Keys").is_visible()
    page.keyboard.press("Escape")
    page.locator(".event[tabindex='0']").focus()
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.closest('li').previousElementSibling !== null")
    page.keyboard.press("1")
    assert page.locator(".tile:visible").count() == 1
    page.keyboard.press("Escape")
    assert page.locator(".tile:visible").count() == 2


def test_the_theme_is_that_of_the_system_or_the_chosen_one(look: Any, server: Any) -> None:
    page = look(server.url, color_scheme="dark")
    ground = "() => getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.keyboard.press("t")
    light = page.evaluate(ground)
    assert (
        sum(map(int, re.findall(r"\d+", dark)))
        < 100
        < 600
        < sum(map(int, re.findall(r"\d+", light)))
    )
    page.reload()
    assert page.evaluate(ground) == light


HIDE = """(isHidden) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => isHidden });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_a_hidden_tab_asks_for_events_only_and_draws_nothing(look: Any, server: Any) -> None:
    page = look(server.url)
    page.wait_for_function(IS_DRAWN)
    wait(lambda: server.watches[-1].get("pictures", {}).get("stage"), page, "no pictures wanted")
    page.evaluate(HIDE, True)
    wait(lambda: "pictures" not in server.watches[-1], page, "it asks for pictures")
    assert {*server.watches[-1]} == {"type", "events", "since"}
    page.evaluate(
        """() => {
          window.frames_asked = 0;
          const ask = window.requestAnimationFrame;
          window.requestAnimationFrame = (work) => { window.frames_asked += 1; return ask(work); };
        }"""
    )
    sent, n_events = server.pictures_sent.copy(), server.seq.total()
    wait(lambda: server.seq.total() >= n_events + 4, page, "no events")
    assert server.pictures_sent == sent
    assert page.evaluate("window.frames_asked") == 0
    page.evaluate(HIDE, False)
    wait(lambda: server.pictures_sent["stage"] > sent["stage"], page, "no pictures afterwards")


def test_a_tile_out_of_sight_wants_no_pictures(look: Any, page_server: ModuleType) -> None:
    scenes = {f"camera {k}": Playing() for k in range(24)}
    with page_server.serving(scenes) as server:
        page = look(server.url, PHONE)
        wait(lambda: server.watches and server.watches[-1].get("pictures"), page, "no pictures")
        assert "camera 0" in server.watches[-1]["pictures"]
        assert len(server.watches[-1]["pictures"]) < 6
        page.evaluate("() => scrollTo(0, document.body.scrollHeight)")
        wait(lambda: "camera 23" in server.watches[-1]["pictures"], page, "not those in sight")
        assert "camera 0" not in server.watches[-1]["pictures"]


def test_a_lost_connection_is_said_and_comes_back(look: Any, page_server: ModuleType) -> None:
    with page_server.serving({"stage": Playing()}) as server:
        page = look(server.url)
        wait(lambda: server.seq["stage"] >= 2, page, "no events")
        run, port = server.system_id, server.port
    page.get_by_text("No connection to Playspot").wait_for()
    assert page.locator("#summary").inner_text() == "Connection lost"
    with page_server.serving({"stage": Playing()}, port=port) as server:
        page.click("#lost-now")
        wait(lambda: server.pictures_sent["stage"], page, "it does not come back")
        assert server.watches[0]["since"]["stage"][0] == run
        page.locator("#lost").wait_for(state="hidden")
        wait(lambda: page.locator("#summary").inner_text().startswith("All well"), page, "not well")


def test_what_is_wrong_is_said_in_one_line(look: Any, page_server: ModuleType) -> None:
    with page_server.serving({"stage": Playing(), "hall": Playing()}) as server:
        server.states["hall"] = "retrying"
        down = page_server.worker("detector", state="waiting", reason="killed by signal 9")
        server.workers.append(down)
        page = look(server.url)
        summary = page.locator("#summary")
        wait(lambda: "detector is down" in summary.inner_text(), page, "it is not said")
        wait(lambda: "and 1 more" in summary.inner_text(), page, "the other is not counted")
        wait(lambda: page.title() == "(2) Playspot", page, "not in the title")
        page.keyboard.press("i")
        panel = page.get_by_role("dialog", name="How it is doing")
        assert "hall is lost: Connection refused" in panel.inner_text()
        assert "killed by signal 9" in panel.inner_text()


def test_a_source_is_added_and_removed(look: Any, page_server: ModuleType) -> None:
    with page_server.serving({}) as server:
        page = look(server.url)
        page.get_by_text("No source yet").first.wait_for()
        page.click("text=Show the bandstand")
        page.fill("[name=name]", "stage")
        page.get_by_role("button", name="Add", exact=True).click()
        page.locator(STAGE).wait_for()
        page.keyboard.press("a")
        page.fill("[name=url]", "bandstand://")
        page.fill("[name=name]", "stage")
        page.keyboard.press("Enter")
        page.get_by_text("there is a source stage already; choose another name").wait_for()
        page.keyboard.press("Escape")
        page.locator("#adding").wait_for(state="hidden")
        page.keyboard.press("i")
        page.get_by_role("button", name="Remove stage").click()
        page.locator("#removing-form").get_by_role("button", name="Remove").click()
        page.locator(STAGE).wait_for(state="detached")
        assert server.scenes == {}


def test_letters_work_at_once_when_a_form_closes(look: Any, page_server: ModuleType) -> None:
    with page_server.serving({}) as server:
        page = look(server.url)
        page.get_by_text("No source yet").first.wait_for()
        page.keyboard.press("a")
        page.locator("#adding").wait_for()
        is_shown = page.evaluate(
            """() => {
                document.getElementById("adding").close();
                const key = { key: "i", bubbles: true };
                document.activeElement.dispatchEvent(new KeyboardEvent("keydown", key));
                return document.getElementById("status").open;
            }"""
        )
        assert is_shown


def test_a_token_is_asked_for(look: Any, page_server: ModuleType) -> None:
    with page_server.serving({"stage": Playing()}, token="open sesame") as server:
        page = look(server.url)
        page.fill("#login [name=token]", "wrong")
        page.keyboard.press("Enter")
        page.get_by_text("that token is wrong").wait_for()
        page.fill("#login [name=token]", "open sesame")
        page.keyboard.press("Enter")
        page.locator(STAGE).wait_for()
        assert not page.locator("#login").is_visible()


def test_every_module_and_style_of_the_page_is_served() -> None:
    api_page = pytest.importorskip("playspot.stream.api_page", reason="needs the extra web")
    assets = api_page.page_assets()
    named = set(re.findall(r'"assets/([^"]+)"', assets["page.html"].content.decode()))
    for name, asset in assets.items():
        if name.endswith(".js"):
            named |= set(re.findall(r'from "\./([^"]+)"', asset.content.decode()))
    assert named <= {*assets}
    assert {name for name in assets if name.endswith(".js")} <= named


def test_the_page_has_nothing_inline_and_nothing_from_elsewhere() -> None:
    folder = Path(__file__).resolve().parents[1] / "stream"
    for path in sorted(folder.glob("page*")):
        text = path.read_text("utf-8")
        addresses = set(re.findall(r"https?://[^\s\"'<]*", text)) - {"http://www.w3.org/2000/svg"}
        assert addresses <= {"https://"}, path.name  # an example of a URL
        assert not re.search(r"innerHTML|insertAdjacentHTML|\son\w+=\"|\sstyle=\"|eval\(", text), (
            path.name
        )


def test_names_from_the_network_are_text(look: Any, server: Any) -> None:
    page = look(server.url)
    page.locator(".tile h2", has_text="<b>hall</b>").wait_for()
    assert page.locator(".tile h2 b, .where b").count() == 0


def test_playing_is_told_to_screen_readers(look: Any, server: Any) -> None:
    page = look(server.url)
    spoken = page.locator("#spoken[aria-live=polite] p")
    wait(lambda: spoken.count(), page, "nothing is said")
    assert re.search(r"(violin|piano) (plays|has stopped) on", spoken.first.inner_text())
    picture = page.locator(f"{STAGE} canvas")
    wait(lambda: "violin 0.90" in picture.get_attribute("aria-label"), page, "not described")


def test_the_settings_survive_a_reload(look: Any, server: Any) -> None:
    page = look(server.url)
    page.keyboard.press("p")
    page.reload()
    assert page.get_by_role("button", name="Points").get_attribute("aria-pressed") == "false"
    assert json.loads(page.evaluate("localStorage.getItem('playspot')"))["points"] is False

"""Locators: what they name, what is said of wrong ones, and what is never shown."""

import time

import pytest

from playspot.stream.locator import LocatorError, parse_locator, redacted, schemes


@pytest.mark.parametrize(
    ("text", "scheme", "address"),
    [
        ("concert.mp4", "file", "concert.mp4"),
        ("a:b.mp4", "file", "a:b.mp4"),
        ("/media/a b.mp4", "file", "/media/a b.mp4"),
        ("file:///media/a%20b.mp4", "file", "/media/a b.mp4"),
        ("file://localhost/a.mp4", "file", "/a.mp4"),
        ("/dev/video0", "v4l2", "/dev/video0"),
        ("/dev/v4l/by-id/usb-cam", "v4l2", "/dev/v4l/by-id/usb-cam"),
        ("v4l2:///dev/video1", "v4l2", "/dev/video1"),
        ("mic://USB%20Audio", "mic", "USB Audio"),
        ("mic://", "mic", ""),
        ("RTSP://camera/1", "rtsp", "camera/1"),
        ("https://host/live.m3u8", "https", "host/live.m3u8"),
        ("bandstand://?seed=7", "bandstand", "?seed=7"),
    ],
)
def test_a_locator_has_a_scheme_and_an_address(text: str, scheme: str, address: str) -> None:
    locator = parse_locator(text)
    assert (locator.scheme, locator.address, locator.text) == (scheme, address, text)
    assert locator.microphone is None


@pytest.mark.parametrize("camera", ["/dev/video0", "rtsp://user:secret@cam:8554/1", "bandstand://"])
def test_a_camera_can_be_paired_with_a_microphone(camera: str) -> None:
    locator = parse_locator(f"{camera}+mic://USB Audio")
    assert locator.text == camera
    assert locator.microphone is not None
    assert locator.microphone.address == "USB Audio"
    assert locator.shown == f"{redacted(camera)}+mic://USB Audio"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (" ", "is empty"),
        ("rstp://camera/1", "did you mean 'rtsp'"),
        ("gopherx://u:secret@h", r"unknown scheme 'gopherx'; known are file, rtsp"),
        ("rtsp:///1", "has no host"),
        ("rtsp://u:secret@h:99999/1", r"port \(1 to 65535\)"),
        ("rtsp://u:secret/more@h/1", "%2F"),
        ("rtsp://u:sec@ret@h/1", "more than one @"),
        ("rtsp://u:my secret@h/1", "a space"),
        ("http://h/\nsecret", "control character"),
        ("file://clip.mp4", "no whole path"),
        ("v4l2://video0", "v4l2:///dev/video0"),
        ("clip.mp4+mic://USB", "only a camera or a stream"),
    ],
)
def test_a_wrong_locator_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(LocatorError, match=message) as caught:
        parse_locator(text)
    assert "\n" not in str(caught.value)
    assert "u:" not in str(caught.value)


def test_installed_packages_add_schemes() -> None:
    assert "bandstand" in schemes()


def test_host_and_port_are_known_of_network_sources_only() -> None:
    locator = parse_locator("rtsp://u:p@[::1]:8554/1")
    assert (locator.host, locator.port) == ("::1", 8554)
    assert parse_locator("mic://USB").host is None


SECRETS = [
    "rtsp://admin:hunter2@10.0.0.7/stream1",
    "rtsp://hunter2@10.0.0.7/stream1",
    "rtsp://admin:hunter2%40x@10.0.0.7",
    "rtsp://admin:@hunter2@10.0.0.7",
    "rtsp://admin:a/hunter2@10.0.0.7/1",
    "rtsp://admin:a?hunter2@10.0.0.7/1",
    "rtsp://admin:my hunter2@10.0.0.7/1",
    "rtsp://admin:hunter2@[fe80::1]:554/1",
    "http://h/x?user=a&password=hunter2&channel=1",
    "http://h/x?loginpas=hunter2",
    "http://h/x?%74oken=hunter2",
    "http://h/x?access_token=hunter2#t",
    "http://h/x#api_key=hunter2",
    "http://h/x?X-Amz-Signature=hunter2&X-Amz-Credential=hunter2",
    "http://h/x?hdnea=exp=1~acl=/*~hmac=hunter2",
    "http://proxy/?url=rtsp%3A%2F%2Fadmin%3Ahunter2%40cam%2F1",
    "http://proxy/?url=http%3A%2F%2Fcam%2F1%3Ftoken%3Dhunter2",
    "Authorization: Digest username=a, response=hunter2",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("around", ["{}", "[rtsp] method DESCRIBE of '{}' failed: 401", "<{}>"])
def test_no_secret_is_shown(secret: str, around: str) -> None:
    if " hunter2@" in secret:  # where such a URL ends within a text is unknown
        around = "{}"
    shown = redacted(around.format(secret))
    assert "hunter2" not in shown
    assert "***" in shown
    assert redacted(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://10.0.0.7:554/@stream",
        "http://h/x?mail=a@b&channel=2",
        "cannot open 'http://h:80/a b.mp4' for user a@b",
        "rtsp://[::1]:8554/x",
        "/media/a=b@c.mp4",
        "mic://USB Audio",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redacted(text) == text


def test_several_urls_in_a_text_are_all_redacted() -> None:
    shown = redacted("from rtsp://a:b@c/1 to http://x:y@z/?pwd=1&n=2")
    assert shown == "from rtsp://***@c/1 to http://***@z/?pwd=***&n=2"


def test_a_locator_does_not_show_its_secret() -> None:
    locator = parse_locator("rtsp://admin:hunter2@10.0.0.7/1?token=hunter2")
    assert "hunter2" not in repr(locator) + str(locator) + locator.shown


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize("value", [None, 3, ValueError("x"), b"x", Unspeakable(), "\udcff://a:b@c"])
def test_redacting_never_fails(value: object) -> None:
    assert isinstance(redacted(value), str)


@pytest.mark.parametrize(
    "piece", ["a://", "=", "a=", "a://b:c", "a", "a%3a%2f%2f:", "a:b@", "key", ":@", "a+", "://:"]
)
def test_redacting_a_long_text_is_quick(piece: str) -> None:
    text = piece * (50_000 // len(piece))
    began = time.process_time()
    redacted(text)
    assert time.process_time() - began < 5

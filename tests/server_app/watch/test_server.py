"""The page of a run: what the server answers, and the page in a browser."""

import http.client
import json
import re
import shutil
import threading

import pytest

from server_app.watch import server as server_module
from server_app.watch.server import make_server
from server_app.watch.snapshot import take_snapshot
from tests.helpers.watched_run import HOSTILE, NOW, line, write_watched_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture
def served(tmp_path, small_settings, monkeypatch):
    """The run that is shown, and the port of its page."""
    history = [line("relation", 1, metrics={})]
    history += [line("imputer", i, failures={"south": HOSTILE} if i == 2 else {}) for i in range(1, 4)]
    run = write_watched_run(tmp_path / "<b>run", small_settings({"imputer.rounds": 5}), history)
    monkeypatch.setattr(server_module, "take_snapshot", lambda run: take_snapshot(run, NOW))
    with make_server(run, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield run, server.server_address[1]
        server.shutdown()


def request(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, str, dict]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), dict(answer.headers)


def test_the_server_gives_the_page_and_the_snapshot_and_nothing_else(served):
    run, port = served
    status, page, headers = request(port, "/")
    assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", page)  # nothing is loaded from elsewhere
    status, text, _ = request(port, "/snapshot.json?x")
    assert status == 200 and json.loads(text) == json.loads(json.dumps(take_snapshot(run, NOW)))
    for path in ("/config.json", "/../config.json", "//etc/passwd", "/checkpoint.safetensors"):
        assert request(port, path)[0] == 404
    assert request(port, "/", "POST")[0] == 501
    (run / "progress.json").unlink()
    status, text, _ = request(port, "/snapshot.json")
    assert status == 503 and "has no progress.json" in text


def test_another_web_site_cannot_read_the_page_under_its_own_name(served):
    _, port = served
    assert request(port, "/snapshot.json", Host=f"evil.example:{port}")[0] == 421
    assert request(port, "/snapshot.json", Host=f"localhost:{port}")[0] == 200


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1600), ("dark", 400)])
def test_the_page_in_a_browser_fits_and_shows_names_of_sites_as_text(served, scheme, width):
    playwright = pytest.importorskip("playwright.sync_api")
    run, port = served
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 1200}, color_scheme=scheme)
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text))
        page.goto(f"http://127.0.0.1:{port}/")
        page.wait_for_selector("#status.running")
        assert page.title() == "<b>run: running" and page.inner_text("h1") == "<b>run"
        assert page.locator("img, b b").count() == 0
        text = page.inner_text("body")
        # As the name of a site, as the reason of its exclusion, and as the reason of a failure.
        assert page.get_by_text(HOSTILE).count() == 3
        for expected in (
            "imputer, round 4: the sites train",
            "trains",
            "not connected",
            "running for 10 min",
        ):
            assert expected in text
        assert page.locator("polyline").count() == 4  # the loss, and in one phase two metrics
        assert page.evaluate("document.documentElement.scrollWidth") == width
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", background)[:3])) > 600) == (scheme == "light")
        assert not problems  # in the script, and with what the page may load
        (run / "progress.json").unlink()
        page.get_by_text("it has no progress.json").wait_for()
        browser.close()

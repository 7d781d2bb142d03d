"""The report in a real browser: 400 and 1600 pixels wide, in a light and a dark scheme."""

import html
import json
import re
import shutil
import subprocess

import pytest

WIDTHS = (400, 1600)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

# A page around the report measures it, since only the report's own script may run inside.
OUTER_PAGE = """<!DOCTYPE html><body>{frames}<pre id="measurements"></pre><script>
addEventListener("load", () => {{
  const measurements = [...document.querySelectorAll("iframe")].map(frame => {{
    const page = frame.contentDocument, root = page.documentElement;
    page.querySelectorAll("details").forEach(d => d.open = true);
    const sizes = [...page.querySelectorAll("svg")].map(s => s.getBoundingClientRect());
    const table = [...page.querySelectorAll("table")].find(t => t.caption.textContent.startsWith("imputer,"));
    const column = () => [...table.tBodies[0].rows].map(row => +row.cells[1].dataset.value);
    const sorted = [1, 2].map(() => {{ table.tHead.rows[0].cells[1].firstChild.click(); return column(); }});
    const beyond = [...page.querySelectorAll("body *")].filter(e => !e.closest(".scroll") && !e.closest("svg")
      && e.getBoundingClientRect().right > root.clientWidth + 1).map(e => e.tagName + e.className);
    return {{width: root.clientWidth, scroll: root.scrollWidth, beyond,
      smallest: Math.min(...sizes.map(s => Math.min(s.width, s.height))), figures: sizes.length,
      background: frame.contentWindow.getComputedStyle(page.body).backgroundColor,
      text: frame.contentWindow.getComputedStyle(page.body).color, sorted}};
  }});
  document.getElementById("measurements").textContent = JSON.stringify(measurements);
}});
</script></body>"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
@pytest.mark.parametrize("dark", [False, True])
def test_the_report_fits_and_is_readable_in_a_browser(made, tmp_path, dark):
    text = (made[1] / "report.html").read_text()
    frames = "".join(
        f'<iframe width="{width}" height="900" style="border:0" srcdoc="{html.escape(text)}"></iframe>'
        for width in WIDTHS
    )
    outer = tmp_path / "outer.html"
    outer.write_text(OUTER_PAGE.format(frames=frames))
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom",
            f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}", outer.as_uri(),
        ],
        capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr, done.stderr
    measurements = json.loads(
        html.unescape(re.search(r'<pre id="measurements">(.*?)</pre>', done.stdout, re.S)[1])
    )
    assert len(measurements) == 2
    for width, measured in zip(WIDTHS, measurements, strict=True):
        assert width - 20 <= measured["width"] <= width and measured["scroll"] <= measured["width"], measured
        assert measured["beyond"] == [], measured
        assert measured["figures"] == text.count("<svg") > 15 and measured["smallest"] > 50
        up, down = measured["sorted"]
        assert up == sorted(up) and down == sorted(up, reverse=True) and up != down
        lightness = [sum(map(int, re.findall(r"\d+", measured[k])[:3])) / 765 for k in ("background", "text")]
        assert (
            (lightness[0] < 0.2 and lightness[1] > 0.8) if dark else (lightness[0] > 0.9 > 0.2 > lightness[1])
        )

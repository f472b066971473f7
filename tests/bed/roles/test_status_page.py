# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status page as a browser shows it: in its states, light and dark, on a desk and in a hand; nothing sticks out, and every text can be read.

The pictures are kept in build/pictures.
"""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.unit.velero import status_page, status_samples

SAMPLES = {**status_samples.states(), "hostile": status_samples.hostile()}
WIDTHS = {"desk": 1280, "tablet": 768, "phone": 390, "small phone": 320}
DARK = "--blink-settings=preferredColorScheme=0"
LEAST_CONTRAST = 4.5
"""What WCAG 2.1 AA asks for of a text of ordinary size."""

# Runs in the page and leaves what it found as JSON in the title: widths, what sticks out, and the contrast of every text with what is behind it.
MEASURE = """
(function () {
  function channels(text) { return text.match(/[\\d.]+/g).map(Number); }
  function light(c) {
    var v = c.slice(0, 3).map(function (x) { x /= 255; return x <= 0.03928 ? x / 12.92 : Math.pow((x + 0.055) / 1.055, 2.4); });
    return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2];
  }
  function behind(node) {
    for (; node; node = node.parentElement) {
      var c = channels(getComputedStyle(node).backgroundColor);
      if (c.length < 4 || c[3] === 1) return c;
    }
    return [255, 255, 255];
  }
  var wide = document.documentElement.clientWidth, out = [], faint = [];
  document.querySelectorAll("body *").forEach(function (node) {
    var box = node.getBoundingClientRect(), style = getComputedStyle(node);
    if (!box.width || style.visibility === "hidden" || node.closest(".sr, thead") || node.closest("script")) return;
    if (box.right > wide + 1 || box.left < -1) out.push(node.tagName + "." + (node.getAttribute("class") || ""));
    var own = Array.prototype.some.call(node.childNodes, function (n) { return n.nodeType === 3 && n.data.trim(); });
    if (!own) return;
    if (!node.closest("svg") && node.scrollWidth > node.clientWidth + 1 && style.display !== "inline") out.push("text of " + node.tagName);
    var a = light(channels(node.closest("svg") ? style.fill : style.color)), b = light(behind(node));
    var ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < CONTRAST) faint.push(node.tagName + "." + (node.getAttribute("class") || "") + " " + ratio.toFixed(2));
  });
  var bars = Array.prototype.filter.call(document.querySelectorAll(".bar"), function (bar) { return bar.getBoundingClientRect().width; });
  document.title = JSON.stringify({
    client: wide, scroll: document.documentElement.scrollWidth, out: out.slice(0, 9), faint: faint.slice(0, 9), bars: bars.length,
    scheme: getComputedStyle(document.body).backgroundColor
  });
})();
"""


def chromium(folder: Path, *arguments: str) -> str:
    """Run the browser without a screen and return what it printed."""
    common = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run")
    done = subprocess.run(
        ["chromium", *common, f"--user-data-dir={folder / 'profile'}", *arguments],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def written(folder: Path, name: str, *, measured: bool = False) -> Path:
    """Write the page of a sample; measured: with MEASURE in it, and without its policy, which would not let that run."""
    text = status_page.html(SAMPLES[name])
    if measured:
        text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
        text = text.replace("</body>", f"<script>{MEASURE.replace('CONTRAST', str(LEAST_CONTRAST))}</script></body>")
    path = folder / f"{name}.html"
    path.write_text(text)
    return path


@pytest.fixture(scope="module", params=["light", "dark"])
def measured(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[tuple[str, str], dict[str, Any]]]:
    """What MEASURE found on every sample in frames of every width, in one run of the browser: its own window is never narrower than 500."""
    folder = tmp_path_factory.mktemp("measured")
    frames = [(name, width) for name in SAMPLES for width in WIDTHS]
    for name in SAMPLES:
        written(folder, name, measured=True)
    lines = [f'<iframe style="border:0;width:{WIDTHS[width]}px;height:900px" src="{name}.html"></iframe>' for name, width in frames]
    collect = "Array.prototype.map.call(document.querySelectorAll('iframe'), function (f) { return JSON.parse(f.contentDocument.title); })"
    script = f"<script>window.onload = function () {{ document.title = JSON.stringify({collect}); }};</script>"
    page = folder / "frames.html"
    page.write_text(f"<!DOCTYPE html><html><body>{''.join(lines)}{script}</body></html>")
    scheme = (DARK,) if request.param == "dark" else ()
    text = chromium(folder, *scheme, "--allow-file-access-from-files", "--window-size=1400,900", "--dump-dom", f"file://{page}")
    found = re.search(r"<title>(.*?)</title>", text, re.DOTALL)
    assert found, text[-1000:]
    return request.param, dict(zip(frames, json.loads(html.unescape(found.group(1))), strict=True))


def pictures() -> Path:
    """Return the folder for pictures."""
    folder = Path(os.environ.get("SERVEROPS_BUILD") or Path(__file__).resolve().parents[3] / "build") / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", SAMPLES)
def test_nothing_sticks_out_and_every_text_can_be_read(measured: Any, name: str, width: str) -> None:
    scheme, all_found = measured
    found = all_found[name, width]
    assert found["client"] == WIDTHS[width]
    assert found["out"] == []
    assert found["scroll"] <= found["client"]
    assert found["faint"] == []
    assert found["bars"] > 0
    assert (found["scheme"] == "rgb(17, 21, 28)") is (scheme == "dark")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", ["desk", "phone"])
@pytest.mark.parametrize("name", status_samples.states())
def test_pictures(tmp_path: Path, name: str, width: str, scheme: str) -> None:
    page = written(tmp_path, name)
    picture = pictures() / f"status-{name}-{width}-{scheme}.png"
    picture.unlink(missing_ok=True)
    size = f"--window-size={WIDTHS[width]},2400"
    chromium(tmp_path, *((DARK,) if scheme == "dark" else ()), size, f"--screenshot={picture}", f"file://{page}")
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) > 20_000, "an empty page makes a small picture"


def test_the_page_s_own_script_runs_and_no_other(tmp_path: Path) -> None:
    """Its policy lets the one script run that belongs to it: it shows the page's age; what a name smuggles in, does not run."""
    text = chromium(tmp_path, "--dump-dom", f"file://{written(tmp_path, 'hostile')}")
    assert re.search(r'id="old">\(\d+ (?:d|h|min)|id="old"></span>', text)
    page = written(tmp_path, "good")
    smuggled = page.read_text().replace("</body>", "<script>document.title = 'smuggled'</script></body>")
    page.write_text(smuggled)
    assert "<title>smuggled" not in chromium(tmp_path, "--dump-dom", f"file://{page}")
    page.write_text(re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", smuggled))
    assert "<title>smuggled" in chromium(tmp_path, "--dump-dom", f"file://{page}"), "the same page without its policy is open"


def test_it_prints(tmp_path: Path) -> None:
    paper = tmp_path / "page.pdf"
    chromium(tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={paper}", f"file://{written(tmp_path, 'stale')}")
    data = paper.read_bytes()
    assert data.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", data)) in range(2, 7)

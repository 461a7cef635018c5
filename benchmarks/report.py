"""Time and memory of `nas report` for a study of any size, and how its page behaves in a headless Chromium.

The study is one of `big_study`: no trainings, records of real size. The report is made in a process of its own, which
tells the CPU and wall time of each part and its peak resident memory (of which torch and torchvision alone take most).
The page is opened from disk: the time from the start of its loading to the first drawing of all plots, and then the
time from a movement of the mouse to the placement drawn beside it, from a click to it kept under the plot, and from
a click on another cost to everything drawn against it, each to the second frame after it. WebGL is computed without a
graphics card here (SwiftShader), so with one it is faster.

    python benchmarks/report.py [--sizes 100 1000 10000]
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "report.json"
REPEATS = 5


def make_report(folder: Path) -> dict[str, Any]:
    """Make the report of a study in this process, and tell what it took."""
    parts: dict[str, dict[str, float]] = {}

    @contextmanager
    def part(name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        parts[name] = {"wall_s": round(time.perf_counter() - wall, 2), "cpu_s": round(time.process_time() - cpu, 2)}

    with part("import"):
        import nas.cli  # noqa: F401
        from nas.garbage_collection import no_collection
        from nas.view import open_study
        from reports import page
    begun_mib = _peak_mib()
    with no_collection():  # as the command does it
        with part("read"):
            view = open_study(folder)
        with part("write"):
            path = page.write_report(view, folder / "report")
    sizes = {each.name: each.stat().st_size for each in path.parent.glob("*.*")}
    return {"parts": parts, "peak_mib_after_import": begun_mib, "peak_mib": _peak_mib(), "bytes": sizes}


def _peak_mib() -> int:
    """Return the peak of this program; `getrusage` would count the process that started it too, as it was forked."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


FRAMES = "const frames = () => new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)));"
SETUP = (
    "const panel = quality.panels[quality.panels.length - 1], element = quality.elementOf(panel);"
    "element.scrollIntoView({ block: 'start', behavior: 'instant' });"
    "const drag = element.querySelector('.nsewdrag'), tip = document.getElementById('tip');"
    "const marks = quality.marksOf(panel), mark = marks[arguments[0] % marks.length];"
    "const frame = element.getBoundingClientRect(), at = quality.pixel(panel, mark.group, mark.i);"
    "const where = { bubbles: true, clientX: frame.left + at[0], clientY: frame.top + at[1] };"
    "const event = (kind) => new MouseEvent(kind, where);"
)
POINT = (
    "const done = arguments[arguments.length - 1];" + FRAMES + SETUP + "tip.hidden = true;"
    "drag.dispatchEvent(new MouseEvent('mouseout', { bubbles: true })); await new Promise(r => setTimeout(r, 150));"
    "const begun = performance.now(); drag.dispatchEvent(event('mousemove'));"
    "while (tip.hidden && performance.now() - begun < 5000) await new Promise(r => setTimeout(r, 0));"
    "await frames(); const pointed = performance.now() - begun;"
    "const clicked = performance.now();"
    "for (const kind of ['mousedown', 'mouseup', 'click']) drag.dispatchEvent(event(kind));"
    "const box = document.getElementById('pinned-' + panel.stage);"
    "while (box.hidden && performance.now() - clicked < 5000) await new Promise(r => setTimeout(r, 0));"
    "await frames(); const kept = performance.now() - clicked; const shown = !box.hidden;"
    "if (shown) box.querySelector('.close').click(); done([pointed, kept, shown]);"
)
SWITCH = (
    "const done = arguments[arguments.length - 1];" + FRAMES + "const begun = performance.now();"
    "const all = document.querySelectorAll('input[name=cost]'); all[arguments[0] % all.length].click();"
    "await frames(); done(performance.now() - begun);"
)
FIRST = "const done = arguments[0]; quality.ready.then(() => requestAnimationFrame(() => done(performance.now())));"
SEARCH = (
    "const done = arguments[0];"
    + FRAMES
    + "const box = document.getElementById('trial-search'); box.value = 'cbam layer2';"
    "const begun = performance.now(); box.dispatchEvent(new Event('input'));"
    "await new Promise(r => setTimeout(r, 121)); await frames(); done(performance.now() - begun);"
)


def browse(page: Path) -> dict[str, Any]:
    """Open the page and tell in milliseconds how long what a reader does takes."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "reports"))
    from browsing import chromium

    with tempfile.TemporaryDirectory() as profile, chromium(Path(profile)) as browser:
        ask: Callable[..., Any] = lambda body, *given: browser.driver.execute_async_script(  # noqa: E731
            f"(async function () {{ {body} }}).apply(null, arguments);", *given
        )
        browser.command("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
        browser.driver.set_script_timeout(120)
        browser.driver.get(page.as_uri())
        first = ask(FIRST)
        pointed = [ask(POINT, 37 * i) for i in range(REPEATS)]
        switched = [ask(SWITCH, i + 1) for i in range(REPEATS)]
        searched = ask(SEARCH)
        version_of = browser.driver.capabilities["browserVersion"]
        assert all(shown for _, _, shown in pointed), "a click kept nothing"
        return {
            "chromium": version_of,
            "first_drawing_ms": round(first),
            "hover_ms": _spread([each[0] for each in pointed]),
            "click_ms": _spread([each[1] for each in pointed]),
            "switch_ms": _spread(switched),
            "table_search_ms": round(searched),
            "console_errors": browser.errors(),
        }


def _spread(values: list[float]) -> dict[str, int]:
    return {"median": round(statistics.median(values)), "max": round(max(values)), "n": len(values)}


def measure(size: int) -> dict[str, Any]:
    from big_study import write_study

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "study"
        folder.mkdir()
        write_study(folder, size)
        command = [sys.executable, __file__, "--make", str(folder)]
        made = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        return {"trials": size, **made, "browser": browse(folder / "report" / "report.html")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--make", type=Path, metavar="STUDY", help="only make the report of a study, and tell as JSON")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    if given.make:
        print(json.dumps(make_report(given.make)))
        return
    rows = []
    for size in given.sizes:
        rows.append(measure(size))
        print(json.dumps(rows[-1], indent=1), flush=True)
        packages = ("torch", "torchvision", "optuna", "matplotlib", "plotly", "numpy", "selenium")
        told = {
            "command": " ".join(["python", *sys.argv]),
            "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
            "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
            "load_average": [round(value, 2) for value in os.getloadavg()],
            "rows": rows,
        }
        given.out.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()

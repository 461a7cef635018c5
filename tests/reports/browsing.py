"""A headless Chromium that opens pages from disk, with the network off, and points at things in them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-unsafe-swiftshader",  # WebGL without a graphics card
)
POINT = "mousePressed", "mouseReleased"


class Page:
    """The page that is open."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: Path, *, width: int = 1280, dark: bool = False, media: str = "screen") -> None:
        """Open a page that is so wide, and wait until its plots are drawn."""
        height = 900 if width > 600 else 740
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.command("Emulation.setDeviceMetricsOverride", **screen)
        self.command("Emulation.setTouchEmulationEnabled", enabled=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.driver.get_log("browser")  # what an earlier page said
        self.driver.get(path.as_uri())
        self.wait()

    def wait(self) -> None:
        """Wait until what was begun is drawn."""
        self.driver.execute_async_script(
            "const done = arguments[0]; Promise.resolve(quality.ready)"
            ".then(() => requestAnimationFrame(() => setTimeout(done, 50)));"
        )

    def command(self, name: str, **parameters: Any) -> Any:
        return self.driver.execute_cdp_cmd(name, parameters)

    def get(self, expression: str, *arguments: Any) -> Any:
        """Return the value of an expression of JavaScript."""
        return self.driver.execute_script(f"return {expression}", *arguments)

    def errors(self) -> list[str]:
        """Return what the console has been told that is no mere hint."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def mark(self, panel: int, look: str, i: int) -> tuple[float, float]:
        """Scroll to a mark of the first group that looks so, and return where it is in the window."""
        x, y = self.driver.execute_script(
            "const panel = quality.panels[arguments[0]], element = quality.elementOf(panel);"
            "element.scrollIntoView({ block: 'start', behavior: 'instant' });"
            "const group = panel.groups.find((each) => each.look === arguments[1]);"
            "const frame = element.getBoundingClientRect(), at = quality.pixel(panel, group, arguments[2]);"
            "return [frame.left + at[0], frame.top + at[1]];",
            panel,
            look,
            i,
        )
        return x, y

    def hover(self, x: float, y: float) -> None:
        for far in (40, 0):
            self.command("Input.dispatchMouseEvent", type="mouseMoved", x=x + far, y=y + far)
        self.wait()

    def click(self, x: float, y: float) -> None:
        self.hover(x, y)
        for kind in POINT:
            self.command("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        self.wait()

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self.command("Input.dispatchKeyEvent", type=kind, key=key, code=key)


@contextmanager
def chromium(profile: Path) -> Iterator[Page]:
    """Start a browser; skips the test where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        started.set_script_timeout(20)
        started.execute_cdp_cmd("Network.enable", {})
        offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        started.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
        yield Page(started)
    finally:
        started.quit()

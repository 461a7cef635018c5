"""The page as a browser shows it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from browsing import Page, chromium
from tiny_studies import BAM, BARE, ECA, SE, confirmed, searched, study, trial

from reports import StudyView
from reports.page import make_report, render_page

pytestmark = pytest.mark.browser
EVIL = '<script>window.evil = 1</script><img src=x onerror="window.evil = 1">'


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    stopped = replace(searched()[2], number=5, state="stopped")
    return written(study((*searched(), stopped), confirmed()), tmp_path_factory.mktemp("report"))


def written(view: StudyView, folder: Path) -> Path:
    """Write the page alone, without what lies beside it."""
    path = folder / "report.html"
    path.write_text(render_page(make_report(view)), encoding="utf-8")
    return path


def is_tip_shown(page: Page) -> bool:
    return page.get("!document.getElementById('tip').hidden")


def pinned(page: Page) -> list[str]:
    """Return the first line of each card that is kept."""
    return page.get("[...document.querySelectorAll('.pinned:not([hidden]) .name')].map(e => e.textContent)")


def no_sideways_scroll(page: Page) -> bool:
    return page.get("document.documentElement.scrollWidth <= window.innerWidth")


def contrast(page: Page, selector: str) -> float:
    """Return the contrast of an element's text with the page (WCAG 2, 1.4.3)."""
    return page.get(
        "(() => { const lum = (c) => { const p = c.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)"
        ".map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);"
        "return 0.2126 * p[0] + 0.7152 * p[1] + 0.0722 * p[2]; };"
        "const a = lum(getComputedStyle(document.querySelector(arguments[0])).color);"
        "const b = lum(getComputedStyle(document.body).backgroundColor);"
        "return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); })()".replace("arguments[0]", repr(selector))
    )


def test_a_wide_page_opens_from_disk_draws_marks_and_answers_pointing(browser: Page, report: Path) -> None:
    browser.open(report)
    assert browser.errors() == []
    assert browser.get("document.querySelectorAll('.plot .main-svg').length") > 0
    assert no_sideways_scroll(browser)

    # The front's knee is drawn from the start.
    assert len(pinned(browser)) == 1

    # SE stands at nine branches, and the tip draws it on the host: nine slots are filled.
    browser.hover(*browser.mark(1, "front", 0))
    assert is_tip_shown(browser)
    assert SE.id in browser.get("document.querySelector('#tip .name').textContent")
    assert browser.get("document.querySelectorAll('#tip .filled').length") == 9
    sites = browser.get("document.querySelectorAll('#tip rect').length")
    assert sites == 56  # all that ResNet-20 has
    browser.hover(5, 5)
    assert not is_tip_shown(browser)

    browser.click(*browser.mark(1, "front", 1))
    assert [ECA.id in name for name in pinned(browser)] == [True]
    assert (
        browser.get("document.querySelector('.pinned:not([hidden]) a').getAttribute('href')")
        == f"architectures/{ECA.id}.yaml"
    )
    browser.get("document.querySelector('.pinned:not([hidden]) .close').click()")
    assert pinned(browser) == []


def test_the_keyboard_reaches_every_mark(browser: Page, report: Path) -> None:
    browser.open(report)
    browser.get("document.getElementById('plot-confirm').focus()")
    browser.wait()  # it may scroll, which takes the tip away
    for key, expected in (("ArrowRight", BARE), ("ArrowRight", SE), ("End", BAM), ("Home", BARE)):
        browser.press(key)
        assert is_tip_shown(browser)
        assert expected.id in browser.get("document.getElementById('plot-told').textContent")
    browser.press("ArrowRight")
    browser.press("Enter")
    assert [SE.id in name for name in pinned(browser)] == [True]
    browser.press("Escape")
    assert pinned(browser) == []
    assert not is_tip_shown(browser)


def test_the_switch_of_costs_draws_the_marks_elsewhere(browser: Page, report: Path) -> None:
    browser.open(report)
    assert browser.get("[...document.querySelectorAll('input[name=cost]')].map(e => e.value)") == [
        "macs",
        "params",
        "memory_bytes",
    ]
    before = browser.get("document.getElementById('plot-search').data[1].x")
    browser.get("document.querySelector('input[value=params]').click()")
    browser.wait()
    after = browser.get("document.getElementById('plot-search').data[1].x")
    assert after == [10 * each for each in before]  # as the made-up records have it
    assert "arameters" in browser.get("document.getElementById('plot-search').layout.xaxis.title.text")


def test_the_table_of_trials_sorts_and_searches(browser: Page, report: Path) -> None:
    browser.open(report)
    rows = "[...document.querySelectorAll('#trial-table tbody tr th')].map(e => e.textContent)"
    assert browser.get(rows) == ["0", "1", "2", "3", "4", "5"]
    browser.get("document.querySelector('#trial-table [data-key=quality] button').click()")
    assert browser.get(rows)[0] == "2"
    assert browser.get("document.querySelector('[data-key=quality]').getAttribute('aria-sort')") == "descending"
    browser.driver.execute_script(
        "const box = document.getElementById('trial-state'); box.value = '3'; box.dispatchEvent(new Event('change'));"
    )
    assert browser.get(rows) == ["4"]


def test_on_a_phone_nothing_scrolls_sideways_and_a_tap_keeps_a_mark(browser: Page, report: Path) -> None:
    browser.open(report, width=360)
    assert browser.errors() == []
    assert no_sideways_scroll(browser)
    x, y = browser.mark(0, "front", 0)
    browser.command("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
    browser.command("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    browser.wait()
    browser.click(x, y)
    assert [SE.id in name for name in pinned(browser)] == [True]
    assert browser.get("document.querySelector('.pinned:not([hidden]) svg').getBoundingClientRect().right") <= 360


def test_dark_and_light_are_legible_and_paper_is_light(browser: Page, report: Path) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    text = ("body", ".note", ".lead", ".answer p", "nav a")
    for dark, media, expected in ((True, "screen", "rgb(20, 23, 27)"), (True, "print", "rgb(255, 255, 255)")):
        browser.open(report, dark=dark, media=media)
        assert browser.get(paper) == expected
        assert {selector: contrast(browser, selector) >= 4.5 for selector in text} == dict.fromkeys(text, True)
    assert browser.get("getComputedStyle(document.querySelector('.switch')).display") == "none"
    assert len(pinned(browser)) == 1  # paper shows a placement too
    pdf = browser.command("Page.printToPDF")["data"]
    assert pdf.startswith("JVBER")


def odd_studies() -> dict[str, StudyView]:
    ties = [
        trial(i, each, 0.9, label="host" if each is BARE else None, macs=100) for i, each in enumerate((BARE, SE, ECA))
    ]
    nan = (trial(0, BARE, float("nan"), label="host"), trial(1, SE, 0.9, loss=float("nan")))
    evil = (trial(0, BARE, 0.9, label="host"), trial(1, SE, 0.8, label=EVIL), trial(2, BAM, None, reason=EVIL))
    return {
        "none": study(),
        "one": study(searched()[2:3]),
        "failures": study(searched()[4:]),
        "all on the front": study(searched()[2:4]),
        "ties": study(ties),
        "nan": study(nan),
        "evil": study(evil, description=EVIL, name=EVIL, path=EVIL),
    }


@pytest.mark.parametrize("name", odd_studies())
def test_odd_studies_open_without_a_complaint(browser: Page, name: str, tmp_path: Path) -> None:
    browser.open(written(odd_studies()[name], tmp_path), width=360)
    assert browser.errors() == []
    assert no_sideways_scroll(browser)
    assert browser.get("window.evil === undefined")
    assert browser.get("document.querySelectorAll('#trial-table tbody tr').length") == len(odd_studies()[name].search)

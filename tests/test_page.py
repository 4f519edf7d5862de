"""The report's page in a real browser: charts, tables, images, accessibility, paper.

The browser is the system's Chromium, or the one that CHROMIUM names.
"""

import argparse
import itertools
import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

import pytest

from stages.report import __main__ as report
from tests.stages.report.test_report import build

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=f"none of {', '.join(NAMES)} is installed")

# A4 without the style's margins of 1.5 cm, in pixels of which an inch has 96.
PAPER = 681, 1009
DRAWN = (
    "document.querySelectorAll('.chart').length === document.querySelectorAll('.chart svg').length"
)
# Titles of charts in which no mark has an extent.
EMPTY = """[...document.querySelectorAll('.chart')].filter(chart =>
  ![...chart.querySelectorAll('.role-mark path, .role-mark line, .role-mark text')].some(mark =>
    mark.getBoundingClientRect().width + mark.getBoundingClientRect().height > 0)
).map(chart => chart.ariaLabel)"""
# Text or marks of a chart beyond the edge of the page.
BEYOND = """[...document.querySelectorAll('.chart svg text, .chart svg path')].filter(part =>
  part.getBoundingClientRect().right > innerWidth || part.getBoundingClientRect().left < 0
).map(part => part.textContent || part.ariaLabel)"""
UNBREAKABLE = """[...document.querySelectorAll('.chart, .viewer')].map(box =>
  [getComputedStyle(box).breakInside, box.getBoundingClientRect().height])"""
OVERFLOW = "document.documentElement.scrollWidth - innerWidth"


class View(NamedTuple):
    """An open page, the errors of its console, and what it has asked for."""

    page: "Page"
    errors: list[str]
    requested: list[str]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the page of a small run."""
    folder = tmp_path_factory.mktemp("run")
    build(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        report.main(argparse.Namespace())
    return (folder / "metrics/report.html").as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with playwright.sync_playwright() as driver:
        yield driver.chromium.launch(executable_path=CHROMIUM)


def opened(browser: "Browser", address: str, scheme: Literal["light", "dark"], width: int) -> View:
    """The page with its charts drawn."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(120_000)  # milliseconds; a busy machine takes its time
    view = View(page, [], [])
    page.on("console", lambda said: view.errors.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: view.errors.append(str(error)))
    page.on("request", lambda request: view.requested.append(request.url))
    page.goto(address)
    page.wait_for_function(DRAWN)
    return view


@pytest.fixture(
    scope="module",
    params=itertools.product(("light", "dark"), (390, 1400)),
    ids=lambda mode: f"{mode[0]}-{mode[1]}",
)
def view(request: pytest.FixtureRequest, browser: "Browser", address: str) -> Iterator[View]:
    view = opened(browser, address, *request.param)
    yield view
    view.page.close()


@pytest.fixture
def page(browser: "Browser", address: str) -> Iterator["Page"]:
    page = opened(browser, address, "light", 1400).page
    yield page
    page.close()


def test_no_error_is_logged_and_nothing_but_the_file_is_asked_for(view: View, address: str) -> None:
    assert view.errors == []
    assert [url for url in view.requested if not url.startswith("data:")] == [address]
    assert view.page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")


def test_every_chart_has_marks_and_nothing_goes_beyond_the_edge(view: View) -> None:
    assert view.page.locator(".chart").count() > 10
    assert view.page.evaluate(EMPTY) == []
    assert view.page.evaluate(OVERFLOW) <= 0
    assert view.page.evaluate(BEYOND) == []


def test_axe_finds_no_serious_fault(view: View) -> None:
    found = axe.Axe().run(view.page).response
    # What depends on the colours has been looked at.
    assert "color-contrast" in {rule["id"] for rule in found["passes"]}
    assert [
        (rule["id"], [node["target"] for node in rule["nodes"]])
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
    ] == []


def column(table: "Locator", place: int) -> list[str]:
    """The first word of a column's cells, from above."""
    return [text.split()[0] for text in table.locator(f"td:nth-child({place})").all_inner_texts()]


def test_a_click_on_a_head_sorts_a_table_and_another_turns_it(page: "Page") -> None:
    table = page.locator("table").first
    dice, method = (table.get_by_role("columnheader", name=name) for name in ("Dice", "Method"))
    names, scores = column(table, 1), column(table, 3)
    numbers = sorted(float(score) for score in scores if score != "–")
    without = ["–"] * (len(scores) - len(numbers))
    assert without
    assert len(set(numbers)) > 1

    dice.get_by_role("button").click()
    assert dice.get_attribute("aria-sort") == "descending"
    assert column(table, 3) == [f"{number:.3f}" for number in reversed(numbers)] + without
    dice.get_by_role("button").click()
    assert dice.get_attribute("aria-sort") == "ascending"
    assert column(table, 3) == [f"{number:.3f}" for number in numbers] + without

    method.get_by_role("button").press("Enter")
    assert (dice.get_attribute("aria-sort"), method.get_attribute("aria-sort")) == (
        None,
        "ascending",
    )
    assert column(table, 1) == sorted(names, key=str.casefold)
    method.get_by_role("button").press("Enter")
    assert column(table, 1) == sorted(names, key=str.casefold, reverse=True)


def test_a_click_on_a_point_leads_to_its_image_and_on_that_to_its_full_size(page: "Page") -> None:
    page.locator("#organs-and-images .chart .mark-symbol path").last.click()
    page.wait_for_function("location.hash === '#image-1'")
    small, full = page.locator("#image-1"), page.locator("#full-1")
    playwright.expect(small).to_be_in_viewport()

    small.locator("img").first.click(force=True)
    page.wait_for_function("location.hash === '#full-1'")
    playwright.expect(full.locator("img").first).to_be_in_viewport()

    # Zoomed and without its layers.
    width = full.locator(".layers").evaluate("layers => layers.offsetWidth")
    full.get_by_label("Zoom").fill("3")
    assert full.locator(".layers").evaluate("layers => layers.offsetWidth") == pytest.approx(
        3 * width, rel=0.01
    )
    shown = full.locator("img:visible")
    assert shown.count() == 4
    for layer in ("truth", "prediction", "errors"):
        full.get_by_label(layer).uncheck()
    assert shown.count() == 1


def test_on_paper_no_chart_is_cut_and_colours_have_their_legend(page: "Page") -> None:
    page.emulate_media(media="print")
    width, height = PAPER
    page.set_viewport_size({"width": width, "height": height})
    assert page.evaluate(OVERFLOW) <= 0
    assert page.evaluate(BEYOND) == []
    boxes = page.evaluate(UNBREAKABLE)
    assert {rule for rule, _ in boxes} == {"avoid"}
    assert max(extent for _, extent in boxes) < height
    # Chromium repeats a table's head on each page only if it breaks nowhere and holds no box.
    for part, rule in (("thead", "breakInside"), ("th button", "display")):
        found = page.locator(part).first.evaluate(f"one => getComputedStyle(one).{rule}")
        assert found == {"breakInside": "avoid", "display": "contents"}[rule]
    swatches = page.locator(".legend span")
    assert swatches.first.evaluate("span => getComputedStyle(span).printColorAdjust") == "exact"
    assert page.pdf(format="A4").startswith(b"%PDF")

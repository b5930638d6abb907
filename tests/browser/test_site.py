"""The site, opened from a folder without a server: `make site` first, or it is made now."""

import re
import subprocess
import sys

import pytest

from browser.jupyterlab import PLACE, ROOT

pytestmark = pytest.mark.browser
OUT = ROOT / "build" / "site"


@pytest.fixture(scope="session")
def site():
    """The site's folder, made of the course as it stands."""
    subprocess.run([sys.executable, ROOT / "tools" / "make_site.py"], check=True)
    return OUT


def test_every_page_fits_a_telephone(open_page, site):
    page = open_page(390, 800)
    for path in sorted(site.rglob("*.html")):
        page.goto(path.as_uri())
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 390, f"{path.relative_to(site)} is {wide} pixels wide"


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_readable(open_page, site, width, scheme):
    page = open_page(width, 1000)
    page.emulate_media(color_scheme=scheme)
    for name in ("index", "notebooks/04_deriving_penalties", "notebooks/11_reading_room"):
        page.goto((site / f"{name}.html").as_uri())
        assert page.evaluate(CONTRAST) > 7, "words against what is behind them"
        lines = page.evaluate("document.querySelector('article p').getBoundingClientRect().width")
        assert lines < 900, "no line is too long to read"
        page.screenshot(path=PLACE / f"site-{name.replace('/', '-')}-{width}-{scheme}.png")


CONTRAST = """() => {
  const behind = (e) => {
    const colour = getComputedStyle(e).backgroundColor;
    return colour === 'rgba(0, 0, 0, 0)' && e.parentElement ? behind(e.parentElement) : colour;
  };
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3)
      .map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const words = document.querySelector('article p');
  const both = [light(getComputedStyle(words).color), light(behind(words))].sort((a, b) => a - b);
  return (both[1] + 0.05) / (both[0] + 0.05);
}"""


def test_the_search_finds_words_of_notebooks_and_names_of_the_package(open_page, site):
    page = open_page()
    for words, found in (("conformal", "notebooks/"), ("HierarchicalBCELoss", "api/")):
        page.goto((site / "search.html").as_uri() + f"?q={words}")
        links = page.locator("#search-results li a")
        links.first.wait_for(timeout=20_000)
        assert any(found in (a.get_attribute("href") or "") for a in links.all()), words
    page.screenshot(path=PLACE / "site-search.png")


def test_an_exercise_opens_and_so_does_its_solution(open_page, site):
    page = open_page()
    page.goto((site / "notebooks" / "11_reading_room.html").as_uri())
    exercise = page.locator("details.exercise").first
    solution = exercise.locator("details", has_text="One solution")
    assert not solution.is_visible()
    exercise.locator("summary").first.click()
    assert solution.is_visible() and not solution.locator("pre").is_visible()
    solution.locator("summary").click()
    assert "return" in solution.locator("pre").inner_text()


def test_formulas_are_drawn_without_a_script(open_page, site):
    page = open_page()
    page.goto((site / "notebooks" / "04_deriving_penalties.html").as_uri())
    assert page.locator("math").count() > 20
    assert not re.search(r"\$\S[^$\n]*\S\$", page.locator("article").inner_text())


def test_pages_lead_from_one_to_the_next(open_page, site):
    page = open_page()
    page.goto((site / "notebooks" / "00_start_here.html").as_uri())
    page.locator("a.right-next").first.click()
    assert "01_reading_a_chest_film" in page.url
    page.locator("a.left-prev").first.click()
    assert "00_start_here" in page.url

"""JupyterLab in a page, and an eye on what leaves the machine."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PLACE = ROOT / "build" / "browser"
"""Copies of the notebooks, and screenshots to look at."""

NOTEBOOK = "window.jupyterapp.shell.currentWidget.content"
CELLS = f"{NOTEBOOK}.widgets"
KERNEL = "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel"
HERE = r"(https?|wss?)://(localhost|127\.0\.0\.1)[:/]|data:|blob:|file:"


class Watched:
    """What a page asked for beyond this machine, and what it complained of."""

    def __init__(self, page):
        self.left, self.errors = [], []
        page.on("request", self._request)
        page.on("websocket", self._request)  # has an address too
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _request(self, request):
        if not re.match(HERE, request.url):
            self.left.append(request.url)

    def _console(self, message):
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location['url']})")


class Lab:
    """JupyterLab in a page: opens a notebook, runs its cells, finds what they show."""

    def __init__(self, address, token):
        self.address, self.token, self.folder = address, token, PLACE / "mine"

    def open(self, page, name):
        """Open a notebook in a workspace of its own, and wait for its kernel."""
        where = f"{self.folder.relative_to(ROOT)}/{name}.ipynb"
        page.goto(f"{self.address}/lab/workspaces/{name}/tree/{where}?token={self.token}&reset")
        page.wait_for_selector(".jp-Notebook", timeout=60_000)
        page.wait_for_function(f"{KERNEL}?.status === 'idle'", timeout=60_000)
        return page

    def run_all(self, page, seconds=1800):
        """Run all cells, and wait until the last one has ended; returns the errors, as texts."""
        page.evaluate("window.ran = false")
        page.evaluate(
            "window.jupyterapp.commands.execute('notebook:run-all-cells')"
            ".then(() => window.ran = true) && undefined"
        )
        page.wait_for_function("window.ran", timeout=1000 * seconds)
        return page.evaluate(f"""{CELLS}.flatMap(cell => cell.model.sharedModel.outputs ?? [])
            .filter(o => o.output_type === 'error').map(o => o.ename + ': ' + o.evalue)""")

    def run_cell(self, page, number, source=None):
        """Run one cell, with another source if one is given; returns its output's text."""
        page.evaluate(
            """async ([number, source]) => {
                const notebook = window.jupyterapp.shell.currentWidget.content;
                notebook.activeCellIndex = number;
                if (source) notebook.widgets[number].model.sharedModel.setSource(source);
                await window.jupyterapp.commands.execute('notebook:run-cell');
                await notebook.scrollToItem(number, 'center');
            }""",
            [number, source],
        )
        return self.cell(page, number).locator(".jp-OutputArea").first.inner_text()

    def find_all(self, page, words):
        """The numbers of the code cells whose source holds these words; there is one at least."""
        sources = page.evaluate(
            f"{CELLS}.map(cell => cell.model.type === 'code' ? cell.model.sharedModel.source : '')"
        )
        found = [number for number, source in enumerate(sources) if words in f"\n{source}"]
        assert found, words
        return found

    def find(self, page, words):
        """The number of the first of them."""
        return self.find_all(page, words)[0]

    def source(self, page, number):
        return page.evaluate(f"{CELLS}[{number}].model.sharedModel.source")

    def cell(self, page, number):
        """A cell, scrolled into view: those far from it are not drawn."""
        found = page.locator(f".jp-Cell[data-windowed-list-index='{number}']")
        for _ in range(20):  # cells on the way there get their height when they are drawn
            page.evaluate(f"{NOTEBOOK}.scrollToItem({number}, 'start')")
            page.wait_for_timeout(250)
            if found.is_visible() and abs(found.bounding_box()["y"]) < 400:
                break
        return found

    def shot(self, page, name):
        page.screenshot(path=PLACE / f"{name}.png")

"""Make the course a site: pages that open from a folder, without a server or a network.

make_site.py    lays out docs, notebooks as committed, and an API reference in build/site-source,
                makes build/site of them (Sphinx; a warning is an error), and checks every link
"""

import ast
import importlib
import inspect
import json
import os
import re
import shutil
import sys
import textwrap
import time
from dataclasses import dataclass, field
from functools import cache
from html import escape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sphinx.cmd.build import build_main

ROOT = Path(__file__).resolve().parent.parent

# Code that is shown, a link (whose words may be code), or code within a line.
MARKED = re.compile(
    r"(?ms)^(?P<fence>`{3,}|~{3,})(?!\{).*?^(?P=fence)\s*?$"
    r"|(?P<words>!?\[(?:[^\]`]|`[^`]*`)*\])\((?P<target>[^)\s]+)\)"
    r"|(?<!`)`(?P<code>[^`\n]+)`(?!`)"
)


class SiteError(Exception):
    """The site could not be made; the message says why."""


# --- Which page becomes which ---------------------------------------------------------------------


def pages(root):
    """{path in the course: path in the site's source}, of all that is a page by itself."""
    found = {f"docs/{path.name}": path.name for path in sorted((root / "docs").glob("*.md"))}
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        found[f"notebooks/{path.name}"] = f"notebooks/{path.name}"
    for path, page in {"data/README.md": "data.md", "CHANGELOG.md": "changelog.md"}.items():
        if (root / path).is_file():
            found[path] = page
    return found


def lay_out(root, source):
    """Write the source of the site anew: documents, notebooks, files that they link to."""
    shutil.rmtree(source, ignore_errors=True)
    known = pages(root)
    for path, page in known.items():
        place = source / page
        place.parent.mkdir(parents=True, exist_ok=True)
        text = (root / path).read_text(encoding="utf-8")
        if place.suffix == ".ipynb":
            notebook = for_reading(json.loads(text))
            for cell in notebook["cells"]:
                if cell["cell_type"] == "markdown":
                    cell["source"] = linked(_text(cell), path, root, source, known)
            text = json.dumps(notebook, ensure_ascii=False)
        else:
            text = linked(text, path, root, source, known)
        place.write_text(text, encoding="utf-8")


def linked(text, path, root, source, known):
    """Markdown of ``path`` with its links changed to where things lie in the site's source.

    The name of a page in code type, such as `docs/reading.md`, becomes a link to it. A file that
    is no page is copied, and linked there.
    """
    page = Path(known[path])

    def at(new):
        return os.path.relpath(new, page.parent)

    def change(found):
        if code := found["code"]:
            new = known.get(code)
            return f"[`{code}`]({at(new)})" if new not in (None, str(page)) else found[0]
        parts = urlsplit(found["target"] or "")
        if parts.scheme or not parts.path:
            return found[0]
        wanted = os.path.normpath(os.path.join(os.path.dirname(path), unquote(parts.path)))
        new = known.get(wanted) or _copied(wanted, root, source)
        if new is None:
            raise SiteError(f"{path}: the link {found['target']} leads nowhere.")
        return f"{found['words']}({at(new)}{'#' * bool(parts.fragment)}{parts.fragment})"

    return MARKED.sub(change, text)


def _copied(wanted, root, source):
    """Where the site's source has a file that is no page; README's readers start at the front."""
    if wanted == "README.md":
        return "index.md"
    if wanted.startswith("..") or not (root / wanted).is_file():
        return None
    place = source / "files" / wanted
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(root / wanted, place)
    return str(place.relative_to(source))


# --- Notebooks ------------------------------------------------------------------------------------


def for_reading(notebook):
    """A notebook, given as its JSON, as a page on which nobody can type.

    Fields for guesses go. Exercises become collapsed text, with hints and a solution.
    """
    cells = []
    for cell in notebook["cells"]:
        code = _text(cell) if cell["cell_type"] == "code" else ""
        if code.startswith("exercises.guess("):
            continue
        if code.startswith("exercises.surprises("):
            if cells and _text(cells[-1]).startswith("And your guesses"):
                cells.pop()
            continue
        cells.append(_exercise_cell(cell, code) if is_exercise(code) else cell)
    return {**notebook, "cells": cells}


def _text(cell):
    return "".join(cell["source"])


def is_exercise(code):
    """Whether a cell asks for a function, and checks it."""
    return re.search(r"^exercises\.check\(\w+\)", code, re.MULTILINE) is not None


def _exercise_cell(cell, code):
    from cxrlib.exercises import find  # loads PyTorch

    asked = find(re.search(r"^exercises\.check\((\w+)\)", code, re.MULTILINE)[1])
    return {
        "cell_type": "markdown",
        "id": cell.get("id", asked.name),
        "metadata": {},
        "source": collapsed_exercise(code, asked.hints, asked.text()),
    }


def collapsed_exercise(code, hints, solution):
    """An exercise as Markdown: its title, and what it opens to."""
    title, _, rest = code.partition("\n")
    title = title.removeprefix("#").strip()
    number = re.match(r"Exercise (\w+\.\d+)", title)
    name = f' id="exercise-{number[1].replace(".", "-")}"' if number else ""
    called = ["A hint"] + ["A plainer hint"] * (len(hints) - 1)
    inner = [details(words, hint) for words, hint in zip(called, hints, strict=True)]
    inner.append(details("One solution", python(solution)))
    return details(title, "\n\n".join([python(rest), *inner]), f' class="exercise"{name}')


def details(title, content, attributes=""):
    """Markdown that opens under a title."""
    summary = f"<details{attributes}><summary>{escape(title)}</summary>"
    return f"{summary}\n\n{content.strip()}\n\n</details>"


def python(code):
    """Code as Markdown."""
    return f"```python\n{code.strip()}\n```"


# --- The reference --------------------------------------------------------------------------------


@dataclass
class Module:
    """A page of the reference: a module or package, and the public names described there."""

    name: str
    names: dict = field(default_factory=dict)  # name → the module that defines it


def modules_of(package, folder):
    """The ``Module``s of a package: its modules, and its subpackages with what these hand on.

    A subpackage's module has a page of its own if nothing of it is handed on. Modules of exercises
    (nb00 …) have none: their solutions stand in the notebooks.
    """
    found = []
    for path in sorted(folder.iterdir()):
        if path.suffix == ".py" and not path.stem.startswith("_"):
            found.append(Module(f"{package}.{path.stem}", defined(path, f"{package}.{path.stem}")))
        elif (path / "__init__.py").is_file():
            name = f"{package}.{path.name}"
            handed_on = imported(path / "__init__.py", name)
            found.append(Module(name, handed_on))
            for inner in modules_of(name, path):
                own = inner.name not in handed_on.values() and inner.names
                if own and not re.fullmatch(r"nb\d+b?", inner.name.rpartition(".")[2]):
                    found.append(inner)
    return found


def defined(path, module):
    """{name: module} of the public functions, classes and constants that a file defines."""
    found = {}
    for node in _parsed(path).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = module
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                names = target.elts if isinstance(target, ast.Tuple) else [target]
                found |= {n.id: module for n in names if isinstance(n, ast.Name) and n.id.isupper()}
    return {name: of for name, of in found.items() if not name.startswith("_")}


def imported(path, package):
    """{name: the module it comes from} of what a package hands on of its own modules."""
    return {
        (alias.asname or alias.name): node.module
        for node in _parsed(path).body
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(f"{package}.")
        for alias in node.names
    }


@cache
def _parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def api_page(module, twice=False):
    """The page of a module, as reStructuredText for Sphinx's autodoc.

    ``twice``: its name is also that of a function, which links mean.
    """
    option = "\n   :no-index:" if twice else ""
    title = f"{module.name}\n{'=' * len(module.name)}"
    parts = [title, f".. automodule:: {module.name}{option}"]
    values = vars(importlib.import_module(module.name))
    for name, origin in module.names.items():
        parts.append(_described(module.name, name, origin, values[name]))
    return "\n\n".join(parts) + "\n"


def _described(module, name, origin, value):
    if inspect.isclass(value):
        kind = "exception" if issubclass(value, Exception) else "class"
        return f".. auto{kind}:: {module}.{name}\n   :members:"
    if callable(value):
        return f".. autofunction:: {module}.{name}"
    shown = repr(value)
    fits = len(shown) <= 72 and not re.search(r"<|Path\(", shown)  # no path of this machine
    shown = f"\n   :value: {shown}" if fits else ""
    told = textwrap.indent(comment_on(origin, name), "   ")
    return f".. py:data:: {name}\n   :module: {module}{shown}\n\n{told}".rstrip()


def comment_on(module, name):
    """The string that stands under the assignment of a constant, or nothing."""
    body = _parsed(Path(importlib.import_module(module).__file__)).body
    for node, after in pairwise(body):
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(after, ast.Expr):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {getattr(target, "id", None) for target in targets}
            if name in names and isinstance(getattr(after.value, "value", None), str):
                return inspect.cleandoc(after.value.value)
    return ""


def write_reference(source, package, folder):
    """Write the pages of the reference, and their list."""
    place = source / "api"
    place.mkdir(parents=True, exist_ok=True)
    found = modules_of(package, folder)
    names = {f"{module.name}.{name}" for module in found for name in module.names}
    for module in found:
        page = api_page(module, twice=module.name in names)
        (place / f"{module.name}.rst").write_text(page, encoding="utf-8")
    (place / "index.rst").write_text(reference_list(found), encoding="utf-8")


def reference_list(modules):
    """The front page of the reference: every module, with its first line."""
    rows = []
    for module in modules:
        said = inspect.getdoc(importlib.import_module(module.name)) or ""
        first = " ".join(said.partition("\n\n")[0].split())
        rows.append(f":doc:`{module.name}`\n   {first}")
    tree = "\n".join(f"   {module.name}" for module in modules)
    title = "The package, name by name"
    return (
        f"{title}\n{'=' * len(title)}\n\nWhat the notebooks use and you may import, from the "
        "package's own words.\n\n" + "\n".join(rows) + f"\n\n.. toctree::\n   :hidden:\n\n{tree}\n"
    )


# --- Checking what was made -----------------------------------------------------------------------


class _Page(HTMLParser):
    """What a page has to be linked to, what it links to, and what it would fetch."""

    FETCHED = ("script", "link", "img", "iframe", "source", "video", "audio", "object", "embed")

    def __init__(self, text):
        super().__init__()
        self.anchors, self.links, self.fetched, self.mute = set(), [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.anchors |= {given[key] for key in ("id", "name") if given.get(key)}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag in self.FETCHED and given.get("rel") not in ("index", "search", "next", "prev"):
            told = (given.get(key) for key in ("src", "href", "srcset", "data"))
            self.fetched += [address for address in told if address]
        if tag == "img" and not (given.get("alt") or "").strip():
            self.mute.append(given.get("src", "an image"))


def check_links(folder):
    """(how many links were followed, a sentence for each thing that is wrong) of a built site."""
    read = {
        path: _Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))
    }
    count, wrong = 0, []
    for path, page in read.items():
        name = path.relative_to(folder)
        for address in page.links + page.fetched:
            count += 1
            if told := _trouble(address, path, read, address in page.fetched):
                wrong.append(f"{name}: {told}")
        wrong += [f"{name}: {source} has no alternative text." for source in page.mute]
    for path in sorted(folder.rglob("*.css")):
        for address in re.findall(r"url\(['\"]?((?:https?:)?//[^)'\"]+)", path.read_text("utf-8")):
            wrong.append(f"{path.relative_to(folder)}: {address} would be fetched from elsewhere.")
    return count, wrong


def _trouble(address, path, read, fetched):
    """What is wrong with a link, in half a sentence; or None."""
    parts = urlsplit(address)
    if parts.scheme == "data" or (parts.scheme and not fetched):
        return None
    if parts.scheme or parts.netloc:
        return f"{address} would be fetched from elsewhere."
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.is_file():
        return f"{address} leads to no file."
    if parts.fragment and not fetched and target in read:
        anchors = read[target].anchors
        if parts.fragment not in anchors and unquote(parts.fragment) not in anchors:
            return f"{address} leads to no place on that page."
    return None


# --- All of it ------------------------------------------------------------------------------------


def build(source, config, out, doctrees):
    """Let Sphinx make pages of a source; a warning is an error."""
    shutil.rmtree(out, ignore_errors=True)
    quiet = ["-q", "-E", "-W", "--keep-going", "-b", "html"]
    if build_main([*quiet, "-c", str(config), "-d", str(doctrees), str(source), str(out)]):
        raise SiteError("Sphinx has complained, see above. Nothing may be wrong on a page.")
    for template in (out / "_static").glob("*.html"):  # the themes' own, no pages
        template.unlink()


def make(root, work, out):
    """The whole site: (its front page, how many links were followed)."""
    source = work / "site-source"
    lay_out(root, source)
    write_reference(source, "cxrlib", root / "cxrlib")
    build(source, root / "docs", out, work / "site-doctrees")
    count, wrong = check_links(out)
    if wrong:
        raise SiteError("\n".join(wrong))
    return out / "index.html", count


def main():
    start = time.perf_counter()
    out = ROOT / "build" / "site"
    try:
        index, links = make(ROOT, ROOT / "build", out)
    except SiteError as error:
        print(error, file=sys.stderr)
        return 1
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    count = sum(1 for _ in out.rglob("*.html"))
    print(
        f"The site: {index.as_uri()}\n{count} pages, {links:,} links followed, "
        f"{size / 1e6:.0f} MB, {time.perf_counter() - start:.0f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

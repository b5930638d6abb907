"""Run the course: execute every notebook in order, and make pages of them.

course.py run             copies of notebooks/*.ipynb, executed into build/course, and HTML
                          pages with an index in build/pages; what is up to date is not run
course.py author [NAME…]  notebooks/scripts/*.py into notebooks/*.ipynb, executed, for
                          committing; NAME is the start of a notebook's name, such as 03
"""

import argparse
import hashlib
import html
import json
import os
import re
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

ROOT = Path(__file__).resolve().parent.parent
WIDGET = "application/vnd.jupyter.widget-view+json"


class CourseError(Exception):
    """A notebook could not be run; the message says where and why."""


# --- One notebook --------------------------------------------------------------------------------


def execute(notebook, folder, name):
    """Execute a notebook from a fresh kernel, in place; ``folder`` is its working directory."""
    client = NotebookClient(
        notebook,
        timeout=3600,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    try:
        client.execute()
    except CellExecutionError as error:
        number, cell = _failed_cell(notebook)
        raise CourseError(
            f"{name}: cell {number} failed.\n\n{_indent(cell.source)}\n\n{error.ename}: "
            f"{error.evalue}"
        ) from error
    finally:
        clean(notebook)


def _failed_cell(notebook):
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, start=1):
        if any(output.output_type == "error" for output in cell.outputs):
            return number, cell
    return len(code), code[-1]


def _indent(text):
    return "\n".join("    " + line for line in text.splitlines())


def clean(notebook):
    """Drop what differs from run to run: progress bars, live widgets, the kernel's version."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    }
    notebook.metadata["language_info"] = {"name": "python"}
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:03d}"
        if cell.cell_type == "code":
            cell.metadata.pop("execution", None)
            cell["outputs"] = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:
                output.get("data", {}).pop(WIDGET, None)


def first_words(notebook):
    """A notebook's title and its first paragraph, from its first cell."""
    lines = notebook.cells[0].source.strip().split("\n\n")
    title = lines[0].lstrip("# ").strip()
    return title, lines[1].replace("\n", " ").strip() if len(lines) > 1 else ""


# --- The whole course ----------------------------------------------------------------------------


def run(source, build, package, environment):
    """Execute what is not up to date, write pages and index; returns the index's path."""
    notebooks = sorted(source.glob("*.ipynb"))
    if not notebooks:
        raise CourseError(f"{source}: no notebooks here.")
    executed, pages = build / "course", build / "pages"
    for folder in (executed, pages):
        folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for number, path in enumerate(notebooks, start=1):
        print(f"[{number}/{len(notebooks)}] {path.stem} … ", end="", flush=True)
        seconds, fresh = _run_one(path, executed / path.name, package, environment)
        print(f"{seconds:.0f} s" if fresh else f"up to date ({seconds:.0f} s when it ran)")
        result = nbformat.read(executed / path.name, as_version=4)
        page = pages / f"{path.stem}.html"
        page.write_text(to_html(result), encoding="utf-8")
        entries.append((page.name, *first_words(result), seconds))
    index = pages / "index.html"
    index.write_text(index_page(entries, environment), encoding="utf-8")
    return index


def _run_one(path, result, package, environment):
    record = result.with_suffix(".json")
    inputs = fingerprint([path, *sorted(package.glob("*.py"))], environment)
    if record.is_file() and result.is_file():
        known = json.loads(record.read_text(encoding="utf-8"))
        if known["inputs"] == inputs:
            return known["seconds"], False
    record.unlink(missing_ok=True)
    notebook = nbformat.read(path, as_version=4)
    start = time.perf_counter()
    try:
        execute(notebook, path.parent, path.stem)
    finally:
        nbformat.write(notebook, result)
    seconds = time.perf_counter() - start
    record.write_text(json.dumps({"inputs": inputs, "seconds": seconds}), encoding="utf-8")
    return seconds, True


def fingerprint(paths, environment):
    """A hash of everything that a notebook's outputs depend on."""
    digest = hashlib.sha256(environment.encode())
    for path in paths:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def to_html(notebook):
    """One page that needs nothing from the network."""
    exporter = HTMLExporter(template_name="lab", embed_images=True)
    # The lab template would fetch these; the course's notebooks use none of them.
    exporter.mathjax_url = exporter.require_js_url = exporter.mermaid_js_url = ""
    body, _ = exporter.from_notebook_node(notebook)
    body = re.sub(r'<script[^>]*\bsrc="[^"]*"[^>]*>\s*</script>', "", body)
    return re.sub(r'<script type="module">.*?mermaid.*?</script>', "", body, flags=re.DOTALL)


def index_page(entries, environment):
    """The list of pages, with what each is about."""
    rows = "\n".join(
        f'<li><a href="{html.escape(page)}">{html.escape(title)}</a>'
        f"<p>{html.escape(words)}</p><small>{seconds:.0f} s</small></li>"
        for page, title, words, seconds in entries
    )
    track = html.escape(environment or "the phantom")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Hierarchical chest X-ray classification</title>
<meta name="viewport" content="width=device-width">
<style>
body {{ font: 18px/1.5 system-ui, sans-serif; max-width: 46em; margin: 3em auto; padding: 0 1em; }}
li {{ list-style: none; margin: 1.4em 0; }} ul {{ padding: 0; }}
a {{ font-size: 1.15em; }} p {{ margin: 0.2em 0; }} small {{ color: #666; }}
</style></head><body>
<h1>Hierarchical chest X-ray classification</h1>
<p>The notebooks of the course, as they ran on this machine. Data: {track}.</p>
<ul>
{rows}
</ul>
</body></html>
"""


def author(source, names):
    """Execute scripts and write the notebooks that are committed."""
    scripts = sorted((source / "scripts").glob("*.py"))
    chosen = [path for path in scripts if not names or any(path.name.startswith(n) for n in names)]
    if not chosen:
        raise CourseError(f"no script in {source / 'scripts'} starts with {', '.join(names)}.")
    for path in chosen:
        print(f"{path.stem} … ", end="", flush=True)
        start = time.perf_counter()
        notebook = jupytext.read(path)
        execute(notebook, source, path.stem)
        notebook.metadata.pop("jupytext", None)
        nbformat.validate(notebook)
        nbformat.write(notebook, source / f"{path.stem}.ipynb")
        print(f"{time.perf_counter() - start:.0f} s")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run")
    commands.add_parser("author").add_argument("names", nargs="*")
    options = parser.parse_args(arguments)
    try:
        if options.command == "author":
            author(ROOT / "notebooks", options.names)
            return 0
        data = os.environ.get("CXR_DATA", "")
        index = run(ROOT / "notebooks", ROOT / "build", ROOT / "cxrlib", data)
    except CourseError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    print(f"\nThe pages to read: {index}\nTo try things yourself: make lab")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Run the course: execute every notebook in order, and make pages of them.

course.py run             copies of notebooks/*.ipynb, executed into build/course, and HTML
                          pages with an index in build/pages; what is up to date is not run.
                          Several run at a time, each with one thread
course.py author [NAME…]  notebooks/scripts/*.py into notebooks/*.ipynb, executed, for
                          committing; NAME is the start of a notebook's name, such as 03
course.py copy FOLDER     copies of notebooks/*.ipynb in FOLDER, without outputs, to write in;
                          those that are there already are left as they are
course.py solve FOLDER    copies of notebooks/*.ipynb in FOLDER, every exercise answered
"""

import argparse
import asyncio
import contextlib
import functools
import hashlib
import html
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jupytext
import nbformat
from jinja2 import DictLoader
from joblib import cpu_count
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter

ROOT = Path(__file__).resolve().parent.parent
WIDGET = "application/vnd.jupyter.widget-view+json"
SECONDS_PER_CELL = 3600

# nbconvert's page, with figures' alternative text, lines that are not too long to read and a way on
# and back, and without the scripts that it would fetch: MathJax, RequireJS, Mermaid, widgets.
PAGE = """{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block jupyter_widgets -%}{%- endblock -%}
{%- block html_head_css -%}{{ super() }}<style>
.jp-RenderedMarkdown > :is(p, ul, ol, details) { max-width: 46em; }
nav.course { display: flex; flex-wrap: wrap; gap: 0.5em 2em; padding: 0.5em 1em; }
nav.course { font: 16px system-ui, sans-serif; }
</style>{%- endblock -%}
{%- macro ways() -%}<nav class="course" aria-label="Notebooks">
{%- for words, page in resources.ways -%}
<a href="{{ page }}">{{ words | escape_html }}</a>
{%- endfor -%}
</nav>{%- endmacro -%}
{%- block body_header -%}{{ super() }}{{ ways() }}{%- endblock -%}
{%- block body_footer -%}{{ ways() }}{{ super() }}{%- endblock -%}
{%- block data_png scoped -%}
{%- set alt = output | get_metadata("alt", "image/png") or "" -%}
{{ super() | replace("<img ", '<img alt="' ~ alt | escape_html ~ '" ', 1) if alt else super() }}
{%- endblock -%}
"""


class CourseError(Exception):
    """A notebook could not be run; the message says where and why."""


# --- One notebook --------------------------------------------------------------------------------


def execute(notebook, folder, name, **environment):
    """Execute a notebook from a fresh kernel, in place; ``folder`` is its working directory.

    ``environment`` is what its kernel's variables are beside those of this process.
    """
    started, interrupted = [], []

    def on_cell_start(cell, cell_index):
        started.append(cell)
        # Ctrl-C ends the run in order; nbclient's own handler ends it in the middle of a message.
        loop = asyncio.get_running_loop()
        with contextlib.suppress(NotImplementedError, RuntimeError):  # Windows, other threads
            loop.add_signal_handler(signal.SIGINT, stop, loop)

    def stop(loop):
        interrupted.append(True)
        for task in asyncio.all_tasks(loop):
            task.cancel()

    client = NotebookClient(
        notebook,
        timeout=SECONDS_PER_CELL,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        extra_arguments=["--IPKernelApp.log_level=CRITICAL"],  # its cells speak for themselves
        resources={"metadata": {"path": str(folder)}},
        on_cell_start=on_cell_start,
    )
    try:
        client.execute(env={**os.environ, **environment})
    except (
        CellExecutionError,
        CellTimeoutError,
        DeadKernelError,
        RuntimeError,  # of jupyter_client: the kernel did not start
        asyncio.CancelledError,
    ) as error:
        if interrupted:
            raise KeyboardInterrupt from None
        raise CourseError(_explain(error, notebook, name, started)) from error
    finally:
        clean(notebook)


def _explain(error, notebook, name, started):
    if not started:
        return f"{name}: its kernel did not start: {error}"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    number = next(n for n, cell in enumerate(code, start=1) if cell is started[-1])
    if isinstance(error, CellTimeoutError):
        reason = f"It was stopped after {SECONDS_PER_CELL / 60:.0f} minutes."
    elif isinstance(error, DeadKernelError):
        reason = "Its Python process ended, perhaps for want of memory."
    elif isinstance(error, CellExecutionError):
        reason = f"{error.ename}: {error.evalue}"
    else:
        reason = f"{type(error).__name__}: {error}"
    return f"{name}: code cell {number} failed.\n\n{_indent(started[-1].source)}\n\n{reason}"


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
            cell["outputs"] = _joined(o for o in cell.outputs if o.get("name") != "stderr")
            for output in cell.outputs:
                output.get("data", {}).pop(WIDGET, None)


def _joined(outputs):
    """Outputs with neighbouring streams as one: where a stream is cut is a matter of timing."""
    joined = []
    for output in outputs:
        if joined and output.output_type == joined[-1].output_type == "stream":
            joined[-1]["text"] += output.text
        else:
            joined.append(output)
    return joined


def first_words(notebook):
    """A notebook's title and its first paragraph, from its first cell."""
    lines = notebook.cells[0].source.strip().split("\n\n")
    title = lines[0].lstrip("# ").strip()
    return title, lines[1].replace("\n", " ").strip() if len(lines) > 1 else ""


# --- The whole course ----------------------------------------------------------------------------


FIRST = ("05", "07")
"""The notebooks that train for minutes start first; others find their models."""


def run_at_once(names, processes):
    """Run notebooks in processes of their own, so many at a time, each with one thread.

    Small models use one core better than two threads use two. One process more than there are
    cores keeps these busy while a notebook waits for a model that another one trains.
    """
    order = sorted(names, key=lambda name: (not name.startswith(FIRST), name))
    print(
        f"{len(order)} notebooks, {processes} at a time. On two cores all of them take 15 to 30 "
        "minutes, and those that train, which come first, some 10 of these.",
        flush=True,
    )
    # Whatever the shell says: three processes of two threads each take several times as long.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running, failed, stopped = {}, threading.Event(), threading.Event()

    def one(name):
        if failed.is_set() or stopped.is_set():
            return
        command = [sys.executable, __file__, "run", "--only", name]
        print(f"{name} …", flush=True)
        # Of its own session: Ctrl-C reaches this process alone, which passes it on once.
        child = subprocess.Popen(command, env=environment, start_new_session=True)
        running[name] = child
        if stopped.is_set():
            child.send_signal(signal.SIGINT)
        code = child.wait()
        del running[name]
        if code and not stopped.is_set():
            failed.set()
            if code < 0:
                reason = f"its process was ended by signal {-code}, perhaps for want of memory"
                print(f"\n{name}: {reason}.", file=sys.stderr, flush=True)
            if running:
                print(f"Still running: {', '.join(sorted(running))} …", flush=True)

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ThreadPoolExecutor(processes) as pool:
        try:
            list(pool.map(one, order))
        except KeyboardInterrupt:
            stopped.set()
            for child in list(running.values()):
                child.send_signal(signal.SIGINT)
            raise
        finally:
            signal.signal(signal.SIGTERM, before)
    return not failed.is_set()


def stale(source, build, package, environment):
    """Names of the notebooks that are not up to date."""
    executed = build / "course"
    return [
        path.stem
        for path in sorted(source.glob("*.ipynb"))
        if _is_fresh(executed / path.name, _inputs(path, package, environment)) is None
    ]


def run(source, build, package, environment, told=()):
    """Execute what is not up to date, write pages and index; returns the index's path.

    Of notebooks in ``told`` nothing is printed: they have just run.
    """
    notebooks = sorted(source.glob("*.ipynb"))
    if not notebooks:
        raise CourseError(f"{source}: no notebooks here.")
    executed, pages = build / "course", build / "pages"
    pages.mkdir(parents=True, exist_ok=True)
    entries = []
    for number, path in enumerate(notebooks, start=1):
        if path.stem not in told:
            print(f"[{number}/{len(notebooks)}] {path.stem} … ", end="", flush=True)
        seconds, fresh = run_one(path, build, package, environment)
        if path.stem not in told:
            print(f"{seconds:.0f} s" if fresh else f"up to date ({seconds:.0f} s when it ran)")
        result = nbformat.read(executed / path.name, as_version=4)
        page = pages / f"{path.stem}.html"
        before, after = notebooks[: number - 1][-1:], notebooks[number:][:1]
        ways = [(f"← {_heading(other)}", f"{other.stem}.html") for other in before]
        ways += [(f"{_heading(other)} →", f"{other.stem}.html") for other in after]
        page.write_text(to_html(result, source, ways), encoding="utf-8")
        entries.append((page.name, *first_words(result), seconds))
    index = pages / "index.html"
    index.write_text(index_page(entries, environment), encoding="utf-8")
    return index


def _heading(path):
    return first_words(nbformat.read(path, as_version=4))[0]


def _inputs(path, package, environment):
    root = package.parent
    files = [path, *sorted(package.rglob("*.py")), root / "requirements.lock"]
    files += [*sorted((root / "results").glob("*.json")), *sorted((root / "configs").glob("*"))]
    return fingerprint(files, environment, root / "data" / "phantom")


def _is_fresh(result, inputs):
    """How many seconds a result took that is of these inputs; else None."""
    record = result.with_suffix(".json")
    if record.is_file() and result.is_file():
        with contextlib.suppress(ValueError, KeyError, TypeError):  # cut off: it runs again
            known = json.loads(record.read_text(encoding="utf-8"))
            if known["inputs"] == inputs:
                return float(known["seconds"])
    return None


def run_one(path, build, package, environment):
    """Execute a notebook into ``build`` unless it is up to date: (seconds, whether it ran now)."""
    result = build / "course" / path.name
    result.parent.mkdir(parents=True, exist_ok=True)
    record, inputs = result.with_suffix(".json"), _inputs(path, package, environment)
    if (seconds := _is_fresh(result, inputs)) is not None:
        return seconds, False
    record.unlink(missing_ok=True)
    notebook = nbformat.read(path, as_version=4)
    start = time.perf_counter()
    try:
        with nobodys_progress() as nobodys:
            execute(notebook, path.parent, path.stem, **nobodys)
    except CourseError as error:
        raise CourseError(f"{error}\n\nThe notebook up to there: {result}") from error
    finally:
        nbformat.write(notebook, result)
    seconds = time.perf_counter() - start
    record.write_text(json.dumps({"inputs": inputs, "seconds": seconds}), encoding="utf-8")
    return seconds, True


@contextlib.contextmanager
def nobodys_progress():
    """Variables with which a kernel neither shows nor changes what a learner has done."""
    with tempfile.TemporaryDirectory() as folder:
        yield {"CXR_PROGRESS": str(Path(folder) / "progress.json")}


def fingerprint(paths, environment, phantom):
    """A hash of everything that a notebook's outputs depend on: code, versions, configs, data."""
    digest = hashlib.sha256(environment.encode())
    for path in filter(Path.is_file, paths):
        digest.update(path.name.encode() + path.read_bytes())
    digest.update(_content_of(Path(environment or phantom)))
    return digest.hexdigest()


@functools.cache
def _content_of(folder):
    """A hash of the names, sizes and times of all files in a data folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            about = path.stat()
            digest.update(f"{path} {about.st_size} {about.st_mtime_ns}".encode())
    return digest.digest()


def to_html(notebook, folder, ways=()):
    """One page that needs nothing from the network; ``folder`` is where its images lie.

    ``ways`` [(words, page)] are the links above and below it.
    """
    exporter = HTMLExporter(
        extra_loaders=[DictLoader({"page.html.j2": PAGE})],
        template_file="page.html.j2",
        embed_images=True,
    )
    about = {"path": str(folder), "name": first_words(notebook)[0]}
    resources = {"metadata": about, "ways": [("All notebooks", "index.html"), *ways]}
    return exporter.from_notebook_node(notebook, resources=resources)[0]


def _track(folder):
    if not folder:
        return "the phantom"
    files = {path.name for path in Path(folder).glob("*.*")}
    if "Data_Entry_2017_v2020.csv" in files:
        return f"NIH ChestX-ray14, in {folder}"
    return f"{'a phantom' if 'cohort.json' in files else 'CheXpert'}, in {folder}"


def index_page(entries, environment):
    """The list of pages, with what each is about."""
    rows = "\n".join(
        f'<li><a href="{html.escape(page)}">{html.escape(title)}</a>'
        f"<p>{html.escape(words)}</p><small>{seconds:.0f} s</small></li>"
        for page, title, words, seconds in entries
    )
    track = html.escape(_track(environment))
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


def exercise_in(code):
    """The exercise that a cell checks, or None."""
    from cxrlib.exercises import find  # loads PyTorch, which no other command here needs

    asked = re.search(r"^exercises\.check\((\w+)\)", code, re.MULTILINE)
    return find(asked[1]) if asked else None


def write_stubs(script):
    """Write every exercise of a percent script anew, as its solution asks for it."""
    cells = re.split(r"(?m)^(?=# %%)", script.read_text(encoding="utf-8"))
    for number, cell in enumerate(cells):
        if (exercise := exercise_in(cell)) is not None:
            marker, space = cell.partition("\n")[0], cell[len(cell.rstrip()) :]
            cells[number] = f"{marker}\n{exercise.cell()}{space}"
    script.write_text("".join(cells), encoding="utf-8")


def copy(source, folder):
    """Copies of the notebooks for a learner: no outputs, so that a guess comes before its answer.

    What the learner has written is never overwritten; a copy that was removed is made anew.
    """
    for path in sorted(source.glob("*.ipynb")):
        if not (folder / path.name).exists():
            notebook = nbformat.read(path, as_version=4)
            for cell in notebook.cells:
                _empty(cell)
            _write_copy(notebook, folder / path.name)


def solve(source, folder):
    """Copies of the notebooks with every exercise answered: for teachers, and to be tested."""
    paths = sorted(source.glob("*.ipynb"))
    if there := [path.name for path in paths if (folder / path.name).exists()]:
        raise CourseError(
            f"{folder / there[0]} is there already, and somebody may have written in it. "
            "Name another folder, or remove it."
        )
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code" and (exercise := exercise_in(cell.source)) is not None:
                cell["source"] = exercise.cell(solved=True)
                _empty(cell)
        _write_copy(notebook, folder / path.name)
    print(f"{folder}: {len(paths)} notebooks, answered")


def _empty(cell):
    if cell.cell_type == "code":
        cell["outputs"], cell["execution_count"] = [], None


def _write_copy(notebook, path):
    """A whole copy or none, which is not paired with the authors' scripts."""
    from ipykernel.ipkernel import IPythonKernel

    notebook.metadata.pop("jupytext", None)
    # JupyterLab would write this on opening, and call a copy unsaved that nobody has touched.
    notebook.metadata["language_info"] = dict(IPythonKernel.language_info)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    nbformat.write(notebook, partial)
    partial.replace(path)


def author(source, names):
    """Execute scripts and write the notebooks that are committed."""
    scripts = sorted((source / "scripts").glob("*.py"))
    chosen = [path for path in scripts if not names or any(path.name.startswith(n) for n in names)]
    if not chosen:
        wanted = " or ".join(names) or "anything"
        raise CourseError(f"{source / 'scripts'}: no script whose name starts with {wanted}.")
    for path in chosen:
        print(f"{path.stem} … ", end="", flush=True)
        start = time.perf_counter()
        try:
            write_stubs(path)
        except KeyError as error:
            raise CourseError(f"{path}: {error.args[0]}") from error
        notebook = jupytext.read(path)
        try:
            with nobodys_progress() as nobodys:  # CXR_AUTHOR: figures must be whole (plots.show)
                execute(notebook, source, path.stem, CXR_AUTHOR="1", **nobodys)
        except CourseError as error:
            failed = source.parent / "build" / "failed" / f"{path.stem}.ipynb"
            failed.parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(notebook, failed)
            raise CourseError(f"{error}\n\nThe notebook up to there: {failed}") from error
        # Which files belong together, so that saving the notebook leaves its script's header.
        formats = notebook.metadata.pop("jupytext", {}).get("formats")
        if formats:
            notebook.metadata["jupytext"] = {"formats": formats}
        nbformat.validate(notebook)
        nbformat.write(notebook, source / f"{path.stem}.ipynb")
        print(f"{time.perf_counter() - start:.0f} s")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("--only", help=argparse.SUPPRESS)  # what ``run_at_once`` calls
    running.add_argument("--processes", type=int, default=min(4, cpu_count() + 1))
    commands.add_parser("author").add_argument("names", nargs="*")
    for name in ("copy", "solve"):
        commands.add_parser(name).add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    try:
        if options.command == "author":
            author(ROOT / "notebooks", options.names)
            return 0
        if options.command in ("copy", "solve"):
            {"copy": copy, "solve": solve}[options.command](ROOT / "notebooks", options.folder)
            return 0
        data = os.environ.get("CXR_DATA", "")
        if data:  # the kernels run in notebooks/, so a relative path must become absolute
            data = os.environ["CXR_DATA"] = os.path.abspath(data)
            if not os.path.isdir(data):
                raise CourseError(f"CXR_DATA={data}: no such folder.")
        place = ROOT / "notebooks", ROOT / "build", ROOT / "cxrlib", data
        if options.only:
            path = place[0] / f"{options.only}.ipynb"
            print(f"{path.stem}: {run_one(path, *place[1:])[0]:.0f} s", flush=True)
            return 0
        waiting = stale(*place)
        processes = min(options.processes, len(waiting))
        if processes > 1 and not run_at_once(waiting, processes):
            return 1
        index = run(*place, told=waiting if processes > 1 else ())
    except CourseError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if not getattr(options, "only", None):
            print("\nInterrupted. What is done is kept: the same command goes on from here.")
        return 130
    print(f"\nThe pages to read: {index.as_uri()}\nTo try things yourself: make lab")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""tools/course.py, on notebooks of a few cells."""

import gc
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import course
import nbformat
import pytest

from cxrlib.exercises import find


@pytest.fixture
def place(tmp_path):
    """A folder of notebooks, a package folder and a build folder."""
    for name in ("notebooks", "package"):
        (tmp_path / name).mkdir()
    (tmp_path / "package" / "module.py").write_text("x = 1\n")
    return tmp_path


@pytest.fixture(autouse=True)
def own_progress(tmp_path, monkeypatch):
    """Exercises that are solved here are not the learner's."""
    monkeypatch.setenv("CXR_PROGRESS", str(tmp_path / "progress.json"))


def write(folder, name, *sources, title="# 00 · A title\n\nWhat it is about."):
    cells = [nbformat.v4.new_markdown_cell(title)]
    cells += [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / f"{name}.ipynb")


def run(place, environment=""):
    return course.run(place / "notebooks", place / "build", place / "package", environment)


def test_runs_in_order_writes_pages_and_skips_what_is_up_to_date(place, capsys):
    notebooks = place / "notebooks"
    write(notebooks, "01_second", "import sys\nprint('bar', file=sys.stderr)\nprint('two')")
    write(notebooks, "00_first", "1 + 1")
    before = (notebooks / "00_first.ipynb").read_bytes()

    index = run(place)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" …")[0] for line in lines] == ["[1/2] 00_first", "[2/2] 01_second"]
    assert index.read_text().index("00_first.html") < index.read_text().index("01_second.html")
    assert "What it is about." in index.read_text()
    assert (notebooks / "00_first.ipynb").read_bytes() == before, "the source is not touched"

    first, page = ((place / f"build/pages/{n}.html").read_text() for n in ("00_first", "01_second"))
    assert first.count('<a href="01_second.html">00 · A title →</a>') == 2, "above and below"
    assert page.count('<a href="00_first.html">← 00 · A title</a>') == 2
    assert page.count('<a href="index.html">All notebooks</a>') == 2
    assert "two" in page
    assert "bar</pre>" not in page
    result = nbformat.read(place / "build/course/01_second.ipynb", as_version=4)
    assert [output.name for output in result.cells[1].outputs] == ["stdout"]

    run(place)
    assert capsys.readouterr().out.count("up to date") == 2

    write(notebooks, "00_first", "2 + 2")
    run(place)
    assert capsys.readouterr().out.count("up to date") == 1
    (notebooks / "01_second.ipynb").unlink()
    run(place, environment="/other/data")
    assert capsys.readouterr().out.count("up to date") == 0
    for changed in (
        "package/module.py",
        "configs/a.yaml",
        "requirements.lock",
        "data/phantom/a.jpg",
    ):
        (place / changed).parent.mkdir(parents=True, exist_ok=True)
        (place / changed).write_text("x = 2\n")
        course._content_of.cache_clear()
        run(place)
        assert capsys.readouterr().out.count("up to date") == 0, changed


FETCHED = re.compile(
    r"""<(?:script|img|iframe|link)[^>]*\s(?:src|href)\s*=\s*["']?(?:https?:)?//"""
    r"""|\burl\(\s*["']?(?:https?:)?//|@import|\bimport\(|<script[^>]*\ssrc""",
)


def test_pages_fetch_nothing(place, capfd):
    (place / "notebooks" / "dot.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"></svg>')
    widget = "{'text/plain': 'a control', 'image/png': 'iVBORw0KGgo=', course_widget: {}}"
    write(
        place / "notebooks",
        "00_first",
        f"course_widget = {course.WIDGET!r}\n"
        f"from IPython.display import display\n"
        f"display({widget}, raw=True, metadata={{'image/png': {{'alt': 'A dot.'}}}})",
        title="# 00 · A title\n\nA formula, $x^2$, a [link](https://example.org), ![dot](dot.svg).",
    )
    index = run(place)
    assert not capfd.readouterr().err
    pages = sorted(index.parent.glob("*.html"))
    assert [page.name for page in pages] == ["00_first.html", "index.html"]
    for page in pages:
        found = FETCHED.search(page.read_text(encoding="utf-8"))
        assert not found, f"{page.name}: {found[0]}"
    page = pages[0].read_text(encoding="utf-8")
    assert "<title>00 · A title</title>" in page
    assert "A formula, $x^2$" in page, "readable as it stands"
    assert 'src="data:image/svg+xml' in page, "images are part of the page"
    assert 'alt="A dot."' in page, "in place of a live control, its picture"
    assert 'href="index.html"' in page


@pytest.mark.parametrize(
    "fetching",
    [
        '<script src="https://example.org/x.js"></script>',
        "<img alt='' src='//example.org/x.png'>",
        "<style>@font-face { src: url(https://example.org/x.woff) }</style>",
        '<script type="module">await import("https://example.org/x.mjs")</script>',
    ],
)
def test_the_search_for_fetches_finds_them(fetching):
    assert FETCHED.search(fetching)


def test_a_failing_cell_is_named_and_nothing_counts_as_done(place, monkeypatch, capsys):
    write(place / "notebooks", "00_first", "fine = 1", "value = {}\nvalue['missing']")
    with pytest.raises(course.CourseError) as caught:
        run(place)
    message = str(caught.value)
    assert "00_first: code cell 2 failed" in message
    assert "value['missing']" in message
    assert "KeyError: 'missing'" in message
    assert "\x1b[" not in message
    kept = place / "build/course/00_first.ipynb"
    assert str(kept) in message
    assert nbformat.read(kept, as_version=4).cells[2].outputs[0].ename == "KeyError"
    assert not (place / "build/course/00_first.json").exists()

    monkeypatch.setattr(course, "ROOT", place)
    assert course.main(["run"]) == 1
    assert "cell 2 failed" in capsys.readouterr().err


def test_a_kernel_that_ends_and_a_cell_that_takes_too_long(place, monkeypatch):
    write(place / "notebooks", "00_first", "fine = 1", "import os\nos._exit(1)")
    with pytest.raises(course.CourseError, match="code cell 2 failed(?s:.)*process ended"):
        run(place)
    monkeypatch.setattr(course, "SECONDS_PER_CELL", 1)
    write(place / "notebooks", "00_first", "import time\ntime.sleep(60)")
    with pytest.raises(course.CourseError, match="code cell 1 failed(?s:.)*stopped after"):
        run(place)


def test_ctrl_c_ends_the_run(place, monkeypatch, capsys, caplog):
    write(place / "notebooks", "00_first", "fine = 1")
    write(
        place / "notebooks",
        "01_second",
        "import os, signal, time\nos.kill(os.getppid(), signal.SIGINT)\ntime.sleep(60)",
    )
    monkeypatch.setattr(course, "ROOT", place)
    assert course.main(["run", "--processes", "1"]) == 130
    assert "Interrupted" in capsys.readouterr().out
    assert (place / "build/course/00_first.json").is_file()
    assert not (place / "build/course/01_second.json").exists()
    gc.collect()
    assert not caplog.records, "asyncio reports here what was left unfinished"


def as_command(place):
    """The tool as a command of its own, for a course in ``place``."""
    tool = place / "tools" / "course.py"
    tool.parent.mkdir()
    tool.write_text(Path(course.__file__).read_text(encoding="utf-8"), encoding="utf-8")
    (place / "cxrlib").mkdir(exist_ok=True)
    return [sys.executable, str(tool)]


def test_several_run_at_once_and_pages_are_in_order(place):
    """Each waits for a file that the other writes, so that neither could run alone."""
    notebooks = place / "notebooks"
    wait = (
        "import os, time\nopen('{}', 'w').close()\nwhile not os.path.exists('{}'): time.sleep(0.05)"
    )
    write(notebooks, "00_first", wait.format("a", "b"), "print(os.environ['OMP_NUM_THREADS'])")
    write(notebooks, "05_second", wait.format("b", "a"), title="# 05 · Second\n\nThe other.")
    command = [*as_command(place), "run", "--processes", "2"]
    shell = environment() | {"OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, capture_output=True, text=True, env=shell)
    assert done.returncode == 0, done.stderr
    assert "2 notebooks, 2 at a time" in done.stdout
    for name in ("00_first", "05_second"):  # said when it starts, and when it has run; once
        assert re.search(rf"^{name} …$", done.stdout, re.MULTILINE)
        assert re.search(rf"^{name}: \d+ s$", done.stdout, re.MULTILINE)
    assert "up to date" not in done.stdout
    again = subprocess.run(command, capture_output=True, text=True, env=shell)
    assert "[1/2] 00_first … up to date" in again.stdout
    index = (place / "build/pages/index.html").read_text(encoding="utf-8")
    assert index.index("00_first.html") < index.index("05_second.html")
    result = nbformat.read(place / "build/course/00_first.ipynb", as_version=4)
    assert result.cells[2].outputs[0].text.strip() == "1"

    again = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert again.stdout.count("up to date") == 2 and "at a time" not in again.stdout


def test_a_failure_beside_others_is_named_and_ends_the_run(place):
    write(place / "notebooks", "00_first", "fine = 1")
    write(place / "notebooks", "01_second", "1 / 0")
    command = [*as_command(place), "run", "--processes", "2"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert done.returncode == 1
    assert "01_second: code cell 1 failed" in done.stderr and "Traceback" not in done.stderr
    assert not (place / "build/pages/index.html").exists()


def test_ctrl_c_ends_all_that_run_at_once(place):
    """Sent to the command alone, as an editor's stop button does, while both are in a cell."""
    for name in ("00_first", "01_second"):
        write(
            place / "notebooks", name, f"open('{name}', 'w').close()\nimport time\ntime.sleep(90)"
        )
    command = [*as_command(place), "run", "--processes", "2"]
    tool = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )
    for name in ("00_first", "01_second"):
        while not (place / "notebooks" / name).exists():
            assert tool.poll() is None
            time.sleep(0.1)
    tool.send_signal(signal.SIGINT)
    said, trouble = tool.communicate(timeout=30)
    assert tool.returncode == 130 and said.count("Interrupted. What is done is kept") == 1
    assert "Traceback" not in trouble
    assert not list((place / "build" / "course").glob("*.json"))


def test_a_process_that_is_killed_is_named(place):
    kill = "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)"
    write(place / "notebooks", "00_first", kill)
    write(place / "notebooks", "01_second", "fine = 1")
    command = [*as_command(place), "run", "--processes", "2"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert done.returncode == 1
    assert "00_first: its process was ended by signal 9, perhaps for want of memory" in done.stderr


def test_a_record_that_is_cut_off_counts_as_none(place, capsys):
    write(place / "notebooks", "00_first", "fine = 1")
    run(place)
    (place / "build" / "course" / "00_first.json").write_text('{"inputs": "a')
    run(place)
    assert "up to date" not in capsys.readouterr().out


def test_pages_show_nobodys_progress(place, monkeypatch, tmp_path):
    monkeypatch.setenv("CXR_PROGRESS", str(tmp_path / "my own.json"))
    write(place / "notebooks", "00_first", "import os\nprint(os.environ['CXR_PROGRESS'])")
    run(place)
    result = nbformat.read(place / "build/course/00_first.ipynb", as_version=4)
    assert "my own" not in result.cells[1].outputs[0].text


def environment():
    return {name: value for name, value in os.environ.items() if name != "CXR_DATA"}


def test_a_relative_data_folder_becomes_absolute(place, monkeypatch, capsys):
    (place / "mine").mkdir()
    monkeypatch.setattr(course, "ROOT", place)
    monkeypatch.chdir(place)
    monkeypatch.setenv("CXR_DATA", "mine")
    (place / "cxrlib").mkdir()
    (place / "mine" / "Data_Entry_2017_v2020.csv").touch()
    write(place / "notebooks", "00_first", "import os\nprint(os.environ['CXR_DATA'], os.getcwd())")
    assert course.main(["run"]) == 0
    result = nbformat.read(place / "build/course/00_first.ipynb", as_version=4)
    assert result.cells[1].outputs[0].text.split() == [f"{place}/mine", f"{place}/notebooks"]
    index = place / "build/pages/index.html"
    assert f"NIH ChestX-ray14, in {place}/mine" in index.read_text(encoding="utf-8")
    assert index.as_uri() in capsys.readouterr().out

    monkeypatch.setenv("CXR_DATA", "elsewhere")
    assert course.main(["run"]) == 1
    assert "elsewhere: no such folder" in capsys.readouterr().err


def test_authoring_writes_clean_notebooks(place, capsys):
    scripts = place / "notebooks" / "scripts"
    scripts.mkdir()
    (scripts / "00_a.py").write_text(
        "# %% [markdown]\n# # 00 · A\n\n# %%\nimport sys\nprint('bar', file=sys.stderr)\n6 * 7\n"
        "# %%\nprint('a', flush=True)\nprint('bar', file=sys.stderr, flush=True)\nprint('b')\n"
    )
    (scripts / "01_b.py").write_text("# %%\n1\n")
    course.author(place / "notebooks", ["00"])
    written = place / "notebooks" / "00_a.ipynb"
    first = written.read_bytes()
    content = json.loads(first)
    code = content["cells"][1]
    assert code["execution_count"] == 1
    assert [output["output_type"] for output in code["outputs"]] == ["execute_result"]
    assert [output["text"] for output in content["cells"][2]["outputs"]] == [["a\n", "b\n"]]
    assert content["metadata"]["language_info"] == {"name": "python"}
    assert first.endswith(b"}\n")
    assert not (place / "notebooks" / "01_b.ipynb").exists()

    course.author(place / "notebooks", ["00"])
    assert written.read_bytes() == first, "running again changes nothing"
    with pytest.raises(course.CourseError, match="no script"):
        course.author(place / "notebooks", ["99"])


def test_authoring_tells_the_kernel_alone_that_it_writes(place):
    scripts = place / "notebooks" / "scripts"
    scripts.mkdir()
    (scripts / "00_a.py").write_text(
        "# %%\nimport os\nos.environ['CXR_AUTHOR'], len(os.environ['CXR_PROGRESS']) > 0\n"
    )
    before = dict(os.environ)
    course.author(place / "notebooks", [])
    assert dict(os.environ) == before
    cell = nbformat.read(place / "notebooks" / "00_a.ipynb", as_version=4).cells[0]
    assert cell.outputs[0]["data"]["text/plain"] == "('1', True)"


def test_exercises_are_written_from_their_solutions_and_solved(place, capsys):
    """In the script, in the notebook, and answered in the copies; again and again the same."""
    scripts = place / "notebooks" / "scripts"
    scripts.mkdir()
    imports = "import numpy as np\n\nfrom cxrlib import exercises\n"
    text = f"# %%\n{imports}\n\n# %%\nexercises.check(edge_penalty)\n\n# %%\n1 + 1\n"
    (scripts / "04_a.py").write_text(text)
    course.author(place / "notebooks", [])
    (scripts / "05_b.py").write_text("# %%\nexercises.check(nobody_asks_this)\n")
    with pytest.raises(course.CourseError, match="05_b.py: No exercise is called 'nobody_asks_th"):
        course.author(place / "notebooks", ["05"])
    (scripts / "05_b.py").unlink()
    written = (scripts / "04_a.py").read_text()
    stub = find("edge_penalty").cell()
    assert written == text.replace("exercises.check(edge_penalty)", stub)
    cells = nbformat.read(place / "notebooks" / "04_a.ipynb", as_version=4).cells
    assert cells[1].source == stub and cells[1].outputs[0].text.startswith("○ Not tried yet")

    course.author(place / "notebooks", [])
    assert (scripts / "04_a.py").read_text() == written
    course.solve(place / "notebooks", place / "answered")
    solved = nbformat.read(place / "answered" / "04_a.ipynb", as_version=4)
    assert solved.cells[1].outputs == [] and "jupytext" not in solved.metadata
    assert "return 1 - children[parents == 0].mean()" in solved.cells[1].source
    assert "..." not in solved.cells[1].source
    course.execute(solved, place, "04_a")
    assert solved.cells[1].outputs[0].text.startswith("✓ Right")
    for folder in (place / "answered", place / "notebooks"):
        before = (folder / "04_a.ipynb").read_bytes()
        with pytest.raises(course.CourseError, match="is there already"):
            course.solve(place / "notebooks", folder)
        assert (folder / "04_a.ipynb").read_bytes() == before


def test_a_learners_copies_have_no_outputs_and_are_never_overwritten(place):
    write(place / "notebooks", "00_first", "1 + 1")
    write(place / "notebooks", "01_second", "2 + 2")
    stored = nbformat.read(place / "notebooks" / "00_first.ipynb", as_version=4)
    stored.cells[1]["outputs"] = [nbformat.v4.new_output("stream", text="two")]
    stored.metadata["jupytext"] = {"formats": "ipynb,py"}
    nbformat.write(stored, place / "notebooks" / "00_first.ipynb")

    course.copy(place / "notebooks", place / "mine")
    own = nbformat.read(place / "mine" / "00_first.ipynb", as_version=4)
    assert own.cells[1].source == "1 + 1" and own.cells[1].outputs == []
    assert "jupytext" not in own.metadata
    own.cells[1]["source"] = "my answer"
    nbformat.write(own, place / "mine" / "00_first.ipynb")
    (place / "mine" / "01_second.ipynb").unlink()
    course.copy(place / "notebooks", place / "mine")
    again = nbformat.read(place / "mine" / "00_first.ipynb", as_version=4)
    assert again.cells[1].source == "my answer"
    assert (place / "mine" / "01_second.ipynb").is_file()


def test_a_script_that_fails_leaves_the_committed_notebook(place):
    scripts = place / "notebooks" / "scripts"
    scripts.mkdir()
    (scripts / "00_a.py").write_text("# %%\n1 / 0\n")
    write(place / "notebooks", "00_a", "1")
    before = (place / "notebooks" / "00_a.ipynb").read_bytes()
    with pytest.raises(course.CourseError, match="ZeroDivisionError"):
        course.author(place / "notebooks", [])
    assert (place / "notebooks" / "00_a.ipynb").read_bytes() == before
    assert (place / "build/failed/00_a.ipynb").is_file()


def test_no_notebooks(place):
    with pytest.raises(course.CourseError, match="no notebooks"):
        run(place)

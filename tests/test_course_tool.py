import json
import re

import course
import nbformat
import pytest


@pytest.fixture
def place(tmp_path):
    """A folder of notebooks, a package folder and a build folder."""
    for name in ("notebooks", "package"):
        (tmp_path / name).mkdir()
    (tmp_path / "package" / "module.py").write_text("x = 1\n")
    return tmp_path


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

    page = (place / "build/pages/01_second.html").read_text()
    assert "two" in page
    assert "bar</pre>" not in page
    result = nbformat.read(place / "build/course/01_second.ipynb", as_version=4)
    assert [output.name for output in result.cells[1].outputs] == ["stdout"]

    run(place)
    assert capsys.readouterr().out.count("up to date") == 2

    write(notebooks, "00_first", "2 + 2")
    run(place)
    assert capsys.readouterr().out.count("up to date") == 1
    run(place, environment="/other/data")
    assert capsys.readouterr().out.count("up to date") == 0
    (place / "package" / "module.py").write_text("x = 2\n")
    run(place, environment="/other/data")
    assert capsys.readouterr().out.count("up to date") == 0


def test_pages_fetch_nothing(place):
    write(place / "notebooks", "00_first", "1")
    index = run(place)
    for page in index.parent.glob("*.html"):
        text = page.read_text()
        fetched = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(https?:)?//[^"]*"', text)
        assert not fetched
        assert not re.findall(r'import .{0,40}from ["\']https?:', text)


def test_a_failing_cell_is_named_and_nothing_counts_as_done(place, monkeypatch, capsys):
    write(place / "notebooks", "00_first", "fine = 1", "value = {}\nvalue['missing']")
    with pytest.raises(course.CourseError) as caught:
        run(place)
    message = str(caught.value)
    assert "00_first: cell 2 failed" in message
    assert "value['missing']" in message
    assert "KeyError" in message
    assert (place / "build/course/00_first.ipynb").is_file(), "kept to look at"
    assert not (place / "build/course/00_first.json").exists()

    monkeypatch.setattr(course, "ROOT", place)
    assert course.main(["run"]) == 1
    assert "cell 2 failed" in capsys.readouterr().err


def test_authoring_writes_clean_notebooks(place, capsys):
    scripts = place / "notebooks" / "scripts"
    scripts.mkdir()
    (scripts / "00_a.py").write_text(
        "# %% [markdown]\n# # 00 · A\n\n# %%\nimport sys\nprint('bar', file=sys.stderr)\n6 * 7\n"
    )
    (scripts / "01_b.py").write_text("# %%\n1\n")
    course.author(place / "notebooks", ["00"])
    written = place / "notebooks" / "00_a.ipynb"
    first = written.read_bytes()
    content = json.loads(first)
    code = content["cells"][1]
    assert code["execution_count"] == 1
    assert [output["output_type"] for output in code["outputs"]] == ["execute_result"]
    assert content["metadata"]["language_info"] == {"name": "python"}
    assert not (place / "notebooks" / "01_b.ipynb").exists()

    course.author(place / "notebooks", ["00"])
    assert written.read_bytes() == first, "running again changes nothing"
    with pytest.raises(course.CourseError, match="no script"):
        course.author(place / "notebooks", ["99"])


def test_no_notebooks(place):
    with pytest.raises(course.CourseError, match="no notebooks"):
        run(place)

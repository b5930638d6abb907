"""The site: notebooks as pages, links that lead somewhere, nothing fetched, nothing broken."""

import base64
import io
import json
import re
import sys
from pathlib import Path

import make_site
import nbformat
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs" / "_ext"))

import course_site  # noqa: E402

# Of Sphinx, for the extensions of others.
pytestmark = pytest.mark.filterwarnings(r"ignore:.* is deprecated\. Check CHANGES")

EXERCISE = """# Exercise 11.1: A window on twelve bits (5 minutes)
def through_window(levels, centre, width, low_is_white):
    ...  # your code


exercises.check(through_window)
# exercises.hint("through_window")"""


def figure(grey, words):
    """A figure as a notebook keeps it."""
    file = io.BytesIO()
    Image.new("L", (4, 3), grey).save(file, "PNG")
    data = {"image/png": base64.b64encode(file.getvalue()).decode(), "text/plain": "[figure]"}
    return nbformat.v4.new_output("display_data", data, metadata={"image/png": {"alt": words}})


def small_notebook():
    """A title, two figures of one cell, a guess, an exercise, what was guessed, a link."""
    markdown, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    cells = [
        markdown("# 11 · Small\n\nSee `docs/reading.md`, $p_a \\le 1$ and `data.load_image`."),
        code("show()", outputs=[figure(0, "A black film."), figure(255, 'A "white" film.')]),
        code('exercises.guess("11.1")', outputs=[nbformat.v4.new_output("stream", text="…")]),
        code(EXERCISE, outputs=[nbformat.v4.new_output("stream", text="○ Not tried yet")]),
        markdown("And your guesses: mark those that surprised you."),
        code('exercises.surprises("11")'),
        markdown("The end: [data](../data/README.md#get-it), [licence](../LICENSE)."),
    ]
    return nbformat.v4.new_notebook(cells=cells, metadata={"language_info": {"name": "python"}})


@pytest.fixture
def course(tmp_path):
    """A course of one notebook and three documents."""
    root = tmp_path / "course"
    for folder in ("docs", "notebooks", "data"):
        (root / folder).mkdir(parents=True)
    nbformat.write(small_notebook(), root / "notebooks" / "11_small.ipynb")
    (root / "LICENSE").write_text("Free.\n")
    Image.new("L", (4, 3)).save(root / "docs" / "room.png")
    (root / "data" / "README.md").write_text(
        "# Data\n\n## Get it\n\nBack to [all](../README.md).\n"
    )
    (root / "docs" / "reading.md").write_text("# Reading\n\n[Small](../notebooks/11_small.ipynb)\n")
    (root / "docs" / "index.md").write_text(
        "# Course\n\n![A room.](room.png)\n\n```{toctree}\nnotebooks/11_small\nreading\ndata\n```\n"
    )
    return root


# --- Notebooks -------------------------------------------------------------------------------


def test_guesses_go_and_exercises_become_text():
    made = make_site.for_reading(json.loads(nbformat.writes(small_notebook())))
    text = "\n".join(make_site._text(cell) for cell in made["cells"])
    assert [cell["cell_type"] for cell in made["cells"]] == ["markdown", "code"] + ["markdown"] * 2
    assert "exercises.guess" not in text and "your guesses" not in text
    assert '<details class="exercise" id="exercise-11-1">' in text
    assert "<summary>Exercise 11.1: A window on twelve bits (5 minutes)</summary>" in text
    for title in ("A hint", "A plainer hint", "One solution"):
        assert text.count(f"<summary>{title}</summary>") == 1
    assert "np.clip" in text and "Not tried yet" not in text


def test_a_title_is_text_and_no_markup():
    made = make_site.collapsed_exercise("# Exercise 1.2: a < b\n...", ("one",), "solved")
    assert "a &lt; b" in made and 'id="exercise-1-2"' in made
    assert made.count("<details") == made.count("</details>") == 3


def test_every_figure_has_its_own_words():
    found = course_site.alternatives(json.loads(nbformat.writes(small_notebook())))
    assert sorted(found.values()) == ['A "white" film.', "A black film."]


# --- Links -----------------------------------------------------------------------------------


def test_links_lead_to_pages_and_names_of_pages_become_links(course, tmp_path):
    known = make_site.pages(course)
    source = tmp_path / "source"

    def linked(text, path="docs/index.md"):
        return make_site.linked(text, path, course, source, known)

    assert linked("[a](../notebooks/11_small.ipynb)") == "[a](notebooks/11_small.ipynb)"
    assert linked("see `data/README.md`") == "see [`data/README.md`](data.md)"
    assert linked("[`data/README.md`](../data/README.md)") == "[`data/README.md`](data.md)"
    assert linked("[a](../data/README.md#get-it)", "notebooks/11_small.ipynb") == (
        "[a](../data.md#get-it)"
    )
    assert linked("[a](../README.md)", "data/README.md") == "[a](index.md)"
    same = "[a](https://example.org/x.md) [b](#here) `[c](gone.md)`\n\n```\n[d](gone.md)\n```\n"
    assert linked(same) == same
    assert linked("[a](../LICENSE)") == "[a](files/LICENSE)"
    assert (source / "files" / "LICENSE").read_text() == "Free.\n"


@pytest.mark.parametrize("target", ["gone.md", "../../elsewhere.md", "../data"])
def test_a_link_to_nothing_is_refused(course, tmp_path, target):
    known = make_site.pages(course)
    with pytest.raises(make_site.SiteError, match=r"docs/index\.md: the link .* leads nowhere"):
        make_site.linked(f"[a]({target})", "docs/index.md", course, tmp_path, known)


def test_the_checker_finds_what_is_broken_and_what_is_fetched(tmp_path):
    (tmp_path / "a.css").write_text("@font-face { src: url(https://example.org/f.woff2) }")
    (tmp_path / "b.html").write_text('<h1 id="top">B</h1>')
    (tmp_path / "a.html").write_text(
        '<a href="b.html#top"></a><a href="https://example.org"></a><a href="#"></a>'
        '<a href="c.html"></a><a href="b.html#no"></a><script src="https://example.org/x.js">'
        '</script><img src="data:image/png;base64,x"><link href="//example.org/y.css">'
    )
    count, wrong = make_site.check_links(tmp_path)
    assert count == 8
    assert wrong == [
        "a.html: c.html leads to no file.",
        "a.html: b.html#no leads to no place on that page.",
        "a.html: https://example.org/x.js would be fetched from elsewhere.",
        "a.html: //example.org/y.css would be fetched from elsewhere.",
        "a.html: data:image/png;base64,x has no alternative text.",
        "a.css: https://example.org/f.woff2 would be fetched from elsewhere.",
    ]


# --- Formulas and docstrings -----------------------------------------------------------------


def test_formulas_are_spaced_as_tex_would():
    made = course_site.mathml(r"a = -y \log p, \max_{j} \log(z), \overline{p}", "block")
    assert '<mo form="prefix">−</mo>' in made
    assert '<mo lspace="0.167em" rspace="0.167em">log</mo><mi>p</mi>' in made
    assert '<mo lspace="0.167em" rspace="0em">log</mo>' in made
    assert "<munder><mo" in made and '<mrow class="over"><mrow><mi>p</mi></mrow></mrow>' in made
    assert "<msub>" in course_site.mathml(r"\max_{j} z", "inline")


def test_a_formula_is_cut_where_it_may_wrap():
    assert course_site.parts_of(r"a = b, \qquad c = {d \qquad e}") == [
        "a = b, ",
        r"c = {d \qquad e}",
    ]
    cases = r"\begin{cases} a \qquad b \end{cases}"
    assert course_site.parts_of(cases) == [cases]


def test_sections_of_a_docstring_become_fields():
    made = course_site.converted(
        "One line, |a| and `b`.\n\n    as it\n      stands\n\nParameters\n----------\n"
        "labels, edges : names; of\n    two lines.\nother : one.\n\nReturns\n-------\n"
        "A table,\nof two lines.\n\nRaises\n------\nValueError\n    Where it is wrong.\n\n"
        "Examples\n--------\n>>> 1\n1"
    )
    assert r"\|a\| and ``b``" in made and "::\n\n    as it\n      stands" in made
    listed = "    - **labels, edges** – names; of\n      two lines.\n    - **other** – one."
    assert f":Parameters:\n{listed}" in made
    assert ":Returns:\n    A table,\n    of two lines." in made
    assert ":raises ValueError: Where it is wrong." in made and ".. rubric:: Examples" in made
    assert course_site.is_rst(made)


def test_what_is_returned_in_parts_becomes_a_list():
    made = course_site.converted("It.\n\nReturns\n-------\na : one,\n    and on.\nb : two.")
    assert ":Returns:\n    - **a** – one,\n      and on.\n    - **b** – two." in made
    assert course_site.is_rst(made)


@pytest.mark.parametrize("text", ["*args of name_", "``open", "|gone|", ".. nothing:: of it"])
def test_a_docstring_that_is_no_markup_is_shown_as_it_is(text):
    lines = [text, "", "  indented *so"]
    course_site.as_rst(None, "function", "f", None, None, lines)
    assert course_site.is_rst("\n".join(lines))


def test_names_are_known_from_where_they_stand():
    class Entry:
        objtype = "class"

    objects = dict.fromkeys(["cxrlib.data.Track", "cxrlib.data.open_track"], Entry)
    assert course_site.known("data.open_track()", [], objects) == "cxrlib.data.open_track"
    assert course_site.known("open_track", ["cxrlib.data"], objects) == "cxrlib.data.open_track"
    assert course_site.known("Track", ["cxrlib.check"], objects) == "cxrlib.data.Track"
    for text, scopes in (("open_track", []), ("data.gone", ["cxrlib"]), ("a b", ["cxrlib"])):
        assert course_site.known(text, scopes, objects) is None


# --- The reference ---------------------------------------------------------------------------


def test_the_reference_has_what_packages_hand_on_and_no_solutions():
    found = {module.name: module for module in make_site.modules_of("cxrlib", ROOT / "cxrlib")}
    assert {"cxrlib.losses", "cxrlib.data", "cxrlib.phantom.rays"} <= set(found)
    assert not any(re.search(r"\.nb\d|\._", name) for name in found)
    assert found["cxrlib.data"].names["open_track"] == "cxrlib.data.tracks"
    assert "AUGMENTATIONS" not in found["cxrlib.training"].names  # it is data's
    assert not [name for module in found.values() for name in module.names if name[0] == "_"]


# --- Pages -----------------------------------------------------------------------------------


def test_the_front_page_names_every_notebook_by_its_title():
    front = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    listed = re.findall(r"^- \[(.+)\]\(\.\./notebooks/(.+)\)$", front, re.MULTILINE)
    titles = []
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        first = make_site._text(json.loads(path.read_text(encoding="utf-8"))["cells"][0])
        titles.append((first.splitlines()[0].removeprefix("# "), path.name))
    assert listed == titles


def test_every_link_of_the_course_leads_somewhere(tmp_path):
    make_site.lay_out(ROOT, tmp_path)
    assert len(list(tmp_path.glob("notebooks/*.ipynb"))) == len(
        list((ROOT / "notebooks").glob("*.ipynb"))
    )


def test_a_small_site_is_whole(course, tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    make_site.lay_out(course, source)
    make_site.build(source, ROOT / "docs", out, tmp_path / "doctrees")
    count, wrong = make_site.check_links(out)
    assert count > 50 and not wrong
    page = (out / "notebooks" / "11_small.html").read_text(encoding="utf-8")
    assert 'alt="A black film."' in page and 'alt="A &quot;white&quot; film."' in page
    assert "<math" in page and "mathjax" not in page.lower() and "cdn" not in page.lower()
    assert '<details class="exercise" id="exercise-11-1">' in page
    assert 'href="../reading.html"' in page and 'href="../data.html#get-it"' in page
    assert "<title>11 · Small" in page and "prev-next" in page
    assert 'alt="A room."' in (out / "index.html").read_text(encoding="utf-8")
    assert (out / "searchindex.js").is_file()


def test_a_warning_is_an_error(course, tmp_path, capfd):
    source = tmp_path / "source"
    make_site.lay_out(course, source)
    (source / "lost.md").write_text("# Nobody links here\n")
    with pytest.raises(make_site.SiteError, match="Sphinx has complained"):
        make_site.build(source, ROOT / "docs", tmp_path / "out", tmp_path / "doctrees")
    assert "lost.md" in capfd.readouterr().err

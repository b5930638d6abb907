"""The project agrees with itself: versions, notebooks and scripts, what may not be committed."""

import ast
import itertools
import re
import subprocess
import tomllib
from pathlib import Path

import cpu_lock
import jupytext
import nbformat
import pytest
import yaml

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINNED = dict(
    requirement.split("==")
    for requirement in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["course"]
)
LOCK = (ROOT / "requirements.lock").read_text()
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def tracked_files():
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout, so there is no list of tracked files")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


# --- Versions ------------------------------------------------------------------------------


def plain(name):
    """A package's name without its extras: ``jsonargparse`` of ``jsonargparse[signatures]``."""
    return name.partition("[")[0]


def test_the_lock_has_the_pinned_versions():
    locked = {name: version for name, version, _ in cpu_lock.blocks(LOCK)}
    assert {name: locked.get(plain(name)) for name in PINNED} == PINNED


def test_every_requirement_has_hashes_and_none_an_address():
    for name, _, block in cpu_lock.blocks(LOCK):
        assert "--hash=sha256:" in block, name
    assert "://" not in LOCK


def test_environment_yml_agrees_with_the_pins():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(part["pip"] for part in environment["dependencies"] if isinstance(part, dict))
    named = dict(item.split("==") for item in pip if "==" in item)
    assert named == PINNED


def test_the_cpu_lock_drops_torch_and_cuda_only():
    kept, torch = cpu_lock.split_lock(LOCK)
    before = {name for name, _, _ in cpu_lock.blocks(LOCK)}
    after = {name for name, _, _ in cpu_lock.blocks(kept)}
    dropped = before - after
    assert torch == [f"torch=={PINNED['torch']}", f"torchvision=={PINNED['torchvision']}"]
    assert {"torch", "torchvision", "triton"} <= dropped
    assert all(re.match(r"torch|torchvision|triton|nvidia-|cuda-", name) for name in dropped)
    unchanged = [block for name, _, block in cpu_lock.blocks(LOCK) if name in after]
    assert [block for _, _, block in cpu_lock.blocks(kept)] == unchanged


def test_the_readme_gives_a_reason_for_every_dependency():
    readme = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\| `([^|]+)` \| (.+) \|$", readme, re.MULTILINE)
    reasons = {name.strip(" `"): reason for names, reason in rows for name in names.split("`, `")}
    missing = [name for name in PINNED if not reasons.get(plain(name), "").strip()]
    assert not missing


# --- Notebooks -----------------------------------------------------------------------------


def test_every_notebook_has_its_script():
    if not NOTEBOOKS:
        pytest.skip("notebooks/ holds no notebook yet: make notebooks writes them")
    scripts = {path.stem for path in (ROOT / "notebooks" / "scripts").glob("*.py")}
    assert {path.stem for path in NOTEBOOKS} == scripts


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_and_script_hold_the_same_cells(path):
    script = jupytext.read(ROOT / "notebooks" / "scripts" / f"{path.stem}.py")
    notebook = nbformat.read(path, as_version=4)

    def cells(nb):
        return [(c.cell_type, c.source, c.metadata.get("tags", [])) for c in nb.cells]

    assert cells(notebook) == cells(script), f"run: make notebooks NAMES={path.stem}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_code_cell_was_run_once_from_top_to_bottom(path):
    # nbval compares a cell that was never executed with nothing, and passes.
    code = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    assert code
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    assert not [o for o in outputs if any("widget" in kind for kind in o.get("data", {}))]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_figure_has_alternative_text(path):
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                assert len(output.metadata.get("image/png", {}).get("alt", "")) > 30


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_opens_and_closes_as_all_do(path):
    cells = nbformat.read(path, as_version=4).cells
    assert re.match(rf"# {path.stem.split('_')[0]} · ", cells[0].source)
    for word in ("**You will be able to**", "**Needs**", "**Minutes**"):
        assert word in cells[0].source, word
    assert any("## Take away" in c.source for c in cells[-2:])
    code = [c.source for c in cells if c.cell_type == "code"]
    if any("open_track(" in source for source in code):  # all but what works on tables alone
        assert any('DATA = ""' in source for source in code)


# --- What may not be committed ---------------------------------------------------------------


FORBIDDEN = re.compile(
    r"/(?:home|root|Users)/\w|[A-Z]:\\+Users"
    r"|\b(?:pypi|pythonhosted|pytorch|anaconda)\.org/(?:simple|packages|whl)"
    r"|//(?:pypi|files\.pythonhosted|download\.pytorch)\."
    r"|--(?:extra-|default-)?index-url|--find[-]links"
)


def test_no_path_of_a_machine_and_no_package_index_is_committed():
    # Where the project lies here counts too, unless the path is too short to be telling.
    here = re.compile(rf"{re.escape(str(ROOT))}\b") if len(ROOT.parts) > 2 else FORBIDDEN
    for path in tracked_files():
        if path.suffix not in {".png", ".jpg"}:
            text = path.read_text(encoding="utf-8", errors="replace")
            found = FORBIDDEN.search(text) or here.search(text)
            assert not found, f"{path.relative_to(ROOT)}: {found[0]}"


FOUND = ("/home|/ann", "/Users|/ann", "C:|\\Users", "//pypi|.org", "--index|-url", "--find|-links")


@pytest.mark.parametrize("text", [halves.replace("|", "") for halves in FOUND])
def test_the_search_for_paths_and_indexes_finds_them(text):
    assert FORBIDDEN.search(text)


def test_no_image_weights_or_table_of_patients_is_committed():
    kinds = {".jpg", ".jpeg", ".dcm", ".ckpt", ".pt", ".pth", ".csv"}
    assert not [path.name for path in tracked_files() if path.suffix in kinds]


# --- For every reader -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_picture_has_words_in_its_place(path):
    cells = nbformat.read(path, as_version=4).cells
    pictures = [
        output
        for cell in cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    assert pictures, "a notebook without any"
    for output in pictures:
        alt = output.metadata.get("image/png", {}).get("alt", "")
        assert len(alt.split()) >= 4, f"a picture of {path.stem} says only {alt!r}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_headings_are_in_order(path):
    """One title; no level is left out on the way down, so that a screen reader's list is a tree."""
    cells = nbformat.read(path, as_version=4).cells
    lines = [line for c in cells if c.cell_type == "markdown" for line in c.source.splitlines()]
    levels = [len(line.split(" ")[0]) for line in lines if re.match(r"#{1,6} \S", line)]
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_text_in_figures_is_large_enough():
    """At least 12 points wherever a size is named; lists of hundreds of names are the exception."""
    small = {}
    drawing = [*(ROOT / "cxrlib" / "plots").glob("*.py"), ROOT / "cxrlib" / "reading" / "told.py"]
    for path in [*(ROOT / "notebooks" / "scripts").glob("*.py"), *drawing]:
        text = path.read_text(encoding="utf-8")
        sizes = re.findall(r"(?:fontsize|labelsize)(?:=|\(|\": )(\d+(?:\.\d+)?)", text)
        small[path.name] = [size for size in sizes if float(size) < 12]
    small = {name: sizes for name, sizes in small.items() if sizes}
    assert small == {"graphs.py": ["10.5"], "charts.py": ["8"]}


# --- Elsewhere ---------------------------------------------------------------------------------


WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_calls_what_there_is(path):
    made = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    assert steps[0]["uses"].startswith("actions/checkout@")
    for run in (step["run"] for step in steps if "run" in step):
        if run.startswith("make "):
            targets = {word for word in run.split()[1:] if "=" not in word}
            assert targets and targets <= made, run
        for script in re.findall(r"(?<![\w$/])[\w/]+\.py\b", run):
            assert (ROOT / script).is_file(), run


def test_the_tests_run_on_every_python_that_is_named():
    matrix = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())["jobs"]["test"]
    pythons = matrix["strategy"]["matrix"]["python"]
    assert pythons[0] == PROJECT["requires-python"].removeprefix(">=")
    assert pythons == ["3.11", "3.12", "3.13"]


# --- The house -----------------------------------------------------------------------------------


def test_a_module_imports_only_from_those_above_it():
    """In the order of docs/house.md, which names all of them."""
    text = (ROOT / "docs" / "house.md").read_text(encoding="utf-8")
    listed = text[text.index("\ncxrlib/") : text.index("\nconfigs/")].splitlines()[2:]
    names = (re.match(r"  (\w[\w, /]*?)\s{2,}", line) for line in listed)
    order = [name.strip(" /") for found in names if found for name in found[1].split(",")]
    modules = {path.name.removesuffix(".py") for path in (ROOT / "cxrlib").glob("[!_]*")}
    assert set(order) == {name for name in modules if "." not in name}
    for path in (ROOT / "cxrlib").rglob("*.py"):
        own = path.relative_to(ROOT / "cxrlib").parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and re.match(r"cxrlib\b", node.module or ""):
                _, _, inner = node.module.partition(".")
                for name in [inner.split(".")[0]] if inner else [a.name for a in node.names]:
                    above = own.startswith("_") or order.index(name) <= order.index(own)
                    assert above, f"{path.relative_to(ROOT)} imports {name}"

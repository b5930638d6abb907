"""In JupyterLab, as ``make lab`` starts it, every control answers and nothing leaves us."""

import base64
import io
import json
import re
import time

import numpy as np
import pytest
from PIL import Image

from browser.jupyterlab import CELLS, KERNEL, NOTEBOOK, PLACE, ROOT

pytestmark = pytest.mark.browser

# --- The first look ------------------------------------------------------------------------------


def test_the_first_look_is_quiet_and_complete(open_page, lab):
    page = open_page(900, 800)
    page.goto(f"{lab.address}/?token={lab.token}")
    page.wait_for_selector(".jp-Notebook", timeout=60_000)
    page.wait_for_timeout(5000)
    assert page.url.split("?")[0].endswith("/mine/00_start_here.ipynb")
    assert page.locator(".Toastify__toast").count() == 0
    assert not page.evaluate(f"{NOTEBOOK}.model.dirty")
    lab.shot(page, "first-900")
    page.keyboard.press("Control+b")  # the list of files makes way
    page.wait_for_timeout(500)
    assert page.locator(".jp-Notebook").bounding_box()["width"] > 750
    log = (lab.folder.parent / "lab.log").read_text()
    noise = [line for line in log.splitlines() if re.match(r"\[[IW] |\[IPK", line)]
    assert not noise, "the terminal is quiet"


def test_every_notebook_opens(open_page, lab):
    for path in sorted(lab.folder.glob("*.ipynb")):
        page = lab.open(open_page(), path.stem)
        assert page.evaluate(f"{CELLS}.length") > 10
        assert not page.evaluate(f"{NOTEBOOK}.model.dirty"), path.stem
        page.context.close()


# --- Controls ---------------------------------------------------------------------------------


SHOWN = re.compile(r"^widgets\.explore\(", re.MULTILINE)
WITH_CONTROLS = [
    path.stem
    for path in sorted((ROOT / "notebooks" / "scripts").glob("*.py"))
    if SHOWN.search(path.read_text(encoding="utf-8"))
]


def pictures(cell):
    """A hash of what every live picture shows, not of its address: that changes with its text."""
    return cell.locator("img[src^=blob]").evaluate_all(
        """images => images.map((image) => {
            const canvas = document.createElement('canvas');
            [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
            canvas.getContext('2d').drawImage(image, 0, 0);
            let hash = 2166136261;
            for (const letter of canvas.toDataURL())
                hash = Math.imul(hash ^ letter.charCodeAt(0), 16777619);
            return hash;
        })"""
    )


def changed(page, cell, before, count=1, seconds=20):
    """Milliseconds until so many pictures, from the first, are others than before."""
    assert len(before) >= count, "no picture is there"
    start = time.perf_counter()
    while any(now == old for now, old in zip(pictures(cell)[:count], before, strict=False)):
        if time.perf_counter() - start > seconds:
            pytest.fail("the picture does not follow its control")
        page.wait_for_timeout(10)
    return 1000 * (time.perf_counter() - start)


def move(page, control):
    """Give a slider or a menu another value, as a hand would."""
    if control.locator("select").count():
        menu = control.locator("select")
        count, now = menu.locator("option").count(), menu.evaluate("menu => menu.selectedIndex")
        menu.select_option(index=(now + 1) % count)
    else:
        handle = control.locator(".noUi-handle").first
        handle.focus()
        page.keyboard.press("ArrowRight" if at_least(handle) else "ArrowLeft")


def at_least(handle):
    now, most = (float(handle.get_attribute(f"aria-{name}")) for name in ("valuenow", "valuemax"))
    return now < most


def settled(page, cell):
    """The pictures, once none is on its way any more."""
    before = pictures(cell)
    for _ in range(40):
        page.wait_for_timeout(500)
        if before and before == pictures(cell):
            break
        before = pictures(cell)
    return before


def controls_of(cell):
    sliders = cell.locator(".widget-hslider:visible, .widget-dropdown:visible")
    return [sliders.nth(k) for k in range(sliders.count())]


@pytest.mark.parametrize("name", WITH_CONTROLS)
def test_every_control_of_a_notebook_is_followed_by_its_picture(open_page, lab, name):
    page = lab.open(open_page(height=1200), name)
    assert not page.evaluate(f"{NOTEBOOK}.model.dirty"), "a tab that nobody has touched is saved"
    assert lab.run_all(page) == []
    for number in lab.find_all(page, "\nwidgets.explore("):
        cell = lab.cell(page, number)
        settled(page, cell)
        times = []
        for control in controls_of(cell):
            before = settled(page, cell)
            move(page, control)
            times.append(changed(page, cell, before))
        assert times, "no control is there"
        assert all(
            len(image.get_attribute("alt")) > 30 for image in cell.locator("img[src^=blob]").all()
        )
        print(f"{name}: {len(times)} controls, {min(times):.0f} to {max(times):.0f} ms")
        lab.shot(page, f"{name}-{number}")


def test_a_label_of_the_hierarchy_is_clicked_and_reached_with_keys(open_page, lab):
    page = lab.open(open_page(height=1200), "03_building_the_hierarchy")
    assert lab.run_all(page) == []
    cell = lab.cell(page, lab.find(page, "widgets.ask_graph("))
    words = cell.locator(".widget-html-content")
    assert words.inner_text().startswith("Edema")
    cell.locator("svg g[role=button]", has_text="Pneumonia").click()
    page.wait_for_function("e => e.innerText.startsWith('Pneumonia')", arg=words.element_handle())
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.wait_for_function("e => !e.innerText.startsWith('Pneumonia')", arg=words.element_handle())
    pressed = cell.locator("svg g[aria-pressed=true]")
    assert pressed.count() == 1
    assert words.inner_text().startswith(pressed.get_attribute("aria-label").split(",")[0])
    lab.shot(page, "hierarchy")


# --- The reading room --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files to upload: a PNG, a DICOM file as large as a hospital's, and one that is no image."""
    from cxrlib import phantom

    folder = tmp_path_factory.mktemp("files")
    study = phantom.draw_study(
        np.random.default_rng(5), phantom.draw_patient(np.random.default_rng(5)), 1
    )
    film = Image.fromarray(phantom.render(study, 256))
    film.save(folder / "film.png")
    (folder / "words.png").write_text("only words")
    large = np.asarray(film.resize((2800, 2800))).astype(np.uint16) * 16
    (folder / "scan.dcm").write_bytes(as_dicom(4095 - large))
    return folder


def as_dicom(stored):
    """A DICOM file of twelve bits whose low is white."""
    import pydicom

    made = pydicom.Dataset()
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    made.SOPClassUID = pydicom.uid.DigitalXRayImageStorageForPresentation
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = "1.2.3"
    made.Modality, made.ViewPosition, made.BodyPartExamined = "DX", "PA", "CHEST"
    made.PhotometricInterpretation, made.SamplesPerPixel = "MONOCHROME1", 1
    made.Rows, made.Columns, made.PixelRepresentation = *stored.shape, 0
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, 12, 11
    made.PixelData = stored.tobytes()
    content = io.BytesIO()
    pydicom.dcmwrite(content, made, enforce_file_format=True)
    return content.getvalue()


def test_the_reading_room(open_page, lab, files):
    page = lab.open(open_page(height=1800), "11_reading_room")
    assert lab.run_all(page) == []
    cell = lab.cell(page, lab.find(page, "reading_room.show()"))
    settled(page, cell)
    room = cell.locator(".widget-vbox", has=page.locator("svg")).last
    room.screenshot(path=PLACE / "reading_room.png")

    edema = cell.locator(".widget-hslider", has_text="Edema").first
    times = []
    for _ in range(8):
        before = settled(page, cell)
        edema.locator(".noUi-handle").focus()
        page.keyboard.press("ArrowRight")
        times.append(changed(page, cell, before, count=2))
    print(f"severity to picture: median {np.median(times):.0f} ms, {[round(t) for t in times]}")

    settled(page, cell)
    start = time.perf_counter()
    cell.locator("svg g[role=button]", has_text="Cardiomegaly").first.click()
    cell.get_by_alt_text(re.compile("the map of Cardiomegaly")).wait_for()
    print(f"label to map: {1000 * (time.perf_counter() - start):.0f} ms")
    lab.shot(page, "room-label")

    before = settled(page, cell)
    cell.locator("button", has_text="a test patient").click()
    print(f"to a test patient: {changed(page, cell, before, count=2):.0f} ms")

    cell.locator("button", has_text="a file of yours").click()
    cell.get_by_text("No file was chosen yet").wait_for()
    for name in ("film.png", "scan.dcm", "words.png"):
        size = (files / name).stat().st_size / 1e6
        with page.expect_file_chooser() as chooser:
            cell.locator("button", has_text="choose a file").click()
        start = time.perf_counter()
        chooser.value.set_files(files / name)
        cell.locator(".cxr-words", has_text=name).first.wait_for(timeout=60_000)
        print(f"{name}, {size:.1f} MB: {1000 * (time.perf_counter() - start):.0f} ms to the report")
        page.wait_for_timeout(1000)
        lab.shot(page, f"room-{name}")
        report = cell.inner_text()
        assert ("Not for clinical use" in report) == (name != "words.png")
    assert "of no kind known here" in cell.inner_text()
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.wait_for_timeout(3000)
    kept = lab.folder / "11_reading_room.ipynb"
    assert '"widget' in kept.read_text(encoding="utf-8"), "the state of widgets is saved"
    saved = [kept, *lab.folder.glob(".ipynb_checkpoints/11*")]
    for path in saved:
        text = path.read_text(encoding="utf-8")
        assert "film.png" not in text.split('"cells"')[0] and "scan.dcm" not in text
        for name in ("film.png", "scan.dcm"):
            content = (files / name).read_bytes()
            for part in (content[:300], content[len(content) // 2 :][:300]):
                assert base64.b64encode(part).decode()[4:-4] not in text, f"{name} in {path.name}"


# --- Exercises and guesses -----------------------------------------------------------------------


def test_check_hint_and_solution_answer(open_page, lab):
    page = lab.open(open_page(), "11_reading_room")
    lab.run_cell(page, lab.find(page, "from cxrlib import"))
    number = lab.find(page, "exercises.check(wrong_reports)")
    stub = lab.source(page, number)
    assert "Not tried yet" in lab.run_cell(page, number)
    hint = lab.run_cell(page, number, stub.replace("# exercises.hint", "exercises.hint"))
    assert "Hint" in hint
    solution = lab.run_cell(
        page, number, stub.replace("# exercises.solution", "exercises.solution")
    )
    assert "def wrong_reports" in solution
    wrong = stub.replace("...  # your code", "return said.mean()")
    assert lab.run_cell(page, number, wrong) != lab.run_cell(page, number, stub)
    lab.shot(page, "exercise")


def test_a_guess_is_kept(open_page, lab):
    page = lab.open(open_page(), "11_reading_room")
    lab.run_cell(page, lab.find(page, "from cxrlib import"))
    number = lab.find(page, 'exercises.guess("11.1")')
    lab.run_cell(page, number)
    cell = lab.cell(page, number)
    cell.locator("input[type=text]").fill("five of them")
    page.keyboard.press("Enter")
    cell.get_by_text("Kept.").wait_for()
    kept = json.loads((lab.folder / "progress.json").read_text(encoding="utf-8"))
    assert kept["guesses"]["11.1"]["said"] == "five of them"


def test_a_saved_notebook_shows_its_pictures_after_a_restart(open_page, lab):
    """Its kernel is gone, and with it all widgets: what they last showed stands there."""
    page = lab.open(open_page(), "03_building_the_hierarchy")
    assert lab.run_all(page) == []
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.wait_for_timeout(2000)
    page.evaluate(f"{KERNEL.replace('?.kernel', '')}.shutdown()")
    page.wait_for_timeout(2000)
    page.context.close()
    page = lab.open(open_page(), "03_building_the_hierarchy")
    cell = lab.cell(page, lab.find(page, "widgets.ask_graph("))
    cell.locator("svg g[role=button], img").first.wait_for(timeout=20_000)
    assert "Error displaying widget" not in cell.inner_text()
    lab.shot(page, "after-restart")

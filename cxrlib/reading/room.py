"""The reading room's control for a file of one's own. What is uploaded is read where it is."""

import html
from pathlib import Path

import ipywidgets

from cxrlib import plots, widgets
from cxrlib.reading.command import NOT_FOR_CLINICAL_USE, Found, draw_maps
from cxrlib.reading.files import ReadingError, read_radiograph

ACCEPTED = ".png,.jpg,.jpeg,.tif,.tiff,.bmp,.dcm,.dicom"


def answer(reader, name, content, risk=0.1):
    """What is said of a file's bytes: (sentences, the picture as PNG, or b"" if there is none)."""
    try:
        grey, notes = read_radiograph(content, reader.run.settings.size, reader.white)
    except ReadingError as error:
        return [f"{name}: {error}"], b""
    reading = reader.read(grey[None], [name], risk)
    found = Found(Path(name), grey=grey, notes=notes, reading=reading)
    picture = plots.png(draw_maps(reader, found), f"Maps of {name}.")["image/png"]
    return [name, *notes, *reading.report(name), NOT_FOR_CLINICAL_USE], picture


def upload_box(reader, risk=0.1):
    """A button that takes a file, and below it what is said of it: an ipywidgets ``VBox``.

    The file goes to this notebook's own Python process and no further; nothing is written.
    """
    button = ipywidgets.FileUpload(accept=ACCEPTED, multiple=False, description="A file of yours")
    told, picture = ipywidgets.HTML(), ipywidgets.Image(format="png")
    picture.layout.display = "none"

    def read(change):
        for file in change["new"]:
            said, drawn = answer(reader, file["name"], bytes(file["content"]), risk)
            told.value = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in said)
            picture.value, picture.layout.display = drawn, None if drawn else "none"

    button.observe(read, names="value")
    return ipywidgets.VBox([button, told, picture])


def show_upload(reader, risk=0.1):
    """Show ``upload_box``; on a page, where nothing is live, a sentence in its place."""
    words = "Here stands, in a live notebook, a button that takes a file of yours."
    widgets.show_box(upload_box(reader, risk), {"text/plain": words})

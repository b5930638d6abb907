"""cxrlib.widgets.live: what goes to the browser. How it looks there, tests/browser sees."""

import pytest
import traitlets
from conftest import PAPER

from cxrlib import plots
from cxrlib.hierarchy import Hierarchy
from cxrlib.widgets import HierarchyGraph, Picture, Words


class Channel:
    """What a widget sends to the browser: the names of what each message holds."""

    comm_id, kernel = "0", True

    def __init__(self):
        self.sent, self.custom = [], []

    def on_msg(self, callback):
        """Nothing comes back."""

    def send(self, data, buffers=None):
        if data["method"] == "update":
            self.sent.append(set(data["state"]) | {path[0] for path in data["buffer_paths"]})
        else:
            self.custom.append((data["content"], buffers))


def sent_by(widget):
    """The messages that a widget sends from now on."""
    widget.comm = Channel()
    return widget.comm.sent


def test_a_picture_goes_with_its_text_in_one_message():
    picture = Picture()
    sent = sent_by(picture)
    picture.show(value=b"\x89PNG", alt="a film")
    assert (picture.value, picture.alt) == (b"\x89PNG", "a film")
    assert sent == [{"value", "alt"}]


def test_the_graph_knows_every_label_and_edge():
    graph = HierarchyGraph(PAPER)
    assert set(graph.boxes) == set(PAPER.labels)
    assert [tuple(edge) for edge in graph.edges] == list(PAPER.edges)
    places = plots.layout(PAPER)
    assert graph.boxes["Edema"] == pytest.approx(places["Edema"])
    assert graph.selected == PAPER.labels[0]
    assert HierarchyGraph(PAPER, "Edema").selected == "Edema"


def test_exclusions_are_drawn_too():
    pair = Hierarchy(["A", "B"], [], never_both=[("A", "B")])
    assert HierarchyGraph(pair).never_both == [["A", "B"]]


def test_only_labels_of_the_hierarchy_can_be_chosen():
    graph = HierarchyGraph(PAPER)
    with pytest.raises(traitlets.TraitError, match=r"'Lung' is no label.*Atelectasis"):
        graph.selected = "Lung"
    with pytest.raises(traitlets.TraitError, match="'Lung' is no label"):
        HierarchyGraph(PAPER, "Lung")


def test_what_stands_in_the_boxes_goes_in_one_message():
    graph = HierarchyGraph(PAPER)
    sent = sent_by(graph)
    graph.show(shares={"Edema": 0.5}, texts={"Edema": "0.50"})
    assert sent == [{"shares", "texts"}]


@pytest.mark.parametrize("kind", [Picture, Words, HierarchyGraph])
def test_the_browser_part_asks_for_nothing_from_elsewhere(kind):
    script = kind._esm
    assert "export default { render }" in str(script)
    assert "import" not in str(script).replace("important", "")
    addresses = [part for part in str(script).split('"') if "://" in part]
    assert addresses in ([], ["http://www.w3.org/2000/svg"]), "the name of SVG, never asked for"


def test_what_is_private_is_shown_and_never_becomes_state():
    """State is what JupyterLab saves with a notebook."""
    picture = Picture()
    sent = sent_by(picture)
    picture.show(value=b"\x89PNG", alt="a patient", private=True)
    assert picture.now == {"value": b"\x89PNG", "alt": "a patient"}
    assert (picture.value, picture.alt) == (b"", "") and not any(sent)
    ((content, buffers),) = picture.comm.custom
    assert content == {"show": {"alt": "a patient"}, "buffers": ["value"]}
    assert bytes(buffers[0]) == b"\x89PNG"
    picture.show(alt="the same patient", private=True)
    assert picture.now == {"value": b"\x89PNG", "alt": "the same patient"}
    picture.show(value=b"\x89", alt="a phantom")
    assert picture.now == {"value": b"\x89", "alt": "a phantom"}
    assert picture.value == b"\x89" and picture.comm.custom[-1][0]["show"] == {}


def test_after_something_private_nothing_old_is_left_in_the_state():
    words, graph = Words(), HierarchyGraph(PAPER)
    words.show(value="<p>open</p>")
    words.show(value="<p>secret</p>", private=True)
    assert words.value == "" and words.now["value"] == "<p>secret</p>"
    graph.show(texts={"Edema": "0.5"}, marks={"Edema": "said"})
    graph.show(texts={"Edema": "0.9"}, private=True)
    assert graph.texts == {} == graph.marks
    assert graph.now["texts"] == {"Edema": "0.9"} and graph.now["marks"] == {"Edema": "said"}

"""cxrlib.widgets.live: what goes to the browser. How it looks there, tests/browser sees."""

import pytest
import traitlets
from conftest import PAPER

from cxrlib import plots
from cxrlib.hierarchy import Hierarchy
from cxrlib.widgets import HierarchyGraph, Picture


def sent_by(widget):
    """The messages that a widget sends from now on, as dictionaries."""
    sent = []
    widget.send_state = lambda key=None: sent.append(set([key] if isinstance(key, str) else key))
    return sent


def test_a_picture_goes_with_its_text_in_one_message():
    picture = Picture()
    sent = sent_by(picture)
    picture.show(b"\x89PNG", "a film")
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


@pytest.mark.parametrize("kind", [Picture, HierarchyGraph])
def test_the_browser_part_asks_for_nothing_from_elsewhere(kind):
    script = kind._esm
    assert "export default { render }" in str(script)
    assert "import" not in str(script).replace("important", "")
    addresses = [part for part in str(script).split('"') if "://" in part]
    assert addresses in ([], ["http://www.w3.org/2000/svg"]), "the name of SVG, never asked for"

"""Controls for a live notebook, with a figure in their place wherever nothing is live."""

from cxrlib.widgets.figures import ask_graph, explore, followed_by, show_box
from cxrlib.widgets.live import HierarchyGraph, Picture, Words

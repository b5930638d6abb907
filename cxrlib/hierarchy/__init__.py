"""The hierarchy: which label is a kind of which other, and what follows from that."""

from cxrlib.hierarchy.dag import Hierarchy
from cxrlib.hierarchy.files import read_yaml
from cxrlib.hierarchy.names import HierarchyError
from cxrlib.hierarchy.paper import GROUPS, PAPER_CHILDREN, paper_hierarchy, read_hierarchy
from cxrlib.hierarchy.projection import project

"""The hierarchies that the course comes with: the paper's, and others to set beside it."""

from pathlib import Path

from cxrlib.hierarchy.dag import Hierarchy
from cxrlib.hierarchy.names import HierarchyError
from cxrlib.labels import OBSERVATIONS
from cxrlib.places import HIERARCHIES

GROUPS = (
    "Abnormal",
    "Cardiac",
    "Fluid Accumulation",
    "Missing Lung Tissue",
    "Opacity",
    "Other",
)
"""The paper's six groups, sorted by name."""

PAPER_CHILDREN = {
    "Abnormal": ("Opacity", "Cardiac", "Other"),
    "Opacity": ("Lung Opacity", "Lung Lesion", "Fluid Accumulation", "Missing Lung Tissue"),
    "Fluid Accumulation": ("Edema", "Consolidation", "Pleural Effusion", "Pneumonia"),
    "Missing Lung Tissue": ("Atelectasis", "Pneumothorax", "Pleural Other"),
    "Cardiac": ("Enlarged Cardiomediastinum", "Cardiomegaly"),
    "Other": ("Fracture", "Support Devices"),
    "Enlarged Cardiomediastinum": ("Cardiomegaly",),
    "Consolidation": ("Pneumonia",),
}


def paper_hierarchy():
    """The hierarchy of arXiv 2502.03591: 21 labels, 20 edges.

    The order of the labels is the paper's: the 14 observations sorted by name, ``Uncertain``
    (none of the 14 is present; it is not CheXpert's −1), and the 6 groups sorted by name.
    ``Abnormal`` is "neither No Finding nor Uncertain". Cardiomegaly and Pneumonia have two parents,
    so this is a DAG and not a tree.

    Examples
    --------
    >>> hierarchy = paper_hierarchy()
    >>> len(hierarchy.labels), len(hierarchy.edges)
    (21, 20)
    >>> hierarchy.parents("Pneumonia")
    ('Consolidation', 'Fluid Accumulation')
    """
    edges = [(parent, child) for parent, below in PAPER_CHILDREN.items() for child in below]
    return Hierarchy(
        labels=(*sorted(OBSERVATIONS), "Uncertain", *GROUPS),
        edges=edges,
        none_of={"Uncertain": sorted(OBSERVATIONS), "Abnormal": ("No Finding", "Uncertain")},
    )


def read_hierarchy(name):
    """One of ``hierarchies/`` by its name ("paper", "chexpert", "anatomy", "padchest"), or a file.

    Raises
    ------
    HierarchyError
        No such file, or it holds no hierarchy.

    Examples
    --------
    >>> read_hierarchy("paper") == paper_hierarchy()
    True
    """
    named = HIERARCHIES / f"{name}.yaml"
    file = named if named.is_file() else Path(name)
    if not file.is_file():
        known = ", ".join(sorted(found.stem for found in HIERARCHIES.glob("*.yaml")))
        raise HierarchyError(
            f"{name}: no such hierarchy. There are {known}; or give a file's path."
        )
    return Hierarchy.from_yaml(file)

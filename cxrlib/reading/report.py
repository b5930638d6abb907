"""What a ``Reader`` says of images, as tables; and of one image, in sentences."""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxrlib.labels import OBSERVATIONS

KEPT = 0.95
"""Share of the validation images that the gate lets through."""

ALPHA = 0.1
"""How often a label's set may miss the truth, and the risk at which the factor is chosen."""


@dataclass(frozen=True)
class Reading:
    """What a ``Reader`` says of some images; every table has a row for each.

    ``scores`` [N, L] are probabilities, rescaled and coherent; ``sets`` [N, L] what remains
    possible of each label by itself: "present", "absent", "unsure" (both) or "neither"; ``said``
    [N, L] bool, the statements;
    ``distance`` [N], how far an image lies from those that the model has learnt from, 1 being the
    limit; ``otherwise`` [N] bool, which files say themselves that they are no frontal chest film:
    ``refused`` is either; ``mended`` [N, L] bool, which labels scored above a parent before
    that parent was raised; ``low`` and ``high`` [N, L]: between which lies the share of images
    that have the label, among validation images with such a score (``calibrated_interval``);
    ``origin``, the track that the model was trained on; ``features`` [N, C], of ``Reader.embed``.
    """

    scores: pd.DataFrame
    sets: pd.DataFrame
    said: pd.DataFrame
    distance: pd.Series
    mended: pd.DataFrame
    low: pd.DataFrame
    high: pd.DataFrame
    risk: float
    origin: str = "unknown"
    features: np.ndarray | None = None
    otherwise: pd.Series | None = None

    @property
    def contradictions(self):
        """How many labels of each image scored above a parent: [N]."""
        return self.mended.sum(axis=1)

    @property
    def track(self):
        """The name of the track that the model was trained on, such as "phantom"."""
        found = re.match(r"Track '(\w+)'", self.origin)
        return found[1] if found else self.origin

    @property
    def refused(self):
        """Which images are too unlike those that the model has learnt from, or say so: [N]."""
        beyond = self.distance > 1
        return beyond if self.otherwise is None else beyond | self.otherwise

    def report(self, row):
        """What may be said of one image: a list of sentences."""
        if self.otherwise is not None and self.otherwise.loc[row]:
            return ["Nothing is said: by its own words the file is no frontal chest radiograph."]
        if self.refused.loc[row]:
            return [
                "Nothing is said: this image is further from those that the model has learnt "
                f"from than {KEPT:.0%} of such are ({self.distance.loc[row]:.2f} times the limit). "
                "Is it a frontal chest radiograph?"
            ]
        scores, sets = self.scores.loc[row], self.sets.loc[row]
        said = [label for label, is_said in self.said.loc[row].items() if is_said]
        named = [f"{label} ({scores[label]:.2f})" for label in said if label in OBSERVATIONS]
        groups = [f"{label} ({scores[label]:.2f})" for label in said if label not in OBSERVATIONS]
        absent = [n for n in OBSERVATIONS if sets[n] == "absent" and n != "No Finding"]
        told = []
        if named:
            told.append(f"Said: {', '.join(named)}.")
        if groups:
            told.append(f"Said, kind not certain: {', '.join(groups)}.")
        if not said:
            told.append("Nothing is sure enough to be said, which does not make it a normal chest.")
        if absent:
            told.append(
                f"Ruled out (each is ruled out wrongly for about one in {1 / ALPHA:.0f} of those "
                f"who have it): {', '.join(absent)}."
            )
        told.append(
            f"Of a patient's reports at most {100 * self.risk:g}% say anything wrong after “Said”, "
            f"on average over patients like those of the validation images ({self.track})."
        )
        if "phantom" in self.origin:
            told.append(
                "The model has seen phantoms only, made by a computer: of a real radiograph "
                "nothing is promised."
            )
        return told

"""A model with all that it needs to say when it should be silent."""

import hashlib
import io
import sys
import warnings
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from sklearn.covariance import LedoitWolf

from cxrlib import places
from cxrlib.configs import read_config
from cxrlib.data import equalize, to_float
from cxrlib.evaluation import fit_temperatures, read_predictions, rescale, shares_alike
from cxrlib.explanations import explain
from cxrlib.explanations.maps import features_of
from cxrlib.labels import OBSERVATIONS
from cxrlib.reading.files import ReadingError
from cxrlib.training import Run, RunError, find_run, read_record
from cxrlib.training.fit import make_data
from cxrlib.training.runs import data_fingerprint, is_finished, write_whole
from cxrlib.uncertainty import (
    conformal_sets,
    control_risk,
    doubt_groups,
    fit_conformal,
    highest_wrong,
    specificity,
    statements,
)

KEPT = 0.95
"""Share of the validation images that the gate lets through."""

FACTORS = (1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 16.0)
ALPHA = 0.1
"""How often a label's set may miss the truth, and the risk at which the factor is chosen."""

ALIKE = 50
"""Of how many validation images with the nearest scores a score's interval tells."""

FORMAT = 2
"""Raise it when ``reader.npz`` is to be made anew."""


@dataclass(frozen=True)
class Reading:
    """What a ``Reader`` says of some images; every table has a row for each.

    ``scores`` [N, L] are probabilities, rescaled and coherent; ``sets`` [N, L] what remains
    possible of each label by itself: "present", "absent", "unsure" (both) or "neither"; ``said``
    [N, L] bool, the statements;
    ``distance`` [N], how far an image lies from those that the model has learnt from, 1 being the
    limit: ``refused`` is beyond; ``mended`` [N, L] bool, which labels scored above a parent before
    that parent was raised; ``low`` and ``high`` [N, L], of ``shares_alike``: between which lies the
    share of images that have the label, among those with such a score; ``origin``, the track that
    the model was trained on.
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

    @property
    def alike(self):
        """Both ends of the interval of each score, two tables [N, L]."""
        return self.low, self.high

    @property
    def contradictions(self):
        """How many labels of each image scored above a parent: [N]."""
        return self.mended.sum(axis=1)

    @property
    def refused(self):
        """Which images are too unlike those that the model has learnt from."""
        return self.distance > 1

    def report(self, row):
        """What may be said of one image: a list of sentences."""
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
            f"on average over patients like those of the validation images ({self.origin})."
        )
        if "phantom" in self.origin:
            told.append(
                "The model has seen phantoms only, made by a computer: of a real radiograph "
                "nothing is promised."
            )
        return told


@dataclass(frozen=True)
class Reader:
    """A run, and what was fitted on its validation images.

    Temperatures, gate and the doubt of groups come from one half of the validation patients, and
    every limit that is promised from the other.
    """

    run: Run
    temperatures: pd.Series  # [L]
    centre: np.ndarray  # [C], of the features of the training images
    precision: np.ndarray  # [C, C]
    furthest: float  # the distance that KEPT of the validation images do not exceed
    factor: float  # by which groups are doubted
    limits: pd.DataFrame  # of ``fit_conformal``
    highest: pd.Series  # [patient's images], of ``highest_wrong``; indexed by patient
    scored: pd.DataFrame  # [n, L], the scores of the images that the limits come from
    truth: pd.DataFrame  # [n, L], 1, 0 or NaN

    @cached_property
    def model(self):
        """The run's model, in evaluation mode."""
        return self.run.model()

    @cached_property
    def origin(self):
        """The track that it was trained on, in words."""
        return read_record(self.run.folder)["track"]

    @cached_property
    def white(self):
        """The grey level of white in the images that the run was trained with, or None."""
        return read_config(self.run.folder / "config.yaml").data["white"]

    # --- Made, kept, found ------------------------------------------------------------------------

    @classmethod
    def fit(cls, run, data):
        """Fit all that a run needs to be a reader, on the ``ChestData`` it was trained with."""
        model, hierarchy = run.model(), run.hierarchy
        valid = read_predictions(run.folder / "predictions.csv").split("valid")
        patients = valid.about["patient"]
        names = np.random.default_rng(0).permutation(pd.unique(patients))
        first = patients.isin(names[: len(names) // 2]).to_numpy()
        temperatures = fit_temperatures(valid.truth[first], valid.scores[first])
        scores = hierarchy.make_coherent(rescale(valid.scores, temperatures), how="max")
        factor = _choose_factor(scores[first], valid.truth[first], patients[first], hierarchy)
        doubted = doubt_groups(scores, hierarchy, factor)
        highest = highest_wrong(doubted[~first], valid.truth[~first], hierarchy)
        space = LedoitWolf().fit(_embedded(model, data.dataset("train"), most=2000))
        seen = _embedded(model, data.dataset("valid"))[first]
        distances = _distances(seen, space.location_, space.precision_)
        return cls(
            run,
            temperatures,
            space.location_,
            space.precision_,
            float(np.quantile(distances, KEPT)),
            factor,
            fit_conformal(scores[~first], valid.truth[~first], ALPHA),
            pd.Series(highest, index=patients[~first].to_numpy()),
            scores[~first].reset_index(drop=True),
            valid.truth[~first].reset_index(drop=True),
        )

    def save(self):
        """Keep what was fitted beside the run, in ``reader.npz``."""
        content = io.BytesIO()
        np.savez_compressed(
            content,
            format=FORMAT,
            checkpoint=_digest(self.run),
            temperatures=self.temperatures.to_numpy(),
            centre=self.centre,
            precision=self.precision,
            furthest=self.furthest,
            factor=self.factor,
            limits=self.limits.to_numpy(),
            highest=self.highest.to_numpy(),
            patients=self.highest.index.to_numpy(dtype="U"),
            scored=self.scored.to_numpy(),
            truth=self.truth.to_numpy(dtype=float),
        )
        write_whole(self.run.folder / "reader.npz", content.getvalue())

    @classmethod
    def load(cls, run):
        """What ``save`` has kept; None if there is nothing that fits this run."""
        try:
            with np.load(run.folder / "reader.npz", allow_pickle=False) as kept:
                if kept["format"] != FORMAT or kept["checkpoint"] != _digest(run):
                    return None
                labels = list(run.hierarchy.labels)
                places_of = pd.MultiIndex.from_product([["all"], labels], names=["group", "label"])
                columns = ["absent", "present"]
                return cls(
                    run,
                    pd.Series(kept["temperatures"], index=labels),
                    kept["centre"],
                    kept["precision"],
                    float(kept["furthest"]),
                    float(kept["factor"]),
                    pd.DataFrame(kept["limits"], index=places_of, columns=columns),
                    pd.Series(kept["highest"], index=kept["patients"]),
                    pd.DataFrame(kept["scored"], columns=labels),
                    pd.DataFrame(kept["truth"], columns=labels),
                )
        except Exception:  # a damaged archive can lead to any error; it is made anew
            return None

    # --- Reading ----------------------------------------------------------------------------------

    def prepare(self, grey):
        """Grey levels uint8 [N, 1, H, W] as the model sees them: float32, 0 … 1."""
        return to_float(equalize(grey) if self.run.settings.equalize else grey)

    @torch.inference_mode()
    def read(self, grey, names=None, risk=0.1):
        """A ``Reading`` of some images.

        Parameters
        ----------
        grey : uint8 tensor [N, 1, size, size], of ``read_radiograph`` with the size of the run.
        names : [N], for the rows of the tables; by default numbers.
        risk : how many of a patient's reports may say anything wrong, 0 < risk < 1.
        """
        hierarchy, size = self.run.hierarchy, self.run.settings.size
        if grey.dtype != torch.uint8 or grey.ndim != 4 or grey.shape[1:] != (1, size, size):
            raise ValueError(
                f"expected grey levels uint8 [N, 1, {size}, {size}], got {list(grey.shape)}."
            )
        images = self.prepare(grey)
        features = features_of(self.model, images)
        logits, embedded = self.model.head(features), self.model.head.embed(features)
        raw = hierarchy.to_table(self.run.readout(logits).numpy())
        if names is not None:
            raw.index = pd.Index(names)
        rescaled = rescale(raw, self.temperatures)
        scores = hierarchy.make_coherent(rescaled, how="max")
        distance = _distances(embedded.numpy(), self.centre, self.precision) / self.furthest
        distance = pd.Series(distance, index=raw.index, name="distance")
        threshold = control_risk(self.highest.to_numpy(), self.highest.index.to_numpy(), risk)
        said = statements(doubt_groups(scores, hierarchy, self.factor), hierarchy, threshold)
        sets = conformal_sets(scores, self.limits)
        said[distance > 1], sets[distance > 1] = False, "unsure"  # nothing is promised of these
        mended = pd.DataFrame(False, index=scores.index, columns=scores.columns)
        for parent, child in hierarchy.edges:
            mended[child] |= rescaled[child] > rescaled[parent] + 1e-9
        low, high = shares_alike(scores, self.scored, self.truth, ALIKE)
        return Reading(scores, sets, said, distance, mended, low, high, risk, self.origin)

    @torch.inference_mode()
    def embed(self, grey):
        """Features [N, C], what the model's last layer sees of images: the nearer, the more alike.

        They are whitened: their Euclidean distance is the one that the gate measures, so that no
        feature counts more for varying more.
        """
        features = self.model.head.embed(features_of(self.model, self.prepare(grey))).numpy()
        return (features - self.centre) @ np.linalg.cholesky(self.precision)

    def maps(self, grey, labels):
        """Maps of some labels [N, len(labels), size, size], 0 … 1: what ``explain`` says."""
        method = "pointing" if hasattr(self.model.head, "shares") else "layercam"
        names = self.run.hierarchy.labels
        return explain(self.model, self.prepare(grey), labels, method, names=names).images


def find_reader(run=None, runs=places.RUNS):
    """The reader of a run, fitted now where that was not done yet.

    ``run`` is a run's folder; by default the course's own model, "pointing" (notebook 07), as its
    config has it, the last one that was trained. ``ReadingError`` says what is missing, and how to
    make it.
    """
    folder = Path(run) if run else _last("pointing", Path(runs))
    if not is_finished(folder):
        raise ReadingError(f"{folder}: no finished run (run.json is missing).")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the code has changed matters to those who train
        found = find_run(folder)
    try:
        with FileLock(folder / ".reader.lock"):  # a second process waits, and finds it
            if (reader := Reader.load(found)) is None:
                reader = _fit(found)
                reader.save()
            return reader
    except PermissionError:  # a folder that others may only read
        return Reader.load(found) or _fit(found)


def _fit(run):
    print(f"Fitting gate and limits of {run.folder.name}, once: some seconds.", file=sys.stderr)
    return Reader.fit(run, _own_data(run))


def _last(name, runs):
    own = [path.parent for path in runs.glob(f"{name}-*/run.json")]
    if not own:
        raise ReadingError(
            f"{runs}: no trained model called {name!r}. `make course` trains it, or "
            "`python -m cxrlib fit --config configs/pointing.yaml`, in some minutes."
        )
    settings = asdict(read_config(name).settings)  # another seed's only if there is no such
    as_it_is = [folder for folder in own if _settings_of(folder) == settings]
    return max(as_it_is or own, key=lambda folder: (folder / "run.json").stat().st_mtime)


def _settings_of(folder):
    with suppress(RunError):  # a damaged run is not the one; if there is no other, it says so
        return read_record(folder)["settings"]


def _own_data(run):
    """The data that a run was trained with; ``ReadingError`` if other images lie there now."""
    track, hierarchy = read_config(run.folder / "config.yaml").open()
    data = make_data(track, hierarchy, run.settings)
    if data_fingerprint(data) != read_record(run.folder)["data"]:
        raise ReadingError(
            f"{track.folder} no longer holds the images that {run.folder.name} was trained with, "
            "from which its limits come. Let CXR_DATA name the folder that does, or train it anew."
        )
    return data


def _digest(run):
    return hashlib.sha256((run.folder / "best-auroc.ckpt").read_bytes()).hexdigest()[:16]


def _distances(embedded, centre, precision):
    """Mahalanobis distances [N] of features [N, C] from a centre."""
    away = embedded - centre
    return np.sqrt(np.einsum("nc,cd,nd->n", away, precision, away).clip(min=0))


@torch.inference_mode()
def _embedded(model, dataset, most=None):
    """Features [N, C] of the images of a dataset, in its order; of no more than ``most``."""
    parts = []
    for items in torch.arange(len(dataset))[:most].split(128):
        images = dataset.prepare(dataset.fetch(items)[0])
        parts.append(model.head.embed(features_of(model, images)))
    return torch.cat(parts).numpy()


def _choose_factor(scores, truth, patients, hierarchy):
    """How much groups are to be doubted: what tells most, at a risk of ALPHA (notebook 10)."""
    prevalence = hierarchy.close(truth).mean().fillna(0.5).clip(0.001, 0.999)

    def told(factor):
        doubted = doubt_groups(scores, hierarchy, factor)
        threshold = control_risk(highest_wrong(doubted, truth, hierarchy), patients, ALPHA)
        said = statements(doubted, hierarchy, threshold)
        return specificity(said, truth, hierarchy, prevalence)["information"].mean()

    return max(FACTORS, key=told)

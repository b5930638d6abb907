"""A model with all that it needs to say when it should be silent."""

import hashlib
import io
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from sklearn.covariance import LedoitWolf

from cxrlib.configs import read_config
from cxrlib.data import equalize, to_float
from cxrlib.evaluation import (
    calibrated_interval,
    calibration_curves,
    fit_temperatures,
    read_predictions,
    rescale,
)
from cxrlib.explanations import explain
from cxrlib.explanations.maps import features_of
from cxrlib.reading.report import ALPHA, KEPT, Reading
from cxrlib.training import Run, read_record
from cxrlib.training.runs import write_whole
from cxrlib.uncertainty import (
    conformal_sets,
    control_risk,
    doubt_groups,
    fit_conformal,
    highest_wrong,
    specificity,
    statements,
)

FACTORS = (1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 16.0)
FORMAT = 4
"""Raise it when ``reader.npz`` is to be made anew."""


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
    curves: np.ndarray  # [draws, L, 2], of ``calibration_curves``, from all validation patients

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
        distances = np.linalg.norm(_whitened(seen, space.location_, space.precision_), axis=1)
        return cls(
            run,
            temperatures,
            space.location_,
            space.precision_,
            float(np.quantile(distances, KEPT)),
            factor,
            fit_conformal(scores[~first], valid.truth[~first], ALPHA),
            pd.Series(highest, index=patients[~first].to_numpy()),
            calibration_curves(valid.truth, scores, patients),
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
            curves=self.curves,
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
                    kept["curves"],
                )
        except Exception:  # a damaged archive can lead to any error; it is made anew
            return None

    # --- Reading ----------------------------------------------------------------------------------

    def prepare(self, grey):
        """Grey levels uint8 [N, 1, H, W] as the model sees them: float32, 0 … 1."""
        return to_float(equalize(grey) if self.run.settings.equalize else grey)

    @torch.inference_mode()
    def read(self, grey, names=None, risk=0.1, otherwise=None):
        """A ``Reading`` of some images.

        Parameters
        ----------
        grey : uint8 tensor [N, 1, size, size], of ``read_radiograph`` with the size of the run.
        names : [N], for the rows of the tables; by default numbers.
        risk : how many of a patient's reports may say anything wrong, 0 < risk < 1.
        otherwise : [N] bool, of which images their files say that they are no frontal chest films
            (``files.is_otherwise``); they are refused, whatever the gate thinks.
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
        whitened = _whitened(embedded.numpy(), self.centre, self.precision)
        distance = np.linalg.norm(whitened, axis=1) / self.furthest
        distance = pd.Series(distance, index=raw.index, name="distance")
        threshold = control_risk(self.highest.to_numpy(), self.highest.index.to_numpy(), risk)
        said = statements(doubt_groups(scores, hierarchy, self.factor), hierarchy, threshold)
        sets = conformal_sets(scores, self.limits)
        mended = pd.DataFrame(False, index=scores.index, columns=scores.columns)
        for parent, child in hierarchy.edges:
            mended[child] |= rescaled[child] > rescaled[parent] + 1e-9
        low, high = calibrated_interval(self.curves, scores)
        otherwise = False if otherwise is None else otherwise
        otherwise = pd.Series(otherwise, index=raw.index, dtype=bool)
        told = Reading(
            scores, sets, said, distance, mended, low, high, risk, self.origin, whitened, otherwise
        )
        said[told.refused], sets[told.refused] = False, "unsure"  # nothing is promised of these
        return told

    @torch.inference_mode()
    def embed(self, grey):
        """Features [N, C], what the model's last layer sees of images: the nearer, the more alike.

        They are whitened: how far from 0 they lie is what the gate measures, and no feature counts
        more for varying more.
        """
        features = self.model.head.embed(features_of(self.model, self.prepare(grey)))
        return _whitened(features.numpy(), self.centre, self.precision)

    def maps(self, grey, labels):
        """Maps of some labels [N, len(labels), size, size], 0 … 1: what ``explain`` says."""
        method = "pointing" if hasattr(self.model.head, "shares") else "layercam"
        names = self.run.hierarchy.labels
        return explain(self.model, self.prepare(grey), labels, method, names=names).images


def _digest(run):
    return hashlib.sha256((run.folder / "best-auroc.ckpt").read_bytes()).hexdigest()[:16]


def _whitened(features, centre, precision):
    """Features [N, C] whose Euclidean length is their Mahalanobis distance from a centre."""
    return (features - centre) @ np.linalg.cholesky(precision)


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

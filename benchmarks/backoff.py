"""Does backing off up the hierarchy tell more than silence, at the same risk?

    python benchmarks/backoff.py [--seeds 3] [--splits 45]

Four policies speak about the same test images of the course's own model (configs/pointing.yaml):

- ``silence``: an observation or nothing;
- ``climbing``: what would be called climbs until it is sure enough (hierarchical selective
  classification, Goren et al. 2024);
- ``backing off``: the deepest labels that are sure enough, groups doubted more than observations
  by a factor that is chosen for each risk on the validation patients;
- ``control``: what is shown, label by label, by conformal p-values over the graph (Tyagi and Guo
  2023).

Each accepts the same risk: that on average over patients so many of their images hold any wrong
statement. The test patients are split in two at random, many times; one half sets the threshold (or
the p-values), the other is spoken about.
The models take turns. What is said of a patient is averaged over the splits in which he or she was
spoken about; an interval is a bootstrap of patients on these averages, and a difference to silence
is taken patient by patient.

``named``, ``group_only`` and ``nothing`` are shares of the true findings (``specificity``: a group
counts where it is said for itself), ``information`` counts a group by how rare it is. ``risk`` is
measured; a policy may take less than it is allowed. So there is also ``hAURC``, the area under the
hierarchical risk-coverage curve (Goren et al. 2024), lower is better: the measured risk, averaged
over the information told, from none to as much as every policy tells at its largest risk. (Theirs
goes up to everything told, of images with one label each; ``control``, which may tell nothing, has
none.) The result goes to results/backoff.json.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from common import HIERARCHY, RESULTS, provenance, rounded, versions, write_json
from tqdm import tqdm

from cxrlib import data, evaluation, training, uncertainty
from cxrlib.configs import read_config
from cxrlib.labels import OBSERVATIONS

RISKS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)
FACTORS = (1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 16.0)
MEASURES = ("named", "group_only", "nothing", "information")
POLICIES = ("silence", "climbing", "backing off", "control")
RESAMPLES = 1000


def runs_of(seeds):
    """The course's own models, one for each seed, and their track."""
    track, settings = data.open_track(data.DEFAULT_FOLDER), read_config("pointing").settings
    made = [
        training.train(track, HIERARCHY, replace(settings, seed=seed), name="pointing")
        for seed in range(seeds)
    ]
    return track, made


def calm_scores(run):
    """(validation, test) of a run, with scores rescaled by a temperature a label and coherent."""
    predictions = evaluation.read_predictions(run.folder / "predictions.csv")
    parts = [predictions.split(name) for name in ("valid", "test")]
    temperatures = evaluation.fit_temperatures(parts[0].truth, parts[0].scores)
    rescaled = [evaluation.rescale(part.scores, temperatures) for part in parts]
    return [
        replace(part, scores=HIERARCHY.make_coherent(scores, how="max"))
        for part, scores in zip(parts, rescaled, strict=True)
    ]


def policy_scores(scores, factor):
    """{policy: the scores that it compares with its threshold}; ``control`` has none."""
    return {
        "silence": uncertainty.doubt_groups(scores, HIERARCHY, np.inf),
        "climbing": uncertainty.above_called(scores, HIERARCHY),
        "backing off": uncertainty.doubt_groups(scores, HIERARCHY, factor),
    }


def choose_factor(valid, prevalence, risk):
    """How much to doubt groups at this risk: what tells most on the validation images."""
    told = {}
    for factor in FACTORS:
        scores = uncertainty.doubt_groups(valid.scores, HIERARCHY, factor)
        highest = uncertainty.highest_wrong(scores, valid.truth, HIERARCHY)
        threshold = uncertainty.control_risk(highest, valid.about["patient"], risk)
        said = uncertainty.statements(scores, HIERARCHY, threshold)
        table = uncertainty.specificity(said, valid.truth, HIERARCHY, prevalence)
        told[factor] = table["information"].mean()
    return max(told, key=told.get)


def speak(policy, scores, test, fitting, risk):
    """What a policy says of the images that are not used for fitting: bool [M, L]."""
    patients = test.about["patient"]
    if policy == "control":
        known = scores[fitting], test.truth[fitting], patients[fitting]
        return uncertainty.tree_control(*known, scores[~fitting], HIERARCHY, risk)
    highest = uncertainty.highest_wrong(scores, test.truth, HIERARCHY)
    threshold = uncertainty.control_risk(highest[fitting], patients[fitting], risk)
    return uncertainty.statements(scores[~fitting], HIERARCHY, threshold)


def by_patient(said, truth, patients, prevalence):
    """What is said of each patient: DataFrame with ``risk``, ``findings`` and sums of MEASURES."""
    wrong = (said & (HIERARCHY.close(truth) == 0)).any(axis=1)
    told = uncertainty.specificity(said, truth, HIERARCHY, prevalence)
    whose = patients.to_numpy()[told["image"]]
    named = told["told"] == told["observation"]
    sums = pd.DataFrame(
        {
            "findings": 1.0,
            "named": named.astype(float),
            "group_only": (~named & (told["told"] != "")).astype(float),
            "nothing": (told["told"] == "").astype(float),
            "information": told["information"],
        }
    )
    table = sums.groupby(whose).sum().reindex(pd.unique(patients), fill_value=0.0)
    return table.assign(risk=wrong.groupby(patients.to_numpy()).mean())


def measure(known, splits, prevalence, risks=RISKS):
    """{(risk, policy): table of ``by_patient``, the mean over the splits that spoke of each}."""
    rng, told = np.random.default_rng(0), {}
    factors = [{risk: choose_factor(v, prevalence, risk) for risk in risks} for v, _ in known]
    for number in tqdm(range(splits), desc="splits"):
        _, test = known[number % len(known)]
        patients = test.about["patient"]
        names = pd.unique(patients)
        fitting = patients.isin(rng.permutation(names)[: len(names) // 2]).to_numpy()
        for risk in risks:
            factor = factors[number % len(known)][risk]
            scores = policy_scores(test.scores, factor) | {"control": test.scores}
            for policy in POLICIES:
                said = speak(policy, scores[policy], test, fitting, risk)
                rest = test.truth[~fitting], patients[~fitting]
                told.setdefault((risk, policy), []).append(by_patient(said, *rest, prevalence))
    return {key: pd.concat(tables).groupby(level=0).mean() for key, tables in told.items()}, factors


def summarise(told, resamples=RESAMPLES):
    """Rows of means, and of differences to silence, with bootstrap intervals over patients."""
    rows = []
    for (risk, policy), table in told.items():
        base = told[risk, "silence"].reindex(table.index)
        drawn = evaluation.patient_weights(len(table), None, resamples, seed=0)
        weights = np.concatenate([np.ones((1, len(table))), drawn])
        for name in ("risk", *MEASURES):
            own, others = (_share(part, name, weights) for part in (table, base))
            row = {"risk": risk, "policy": policy, "measure": name}
            for prefix, values in (("", own), ("difference_", own - others)):
                low, high = np.quantile(values[1:], [0.025, 0.975])
                ends = {"mean": values[0], "low": low, "high": high}
                row |= {f"{prefix}{end}": float(value) for end, value in ends.items()}
            rows.append(row)
    return rows


def areas(told, resamples=RESAMPLES):
    """Rows of hAURC for each policy but ``control``, and its difference to silence."""
    curves = {}
    for policy in POLICIES[:-1]:
        tables = [told[risk, policy] for risk in sorted({risk for risk, _ in told})]
        drawn = evaluation.patient_weights(len(tables[0]), None, resamples, seed=0)
        weights = np.concatenate([np.ones((1, len(tables[0]))), drawn])
        curves[policy] = [
            np.array([_share(table, name, weights) for table in tables]).T
            for name in ("information", "risk")
        ]
    least = np.min([information.max(axis=1) for information, _ in curves.values()], axis=0)
    found = {
        policy: np.array([area(*row) for row in zip(*pair, least, strict=True)])
        for policy, pair in curves.items()
    }
    rows = []
    for policy, values in found.items():
        row = {"policy": policy, "up_to": float(least[0])}
        for prefix, of in (("", values), ("difference_", values - found["silence"])):
            low, high = np.quantile(of[1:], [0.025, 0.975])
            row |= {f"{prefix}mean": of[0], f"{prefix}low": low, f"{prefix}high": high}
        rows.append({k: v if isinstance(v, str) else float(v) for k, v in row.items()})
    return rows


def area(information, risk, up_to, points=201):
    """Mean risk over the information told, from 0 to ``up_to``; the curve starts at (0, 0)."""
    order = np.argsort(information, kind="stable")
    told, taken = np.r_[0, information[order]], np.r_[0, risk[order]]
    return np.interp(np.linspace(0, up_to, points), told, taken).mean()


def _share(table, name, weights):
    """A measure under each weighting: of the patients, or of their findings."""
    of = np.ones(len(table)) if name == "risk" else table["findings"].to_numpy()
    return weights @ table[name].to_numpy() / (weights @ of)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--splits", type=int, default=45)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    track, runs = runs_of(options.seeds)
    known = [calm_scores(run) for run in runs]
    prevalence = HIERARCHY.derive(track.split("train")[sorted(OBSERVATIONS)]).mean()
    told, factors = measure(known, options.splits, prevalence)
    content = {
        "seeds": options.seeds,
        "splits": options.splits,
        "resamples": RESAMPLES,
        "factors": [{str(risk): factor for risk, factor in one.items()} for one in factors],
        "phantom": provenance(track),
        "versions": versions(),
        "areas": areas(told),
        "rows": summarise(told),
    }
    print(write_json(options.results / "backoff.json", rounded(content)))


if __name__ == "__main__":
    main()

"""benchmarks/backoff.py: what four policies say at the same risk."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

import backoff

from cxrlib.evaluation import Predictions
from cxrlib.hierarchy import paper_hierarchy
from cxrlib.labels import OBSERVATIONS

PAPER = paper_hierarchy()


def predictions(seed=0, patients=160, sure=None):
    """Predictions of two images a patient: perfect ones, or as good as a coin with an opinion."""
    rng = np.random.default_rng(seed)
    findings = np.repeat(rng.random((patients, 14)) < 0.2, 2, axis=0)
    truth = PAPER.close(PAPER.derive(pd.DataFrame(findings * 1.0, columns=list(OBSERVATIONS))))
    about = pd.DataFrame({"patient": np.repeat(np.arange(patients), 2)})
    noise = rng.normal(size=truth.shape) if sure is None else 0
    scores = PAPER.make_coherent(1 / (1 + np.exp(2.5 - (sure or 4) * truth - noise)))
    return Predictions(about, truth, scores)


def test_a_perfect_model_tells_everything_whatever_the_policy():
    """But control over the graph, which is as strict with it as with any other."""
    made = predictions(sure=12)
    prevalence = made.truth.mean().clip(0.01, 0.99)
    told, factors = backoff.measure([(made, made)], 2, prevalence, risks=(0.1,))
    table = pd.DataFrame(backoff.summarise(told, 20)).pivot_table("mean", "policy", "measure")
    policies = ["silence", "climbing", "backing off"]
    assert (table.loc[policies, ["named", "information"]] == 1).all(axis=None)
    assert (table.loc[policies, ["nothing", "group_only", "risk"]] == 0).all(axis=None)
    assert table.loc["control", "risk"] <= 0.1
    assert factors[0][0.1] in backoff.FACTORS


def test_every_policy_keeps_its_promise():
    known = [(predictions(seed), predictions(100 + seed)) for seed in range(3)]
    prevalence = known[0][0].truth.mean().clip(0.01, 0.99)
    told, _ = backoff.measure(known, 12, prevalence, risks=(0.1, 0.3))
    rows = (
        pd.DataFrame(backoff.summarise(told, 20))
        .set_index(["risk", "policy", "measure"])
        .sort_index()
    )
    for risk in (0.1, 0.3):
        for policy in backoff.POLICIES:
            assert rows.loc[(risk, policy, "risk"), "mean"] < risk + 0.04, policy
            fates = rows.loc[(risk, policy)].loc[["named", "group_only", "nothing"], "mean"]
            assert fates.sum() == pytest.approx(1)
        assert rows.loc[(risk, "silence", "named"), "difference_mean"] == 0


def test_what_is_said_of_a_patient_by_hand():
    only = lambda *names: {name: float(name in names) for name in OBSERVATIONS}  # noqa: E731
    truth = PAPER.derive(pd.DataFrame([only("Edema"), only("Fracture"), only("No Finding")]))
    said = pd.DataFrame(False, index=truth.index, columns=truth.columns)
    said.loc[0, "Fluid Accumulation"] = said.loc[1, "Pneumothorax"] = True
    table = backoff.by_patient(said, truth, pd.Series(["a", "a", "b"]), truth.mean().clip(0.1, 0.9))
    assert table.loc["a", ["findings", "named", "group_only", "nothing"]].tolist() == [2, 0, 1, 1]
    assert table["risk"].to_dict() == {"a": 0.5, "b": 0.0}
    assert table.loc["b", "findings"] == 0


def test_shares_are_of_findings_and_risk_of_patients():
    silent = pd.DataFrame({"findings": [4.0, 0, 1], "risk": [0.5, 0, 0.1], "named": [1.0, 0, 1]})
    silent = pd.concat([silent] * 10, ignore_index=True)
    silent = silent.assign(group_only=0.0, nothing=0.0, information=silent["named"])
    more = silent.assign(named=silent["named"] + (silent["findings"] == 4))
    rows = pd.DataFrame(backoff.summarise({(0.1, "silence"): silent, (0.1, "climbing"): more}, 50))
    rows = rows.set_index(["policy", "measure"])
    assert rows.loc[("silence", "risk"), "mean"] == pytest.approx(0.2)
    assert rows.loc[("silence", "named"), "mean"] == pytest.approx(2 / 5)
    assert rows.loc[("climbing", "named"), "difference_mean"] == pytest.approx(1 / 5)
    low, high = rows.loc[("climbing", "named"), ["difference_low", "difference_high"]]
    assert low <= 1 / 5 <= high

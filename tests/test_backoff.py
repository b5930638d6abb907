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
    assert set(factors[0]) == {0.1}


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


def test_thresholds_and_factors_come_from_patients_that_are_not_spoken_of(monkeypatch):
    """The factor from the validation patients, the threshold from half of the test patients."""
    valid, test = predictions(3, patients=30), predictions(4, patients=31)
    chosen, fitted, spoken = [], [], []
    factor, control, speak = backoff.choose_factor, backoff.uncertainty.control_risk, backoff.speak

    def choose_factor(split, *args):
        chosen.append(split)
        return factor(split, *args)

    def control_risk(highest, patients, risk):
        fitted.append(set(patients))
        return control(highest, patients, risk)

    def spy(policy, scores, split, fitting, risk):
        assert split is test
        patients = split.about["patient"]
        fitted.clear()
        said = speak(policy, scores, split, fitting, risk)
        spoken.append(set(patients[~fitting]))
        assert set(patients[fitting]) & spoken[-1] == set()
        assert set(patients[fitting]) | spoken[-1] == set(patients)
        if policy != "control":
            assert fitted == [set(patients[fitting])]
        assert len(said) == (~fitting).sum()
        return said

    monkeypatch.setattr(backoff, "choose_factor", choose_factor)
    monkeypatch.setattr(backoff.uncertainty, "control_risk", control_risk)
    monkeypatch.setattr(backoff, "speak", spy)
    backoff.measure([(valid, test)], 3, test.truth.mean().clip(0.01, 0.99), risks=(0.3,))
    assert len(chosen) == 1 and chosen[0] is valid
    assert len({frozenset(one) for one in spoken}) == 3, "another half each time"
    assert len(spoken) == 3 * len(backoff.POLICIES)


def test_the_area_under_risk_and_information_by_hand():
    # The risk is twice the information told up to .2, and stays .4 from there on.
    assert backoff.area(np.array([0.2, 0.6]), np.array([0.4, 0.4]), 0.4) == pytest.approx(
        (0.2 * 0.2 + 0.2 * 0.4) / 0.4, abs=1e-3
    )


def test_who_takes_the_same_risk_for_less_has_the_larger_area():
    rng = np.random.default_rng(0)

    def table(information, risk):
        found = {"findings": 1.0, "information": information + rng.normal(0, 0.01, 60)}
        return pd.DataFrame(found | {"risk": risk + rng.normal(0, 0.01, 60)})

    told = {(r, "silence"): table(2 * r, r) for r in (0.1, 0.2)}
    told |= {(r, "climbing"): table(r, r) for r in (0.1, 0.2)}
    told |= {(r, "backing off"): table(2 * r, r) for r in (0.1, 0.2)}
    rows = pd.DataFrame(backoff.areas(told, 100)).set_index("policy")
    assert rows.loc["climbing", "difference_low"] > 0
    assert (
        rows.loc["backing off", "difference_low"] < 0 < rows.loc["backing off", "difference_high"]
    )
    assert rows["up_to"].iloc[0] == pytest.approx(0.2, abs=0.01)
    assert rows.loc["climbing", "mean"] == pytest.approx(0.1, abs=0.01)


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

"""Patients: truth that obeys the hierarchy, prevalence of a hospital, studies that follow."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cxrlib.labels import OBSERVATIONS
from cxrlib.phantom import FINDINGS, IMPLIES, draw_patient, draw_studies, draw_study


@pytest.fixture(scope="module")
def studies():
    """The studies of 3,000 patients, drawn without rendering."""
    return [s for i in range(3000) for s in draw_studies(np.random.default_rng([1, i]))]


def test_truth_obeys_the_hierarchy(studies):
    truth = pd.DataFrame([s.truth for s in studies])
    assert tuple(truth.columns) == OBSERVATIONS
    for child, parent in IMPLIES.items():
        assert (truth[child] <= truth[parent]).all(), f"{child} without {parent}"
        assert truth[child].sum() > 0
    abnormal = truth[list(FINDINGS)].drop(columns="Support Devices").any(axis=1)
    assert not (abnormal & (truth["No Finding"] == 1)).any()
    assert ((truth["No Finding"] == 1) & (truth["Support Devices"] == 1)).any()
    for s in studies:
        assert set(s.severity) == {name for name in FINDINGS if s.truth[name]}
        assert all(0 < value <= 1 for value in s.severity.values())
        assert not (s.other and s.drawn)


def test_prevalence_is_that_of_a_hospital(studies):
    share = pd.DataFrame([s.truth for s in studies]).mean()
    unlabelled = np.mean([not any(s.truth.values()) for s in studies])
    assert 0.03 < unlabelled < 0.07
    assert share.between(0.055, 0.70).all(), share
    assert 0.10 < share["No Finding"] < 0.25
    assert 0.45 < share["Lung Opacity"] < 0.70
    assert 0.35 < share["Support Devices"] < 0.60
    assert 0.25 < share["Pleural Effusion"] < 0.45


def test_studies_of_a_patient_share_the_anatomy_and_progress(studies):
    by_patient = {}
    for s in studies:
        by_patient.setdefault(s.patient.seed, []).append(s)
    counts = np.bincount([len(group) for group in by_patient.values()])
    assert counts[0] == 0 and len(counts) == 5 and (counts[1:] > 100).all()
    repeated = [group for group in by_patient.values() if len(group) > 1]
    for group in repeated:
        assert [s.number for s in group] == list(range(1, len(group) + 1))
        assert len({s.patient for s in group}) == 1
        assert len({s.seed for s in group}) == len(group)
    kept = [set(a.drawn) & set(b.drawn) for a, b in repeated_pairs(repeated) if a.drawn]
    assert np.mean([bool(k) for k in kept]) > 0.8
    assert any(a.drawn != b.drawn for a, b in repeated_pairs(repeated))


def repeated_pairs(groups):
    return [(group[0], group[1]) for group in groups]


def test_the_views_that_are_taken(studies):
    assert 0.15 < np.mean([s.projection == "PA" for s in studies]) < 0.45
    assert all(s.projection == "PA" for s in studies if s.lateral)
    assert 0.10 < np.mean([s.lateral for s in studies]) < 0.30


def test_women_hospital_and_dose_change_what_they_say():
    def patients(**controls):
        return [draw_studies(np.random.default_rng([5, i]), **controls) for i in range(300)]

    usual, women, men = patients(), patients(women=1.0), patients(women=0.0)
    assert {s.patient.sex for group in women for s in group} == {"Female"}
    assert {s.patient.sex for group in men for s in group} == {"Male"}
    first, second = ([group[0] for group in some] for some in (usual, patients(hospital=2)))
    assert np.mean([s.gamma for s in second]) > np.mean([s.gamma for s in first])
    assert {s.marker[0] for s in second} == {"R"} != {s.marker[0] for s in first}
    for study, brighter in zip(first, (g[0] for g in patients(dose=4.0)), strict=True):
        assert brighter == replace(study, photons=4 * study.photons)


def test_a_finding_that_cannot_be_drawn_is_named():
    rng = np.random.default_rng(0)
    study = draw_study(rng, draw_patient(rng), 1)
    with pytest.raises(ValueError, match="'Fractures': 0.5"):
        replace(study, drawn={"Fractures": 0.5})
    with pytest.raises(ValueError, match=r"'Fracture': 1\.5.*at most 1"):
        replace(study, drawn={"Fracture": 1.5})
    with pytest.raises(ValueError, match="other='cold'"):
        replace(study, other="cold")

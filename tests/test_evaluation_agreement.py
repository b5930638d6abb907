import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score, precision_score, recall_score

from cxrlib.evaluation import EvaluationError, agreement, reader_agreement


def two_tables(rows=300, seed=0):
    rng = np.random.default_rng(seed)
    truth = pd.DataFrame(rng.integers(0, 2, (rows, 2)) * 1.0, columns=["a", "b"])
    labels = truth.where(rng.random((rows, 2)) > 0.3, 1 - truth)
    return truth, labels


def test_the_measures_are_scikit_learns():
    truth, labels = two_tables()
    truth.iloc[:7, 0], labels.iloc[5:9, 0] = np.nan, np.nan
    found = agreement(truth, labels, resamples=10)
    for name in truth:
        known = truth[name].notna() & labels[name].notna()
        pair = truth.loc[known, name], labels.loc[known, name]
        assert found.loc[name, "positives"] == pair[0].sum()
        assert found.loc[name, "sensitivity"] == pytest.approx(recall_score(*pair))
        assert found.loc[name, "precision"] == pytest.approx(precision_score(*pair))
        assert found.loc[name, "kappa"] == pytest.approx(cohen_kappa_score(*pair))


def test_intervals_resample_patients():
    truth, labels = two_tables(100)
    copied = pd.concat([truth] * 4, ignore_index=True), pd.concat([labels] * 4, ignore_index=True)
    patients = np.tile(np.arange(100), 4)
    alone, by_patient = agreement(truth, labels), agreement(*copied, patients)
    pd.testing.assert_frame_equal(alone, by_patient.assign(positives=by_patient["positives"] // 4))
    by_image = agreement(*copied)
    width = [t["kappa_high"] - t["kappa_low"] for t in (by_patient, by_image)]
    assert (width[0] > 1.5 * width[1]).all(), "four copies of an image tell no more than one"


def test_what_never_occurs_has_no_measures():
    truth, labels = two_tables()
    found = agreement(truth.assign(a=0.0), labels.assign(a=0.0))
    assert found.loc["a"].drop("positives").isna().all()


def readings(rows):
    index = pd.MultiIndex.from_product([range(len(rows)), ["R1", "R2", "R3"]])
    return pd.DataFrame({"x": np.ravel(rows).astype(float)}, index=index)


def test_readers_by_hand():
    found = reader_agreement(readings([[1, 1, 0], [0, 0, 0], [1, 1, 1], [0, 0, 1]]), resamples=10)
    # 24 ordered pairs: 8 say yes twice, 8 no twice, 4 and 4 differ; each says yes in half of them.
    assert found.loc["x", ["any", "all"]].tolist() == [3, 1]
    assert found.loc["x", "kappa"] == pytest.approx((16 / 24 - 0.5) / 0.5)


def test_two_readers_are_cohens_kappa_of_both_orders():
    truth, labels = two_tables()
    both = pd.concat([truth, labels], keys=["R1", "R2"]).swaplevel().sort_index()
    found = reader_agreement(both, resamples=10)
    for name in truth:
        one, other = truth[name], labels[name]
        expected = cohen_kappa_score(pd.concat([one, other]), pd.concat([other, one]))
        assert found.loc[name, "kappa"] == pytest.approx(expected)


def test_what_cannot_be_compared_is_named():
    truth, labels = two_tables()
    with pytest.raises(EvaluationError, match="truth, row 0, label 'a': 2 is not 0, 1 or NaN"):
        agreement(truth.assign(a=2.0), labels)
    with pytest.raises(EvaluationError, match="different row indexes"):
        agreement(truth, labels.sample(frac=1, random_state=0))
    with pytest.raises(EvaluationError, match=r"level=95"):
        agreement(truth, labels, level=95)


def test_readings_that_cannot_be_paired_are_named():
    rows = readings([[1, 1, 0], [0, 0, 0]])
    blank = rows.copy()
    blank.loc[(0, "R2"), "x"] = np.nan
    for table, message in [
        (rows.iloc[:4], "the image 1 has one reader only"),
        (pd.concat([rows, rows.iloc[:1]]), "R1 reads the image 0 twice"),
        (blank, "R2 left a finding of 0 blank"),
        (rows.droplevel(1), r"expected an index of \(image, reader\)"),
    ]:
        with pytest.raises(EvaluationError, match=message):
            reader_agreement(table)

"""benchmarks/pipeline.py: a gate, an ensemble, temperatures, and a promise."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

import pipeline
from pipeline import Answers, Stream, answer, choose_threshold

LABELS = len(pipeline.SEEN)


def made(patients=120, seed=0, flip=0.3, far=0):
    """A stream of two images a patient: scores that lean to the truth, some images far away."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((2 * patients, LABELS)) < 0.3).astype(float)
    scores = torch.full((3, len(truth), 21), 0.2)
    lean = np.where(rng.random((3, *truth.shape)) < flip, 1 - truth, truth)
    size = rng.random((3, *truth.shape)) * 0.49
    scores[..., pipeline.doubts.PLACES] = torch.tensor(
        0.5 + np.where(lean == 1, 1, -1) * size, dtype=torch.float32
    )
    distances = rng.random((3, len(truth))) + 1
    distances[:, :far] = 9
    return Stream(scores, distances, truth, np.arange(2 * patients) // 2)


def test_a_threshold_by_hand():
    # Four patients, one image and two labels each; a wrong answer costs 1/2 of an image.
    wrong = np.array([[0, 1], [0, 0], [0, 1], [0, 0]], dtype=float)
    doubt = np.array([[0.1, 0.2], [0.1, 0.3], [0.2, 0.4], [0.3, 0.45]])
    # (loss + 1) / 5: 0.2 with no wrong answer, 0.3 from a doubt of 0.2 on, 0.4 from 0.4 on.
    patients = np.arange(4)
    given = [choose_threshold(Answers(wrong, doubt), patients, a) for a in (0.1, 0.2, 0.3, 0.4)]
    assert given == [-np.inf, 0.1, 0.3, 0.45]


def test_patients_with_many_images_count_once():
    wrong, doubt = np.array([[1.0], [0.0], [0.0]]), np.array([[0.3], [0.1], [0.2]])
    # The wrong answer is half of patient 0: (1/2 + 1) / 3.
    assert choose_threshold(Answers(wrong, doubt), np.array([0, 0, 1]), 0.5) == 0.3
    assert choose_threshold(Answers(wrong, doubt), np.array([0, 0, 1]), 0.49) == 0.2


def test_a_refused_image_is_never_answered_and_unknown_truth_never_counts():
    wrong = np.array([[0.0], [0.0], [np.nan]])
    doubt = np.array([[0.1], [1.0], [0.2]])
    assert choose_threshold(Answers(wrong, doubt), np.arange(3), 0.5) == 0.2


def test_the_promise_is_kept_on_average_over_draws():
    everyone, risks = made(600, flip=0.25), []
    asked = answer("one model", [0], everyone, everyone)[0]
    rng = np.random.default_rng(1)
    for _ in range(60):
        seen = np.isin(everyone.patients, rng.permutation(600)[:60])
        calm = Answers(asked.wrong[seen], asked.doubt[seen])
        limit = choose_threshold(calm, everyone.patients[seen], 0.05)
        risks.append((asked.wrong[~seen] * (asked.doubt[~seen] <= limit)).mean())
    assert np.mean(risks) <= 0.05
    assert np.mean(risks) > 0.02, "and it is used, not wasted"


def test_the_gate_lets_through_what_it_should():
    valid, stream = made(), made(seed=1, far=24)
    refused = pipeline.gate(valid.distances, stream.distances)
    assert refused[0].mean() == pytest.approx(1 - pipeline.KEPT, abs=1 / len(refused[0]))
    assert refused[1][:24].all()
    before, after = (answer(s, [0, 1, 2], valid, stream)[1] for s in ("temperature", "gate"))
    assert (after.doubt[refused[1]] == 1).all()
    np.testing.assert_array_equal(after.doubt[~refused[1]], before.doubt[~refused[1]])


def test_parts_that_should_gain_do():
    valid, stream = made(), made(seed=1, far=24)
    stream.truth[:24] = -1  # what is far away has no right answer
    rows = {(r["stage"], r["measure"]): r for r in pipeline.measure(valid, stream, 20)}
    assert rows["ensemble", "error rate"]["difference_high"] < 0
    assert rows["gate", "risk at 80%"]["difference_high"] < 0
    assert rows["one model", "refused"]["mean"] == 0
    assert rows["gate", "refused"]["mean"] == pytest.approx(
        pipeline.gate(valid.distances, stream.distances)[1].mean()
    )
    gives = rows["temperature", "missed"]["mean"], rows["temperature", "false alarms"]["mean"]
    shares = (stream.truth == 1).mean(), (stream.truth == 0).mean()
    wrong_of_odd = rows["temperature", "risk"]["mean"] - np.dot(gives, shares)
    assert 0 <= wrong_of_odd <= (stream.truth == -1).mean() + 1e-9
    assert rows["gate", "coverage"]["mean"] < 1 - rows["gate", "refused"]["mean"] + 1e-9


def test_a_promise_breaks_where_there_are_more_errors_than_it_was_made_with():
    valid, stream = made(flip=0.15), made(seed=1, flip=0.45)
    rows = {(r["stage"], r["measure"]): r["mean"] for r in pipeline.measure(valid, stream, 5)}
    own = {(r["stage"], r["measure"]): r["mean"] for r in pipeline.measure(valid, valid, 5)}
    for stage in pipeline.STAGES:
        assert own[stage, "risk"] <= pipeline.ALPHA
        assert rows[stage, "risk"] > 1.5 * pipeline.ALPHA

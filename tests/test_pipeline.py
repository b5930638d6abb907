"""benchmarks/pipeline.py: a gate, an ensemble, temperatures, and a promise."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

import pipeline
from pipeline import Answers, Stream, choose_limits, choose_threshold, given, program

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
    limits = [choose_threshold(wrong, doubt, patients, a) for a in (0.1, 0.2, 0.3, 0.4)]
    assert limits == [-np.inf, 0.1, 0.3, 0.45]


def test_patients_with_many_images_count_once():
    wrong, doubt = np.array([[1.0], [0.0], [0.0]]), np.array([[0.3], [0.1], [0.2]])
    # The wrong answer is half of patient 0: (1/2 + 1) / 3.
    assert choose_threshold(wrong, doubt, np.array([0, 0, 1]), 0.5) == 0.3
    assert choose_threshold(wrong, doubt, np.array([0, 0, 1]), 0.49) == 0.2


def test_a_refused_image_is_never_answered_and_unknown_truth_never_counts():
    wrong = np.array([[0.0], [0.0], [np.nan]])
    doubt = np.array([[0.1], [1.0], [0.2]])
    # Two patients can be judged: (0 + 1) / 3 of one, more than 0.3.
    assert choose_threshold(wrong, doubt, np.arange(3), 0.34) == 0.1
    assert choose_threshold(wrong, doubt, np.arange(3), 0.3) == -np.inf


def test_every_patient_counts_as_one():
    """A patient with one image and one question, and one with three images of one to three."""
    judged = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 0, 0]], dtype=bool)
    each = pipeline.shares(judged, np.array([7, 8, 8, 8, 8]))
    np.testing.assert_allclose(each[:, 0], [1, 1 / 3, 1 / 6, 1 / 9, 0])
    assert each.sum() == pytest.approx(2)


def test_no_finding_is_on_neither_side():
    truth = np.ones((2, LABELS))
    truth[1] = 0
    for side in (0, 1):
        on = pipeline.on_side(truth, side)
        assert on.sum() == LABELS - 1
        assert not on[:, pipeline.SEEN.index("No Finding")].any()


def test_a_promise_is_to_patients_not_to_findings():
    """Those with many findings, of whom more are missed, do not count the more for it."""
    rng, found = np.random.default_rng(2), []
    truth = np.where(np.arange(400)[:, None] % 2, rng.random((400, LABELS)) < 0.9, 0.0)
    truth[np.arange(0, 400, 2), 1] = 1  # every other patient has one finding alone
    lost = (truth == 1) & (
        rng.random(truth.shape) < np.where(np.arange(400) % 2, 0.5, 0.05)[:, None]
    )
    asked = Answers((truth == 1) & ~lost, rng.random(truth.shape) * 0.5, truth)
    for _ in range(40):
        seen = np.isin(np.arange(400), rng.permutation(400)[:200])
        known, rest = (
            Answers(asked.present[part], asked.doubt[part], truth[part]) for part in (seen, ~seen)
        )
        said = given(rest, choose_limits("to each side", known, np.arange(400)[seen], 0.1))
        each = pipeline.shares(pipeline.on_side(rest.truth, 1), np.arange(400)[~seen])
        found.append((each * rest.wrong * said).sum() / each.sum())
    assert 0.07 < np.mean(found) <= 0.1


def test_answers_are_judged_by_hand():
    truth = np.array([[1.0, 0.0, np.nan, -1.0]])
    answers = Answers(np.array([[False, False, True, True]]), np.zeros((1, 4)), truth)
    np.testing.assert_array_equal(answers.wrong, [[1, 0, np.nan, 1]])


def test_a_promise_to_each_side_by_hand():
    # Three patients: "absent" of a finding that is there at a doubt of .2, "present" of one that is
    # not at .4; all other answers are right.
    truth, present = np.full((3, LABELS), np.nan), np.zeros((3, LABELS), bool)
    doubt = np.full((3, LABELS), 0.5)
    truth[:, :2] = [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]
    present[:, :2] = [[True, False], [False, False], [True, True]]
    doubt[:, :2] = [[0.1, 0.1], [0.2, 0.1], [0.3, 0.4]]
    known = Answers(present, doubt, truth)
    limits = [choose_limits("to each side", known, np.arange(3), alpha) for alpha in (0.25, 0.5)]
    # Each side has three patients with one question each: 1/4 without an error, 2/4 with one. With
    # .25 "absent" stops before the miss at .2, and "present" before the alarm at .4.
    assert limits == [(0.1, 0.1), (0.3, 0.4)]
    said = given(known, (0.1, 0.4))[:, :2]
    assert said.tolist() == [[True, True], [False, True], [True, True]]


def test_promises_are_kept_on_average_over_draws():
    """One for all, and to each side; and they are used, not wasted."""
    everyone, found = made(600, flip=0.25), []
    asked = program("one model", [0], everyone)(everyone)
    rng = np.random.default_rng(1)
    for _ in range(60):
        seen = np.isin(everyone.patients, rng.permutation(600)[:200])
        known, rest = (
            Answers(asked.present[part], asked.doubt[part], asked.truth[part])
            for part in (seen, ~seen)
        )
        row = []
        for promise in pipeline.PROMISES:
            said = given(rest, choose_limits(promise, known, everyone.patients[seen]))
            sides = [rest.wrong[rest.truth == side] * said[rest.truth == side] for side in (0, 1)]
            row += [(rest.wrong * said).mean(), *(side.mean() for side in sides)]
        found.append(row)
    overall, alarms, missed = np.mean(found, axis=0)[:3]
    assert 0.015 < overall <= pipeline.ALPHA
    for side in np.mean(found, axis=0)[4:]:
        assert 0.012 < side <= pipeline.ALPHA + 0.001
    assert max(alarms, missed) < 2 * pipeline.ALPHA, "here both kinds of errors are as frequent"


def test_one_promise_for_all_is_kept_at_the_expense_of_rare_findings():
    """A program that calls everything absent: right 49 times in 50, wrong about all the sick."""
    valid = made(300, flip=0)
    rare = (np.random.default_rng(5).random(valid.truth.shape) < 0.02).astype(float)
    scores = torch.full_like(valid.scores, 0.1)
    blind = Stream(scores, valid.distances, rare, valid.patients)
    found = pipeline.figures("one model", [0], blind, blind, np.ones((1, len(rare))))
    assert found["one for all", "missed"][0] == 1
    assert found["to each side", "missed"][0] == 0


def test_thresholds_are_chosen_on_patients_that_nothing_was_tuned_on():
    valid = made(60)
    tuning, fitting = pipeline.halves(valid)
    assert not set(tuning.patients) & set(fitting.patients)
    assert set(tuning.patients) | set(fitting.patients) == set(valid.patients)
    assert len(tuning.truth) == len(fitting.truth) == 60
    seen = []
    original = pipeline.choose_limits
    try:
        pipeline.choose_limits = lambda promise, known, patients: (
            seen.append(set(patients)) or original(promise, known, patients)
        )
        pipeline.figures("gate", [0, 1], valid, made(30, seed=3), np.ones((1, 60)))
    finally:
        pipeline.choose_limits = original
    assert seen == [set(fitting.patients)] * 2


def test_temperatures_calm_an_over_sure_label():
    valid = made(300, flip=0.3)
    logits = torch.logit(valid.scores.clamp(1e-4, 1 - 1e-4)) * 5
    sure = Stream(torch.sigmoid(logits), valid.distances, valid.truth, valid.patients)
    before, after = (program(stage, [0], sure)(sure) for stage in ("ensemble", "temperature"))
    assert after.doubt.mean() > before.doubt.mean() + 0.1
    np.testing.assert_array_equal(after.present, before.present)


def test_the_gate_lets_through_what_it_should():
    valid, stream = made(), made(seed=1, far=24)
    own = program("gate", [0, 1, 2], valid)(valid)
    assert (own.doubt == 1).all(axis=1).mean() == pytest.approx(1 - pipeline.KEPT, abs=1 / 240)
    before, after = (program(s, [0, 1, 2], valid)(stream) for s in ("temperature", "gate"))
    assert (after.doubt[:24] == 1).all()
    refused = (after.doubt == 1).all(axis=1)
    np.testing.assert_array_equal(after.doubt[~refused], before.doubt[~refused])


def test_parts_that_should_gain_do():
    valid, stream = made(), made(400, seed=1, far=80)
    stream.truth[:80] = -1  # what is far away has no right answer
    rows = {
        (r["stage"], r["promise"], r["measure"]): r
        for r in pipeline.measure(valid, stream, 20, draws=3)
    }
    assert rows["ensemble", "", "error rate"]["difference_high"] < 0
    assert rows["gate", "", "risk at 80%"]["difference_high"] < 0
    assert rows["one model", "", "refused"]["mean"] == 0
    assert 80 / 800 <= rows["gate", "", "refused"]["mean"] < 0.2
    for promise in pipeline.PROMISES:
        of = {name: rows["temperature", promise, name]["mean"]
              for name in ("missed", "false alarms", "risk")}  # fmt: skip
        assert min(of.values()) >= 0 and max(of.values()) < 0.2
        row = rows["gate", promise, "coverage"]
        assert row["mean"] < 1 - rows["gate", "", "refused"]["mean"] + 1e-9
        assert row["draws_low"] < row["mean"] + 0.1 and row["draws_high"] > row["mean"] - 0.1


def test_a_promise_breaks_where_there_are_more_errors_than_it_was_made_with():
    valid, stream = made(300, flip=0.15), made(seed=1, flip=0.45)
    rows, own = (
        {(r["stage"], r["promise"], r["measure"]): r["mean"]
         for r in pipeline.measure(valid, asked, 5, draws=1)}
        for asked in (stream, made(300, seed=2, flip=0.15))
    )  # fmt: skip
    for stage in pipeline.STAGES:
        assert own[stage, "one for all", "risk"] <= pipeline.ALPHA + 0.01
        for promise in pipeline.PROMISES:
            assert rows[stage, promise, "risk"] > 1.5 * pipeline.ALPHA

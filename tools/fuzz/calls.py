"""Functions that take tables, images and numbers: one argument of a valid call is spoilt.

To add a function, add a line to ``EVALUATE`` or ``EXPLAIN``: its name and its arguments, ``name``
or ``name=kind`` with a kind of ``sample()``. A new kind of number needs a line in ``ODD_NUMBERS``.
"""

import copy
import functools

import numpy as np
import pandas as pd

from .harness import INF, NAN, Case, cxr, pick, target

EVALUATE = """
    evaluation.evaluate truth scores groups resamples level
    evaluation.evaluate truth scores groups resamples level
    evaluation.compare truth ours=scores others=scores groups resamples level
    evaluation.subgroups truth scores by groups resamples level minimum
    evaluation.measures truth scores=p hierarchy bins
    evaluation.calibration truth scores=p bins
    evaluation.reliability truth=one_truth scores=one_p bins
    evaluation.fit_temperatures truth scores=p
    evaluation.rescale scores=p temperatures
    evaluation.at_threshold truth scores threshold
    evaluation.hierarchical_f1 truth scores hierarchy threshold
    penalties.data_driven_penalties hierarchy labels=truth epsilon scale
"""
EXPLAIN = """
    uncertainty.fit_conformal scores=p truth alpha groups
    uncertainty.conformal_sets scores=p limits
    uncertainty.is_covered sets truth
    uncertainty.doubt_groups scores=p hierarchy factor
    uncertainty.statements scores=p hierarchy threshold
    uncertainty.highest_wrong scores=p truth hierarchy
    uncertainty.control_risk highest patients alpha
    uncertainty.specificity said truth hierarchy prevalence
    uncertainty.risk_coverage wrong doubt
    uncertainty.mc_dropout model images passes
    uncertainty.augmented_passes model images passes
    uncertainty.embed model images
    explanations.explain model images method finer
    explanations.deletion_insertion model images maps label steps
    explanations.localisation maps masks threshold
    explanations.best_threshold maps masks
    hierarchy.Hierarchy.derive self=hierarchy observations
    hierarchy.Hierarchy.close self=hierarchy targets=observed
    hierarchy.Hierarchy.violations self=hierarchy scores=loose threshold
    hierarchy.Hierarchy.make_coherent self=hierarchy scores how
    labels.apply_policy codes uncertain blank soft
"""
ODD_NUMBERS = {  # what each argument must not be
    "level": (0, 1, 95, NAN, -0.1, "0.9", None), "resamples": (-1, 1.5, NAN, "10"),
    "bins": (0, -1, 2.5, NAN, 10**6, "10", None), "threshold": (NAN, "0.5"),
    "minimum": (-1, NAN, "2", None), "alpha": (0, 1, -1, NAN, INF, "0.1", None),
    "factor": (0, NAN, -INF, "2", None), "passes": (0, 1.5, True, NAN, "3", None),
    "steps": (0, -1, 1.5, 10**5, NAN, "3", None), "epsilon": (0, -1, NAN, "1", None),
    "scale": (NAN, INF, -1, "1", None), "method": ("", "cam", None, 5, []),
    "finer": (-1, 9, 1.5, True, "1", None), "label": ("", "edema", None, 5, []),
    "how": ("", "mean", None, 5, []), "uncertain": ("", "u-ones", None, 5, []),
    "blank": (1, "x", -1, INF, None), "soft": (2, -1, (0.5,), (1, 0), "x", NAN, (NAN, 1), None),
}  # fmt: skip
ODD_CELLS = {  # what a table must not hold; every other of these values it may
    "truth": (2, -2, 0.5, INF), "codes": (2, -2, 0.5, INF), "loose": (), "scores": (NAN, INF),
    "p": (NAN, INF, -INF, 2, -2), "observations": (2, -2, INF, -INF), "observed": (2, -2, INF, -INF)
}  # fmt: skip


@functools.cache
def sample():
    """A valid argument of every kind."""
    import torch

    rng, leaves = np.random.default_rng(1), ["Edema", "Consolidation", "Pneumonia", "Fracture"]
    hierarchy = cxr("hierarchy").Hierarchy([*leaves, "Fluid"], [("Fluid", n) for n in leaves[:3]])
    truth = hierarchy.derive(pd.DataFrame(rng.integers(0, 2, (40, 4)), columns=leaves))
    p = hierarchy.to_table(rng.random((40, 5)))
    p["Fluid"] = p.max(axis=1)  # so that it is coherent
    groups, limits = pd.Series(np.arange(40) // 2), cxr("uncertainty").fit_conformal(p, truth)
    return {
        "truth": truth, "codes": truth, "observed": truth, "observations": truth[leaves],
        "scores": p * 3 - 1, "p": p, "loose": p, "said": p > 0.5, "one_p": p["Edema"],
        "groups": groups, "by": groups % 2, "patients": groups, "hierarchy": hierarchy,
        "limits": limits, "sets": cxr("uncertainty").conformal_sets(p, limits),
        "temperatures": pd.Series(2.0, p.columns), "prevalence": truth.mean(),
        "highest": pd.Series(rng.random(40)), "wrong": pd.Series(rng.random(40) > 0.5),
        "doubt": pd.Series(rng.random(40)), "one_truth": truth["Edema"],
        "images": torch.from_numpy(rng.random((2, 1, 32, 32), dtype=np.float32)),
        "maps": rng.random((2, 32, 32)), "masks": rng.random((2, 32, 32)) > 0.8,
        "model": cxr("models").build("tiny").eval(), "label": "Edema", "level": 0.9,
        "resamples": 10, "bins": 5, "threshold": 0.5, "minimum": 2, "alpha": 0.2, "factor": 2.0,
        "passes": 2, "steps": 2, "epsilon": 1e-6, "scale": 1.0, "method": "gradcam", "finer": 0,
        "how": "max", "uncertain": "U-Soft", "blank": 0.0, "soft": 0.5,
    }  # fmt: skip


def odd_table(table, kind, rng):
    """(what, table, verdict): "same" is for what may be refused, or answered as if it were well."""
    column, bad = pick(rng, list(table.columns)), ODD_CELLS.get(kind, ())
    kinds = {
        "shuffled": table.iloc[rng.permutation(len(table))], "turned": table[table.columns[::-1]],
        "twice": pd.concat([table, table[[column]]], axis=1), "gone": table.drop(columns=column),
        "empty": table.iloc[:0], "object": table.astype(object), "nothing": table[[]],
        "text": table.astype(object), "index": table.set_axis(range(7, 7 + len(table))),
        "half": table.iloc[: len(table) // 2],
    }  # fmt: skip
    kinds["text"].iloc[0, table.columns.get_loc(column)] = "x"
    what = pick(rng, ("cell",) * 8 + tuple(kinds))
    if what == "cell":
        value = pick(rng, (NAN, INF, -INF, 2, -2, 0.5))
        table = table.astype(float if table[column].dtype.kind in "fiub" else object)
        table.iloc[int(rng.integers(len(table))), table.columns.get_loc(column)] = value
        return f"{value} in {column}", table, "refuse" if value in bad else "either"
    if what in ("text", "twice") and kind in ODD_CELLS:
        return what, kinds[what], "refuse"
    harmless = what in ("shuffled", "turned", "object", "index")
    return what, kinds[what], "same" if harmless else "either"


def odd_series(series, kind, rng):
    last = series.astype(object).where(series.index != series.index[-1], None)
    kinds = {"shuffled": series.iloc[rng.permutation(len(series))], "short": series.iloc[1:],
             "blank": last, "word": "x", "empty": series.iloc[:0]}  # fmt: skip
    what = pick(rng, tuple(kinds))
    may = kind in ("by", "one_truth") and what == "blank"
    return what, kinds[what], "same" if what == "shuffled" else "either" if may else "refuse"


def odd_array(array, kind, rng):
    numpy, nan = isinstance(array, np.ndarray), copy.deepcopy(array)
    nan[0, ..., 0] = NAN if kind != "masks" else False
    kinds = {"NaN": nan, "flat": array[0], "none": array[:0], "narrow": array[..., :8],
             "whole": array.astype(int) if numpy else (array * 255).byte(),
             "double": array.astype("float16") if numpy else array.double(),
             "list": array.tolist()}  # fmt: skip
    what = pick(rng, tuple(kinds))
    refused = what in ("flat", "none") or (what == "NaN" and kind != "masks")
    return what, kinds[what], "refuse" if refused else "either"


def differs(got, want):
    """Whether two answers say other things; the order of rows and columns says nothing."""
    if hasattr(want, "__dataclass_fields__"):
        return any(differs(getattr(got, name), getattr(want, name)) for name in vars(want))
    if isinstance(want, pd.DataFrame) and set(got.columns) == set(want.columns):
        got = got[want.columns]
    if isinstance(want, pd.DataFrame | pd.Series) and set(got.index) == set(want.index):
        got = got.reindex(want.index)
    got, want = np.asarray(got), np.asarray(want)
    if got.shape != want.shape or want.dtype.kind not in "fiub":
        return got.tolist() != want.tolist()
    return not np.allclose(got.astype(float), want.astype(float), equal_nan=True)


def auroc_wrong(result, truth, scores):
    """AUROCs against a count of all pairs."""
    for name in truth:
        y, s = truth[name].astype(float), scores[name].loc[truth.index].astype(float)
        pairs = np.subtract.outer(s[y == 1].to_numpy(), s[y == 0].to_numpy())
        want = ((pairs > 0) + (pairs == 0) / 2).mean() if pairs.size else NAN
        if differs(result.per_label.loc[name, "auroc"], want):
            return f"{name}: AUROC {result.per_label.loc[name, 'auroc']}, expected {want}"


def called(functions, rng):
    function, *words = pick(rng, functions.strip().splitlines()).split()
    kinds = dict((word.split("=") * 2)[:2] for word in words)
    good = {name: sample()[kind] for name, kind in kinds.items()}
    name = pick(rng, [name for name in kinds if kinds[name] not in ("hierarchy", "model")])
    kind, tables = kinds[name], [n.rstrip("s") for n in kinds if hasattr(good[n], "shape")]
    if kind in ODD_NUMBERS:
        odd, verdict, mentions = pick(rng, ODD_NUMBERS[kind]), "refuse", [name, "policy"]
        what = repr(odd)
    else:
        spoil = {pd.DataFrame: odd_table, pd.Series: odd_series}.get(type(good[name]), odd_array)
        what, odd, verdict = spoil(good[name], kind, rng)
        mentions = [*tables, "row", "table", *sample()["p"].columns]
    module, *path = function.split(".")
    call, spoilt = functools.reduce(getattr, path, cxr(module)), good | {name: odd}

    def wrong(answer):
        if function == "evaluation.evaluate":
            return auroc_wrong(answer, spoilt["truth"], spoilt["scores"])
        if verdict == "same" and differs(answer, call(**good)):
            return "another answer than to the same in order"

    return Case(f"{function}: {name}: {what}", functools.partial(call, **spoilt),
                rf"\b({'|'.join(mentions)})s?\b", wrong,
                "either" if verdict == "same" else verdict)  # fmt: skip


@target(3000)
def evaluate(rng, place):
    return called(EVALUATE, rng)


@target(2000)
def explain(rng, place):
    return called(EXPLAIN, rng)

"""What each way of making scores coherent leaves broken, changes and takes.

    python benchmarks/coherence.py [--images 10000]

The paper's hierarchy with two exclusions (No Finding with Abnormal, and with Uncertain), on scores
drawn at random and on the test scores of the course's model (notebook 05's "paper-loss", trained or
found). Beside ours stands PiShield 1.0.0 (Stoian et al., IJCAI 2024), which repairs predictions for
any propositional rules, in each of its orderings: if it is installed, ``pip install --no-deps
pishield==1.0.0``; the course does without. With it results/coherence.json is
written, whose rows notebook 03 shows; without it nothing is.
"""

import argparse
import contextlib
import io
import tempfile
import time
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from common import HIERARCHY, RESULTS, rounded, write_json
from torch import nn

from cxrlib import cohort, configs, data, training
from cxrlib.evaluation import evaluate, read_predictions
from cxrlib.hierarchy import Hierarchy
from cxrlib.hierarchy.dag import ROUNDING
from cxrlib.losses import Conditional, MaxConstraint, NeverBoth

EXCLUDED = [["No Finding", "Abnormal"], ["No Finding", "Uncertain"]]
RULES = Hierarchy(HIERARCHY.labels, HIERARCHY.edges, HIERARCHY.none_of, EXCLUDED)
PAIRS = Hierarchy(RULES.labels, (), never_both=EXCLUDED)
PARENTS, CHILDREN = HIERARCHY.edge_positions
ORDERINGS = ("degree", "closeness", "betweenness")


def shields():
    """PiShield's layers by the name of their ordering; none where it is not installed."""
    try:
        from pishield.shield_layer import build_shield_layer
    except ImportError:
        print("PiShield is not installed: its rows are left out.")
        return {}
    place = {label: f"y_{k}" for k, label in enumerate(RULES.labels)}
    rules = [f"{place[parent]} or not {place[child]}" for parent, child in RULES.edges]
    rules += [f"not {place[a]} or not {place[b]}" for a, b in RULES.never_both]
    layers = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        file = Path(folder) / "rules.txt"
        file.write_text("\n".join(rules))
        for ordering in ORDERINGS:
            layers[f"PiShield, {ordering}"] = build_shield_layer(
                len(place), str(file), ordering, requirements_type="propositional"
            )
    return layers


def ways():
    """name → a function from scores [N, L], a DataFrame, to scores."""
    made = {"as predicted": lambda scores: scores}
    for how in ("max", "min", "projection"):
        made[how] = lambda scores, how=how: RULES.make_coherent(scores, how)

    def by_module(module):
        def read(scores):
            with torch.inference_mode():
                return RULES.to_table(module(torch.from_numpy(np.array(scores))).numpy())

        return read

    for name, readout in {"max-constraint": MaxConstraint, "conditional": Conditional}.items():
        module = nn.Sequential(readout(RULES), NeverBoth(RULES))
        made[f"{name} readout"] = lambda scores, module=module: by_module(module)(
            np.log(scores) - np.log1p(-scores)
        )
    return made | {name: by_module(layer) for name, layer in shields().items()}


def measure(way, scores):
    """What is broken after ``way``, how far it moved the scores, and its seconds."""
    start = time.perf_counter()
    repaired = way(scores)
    seconds = time.perf_counter() - start
    values = repaired.to_numpy()
    above = values[:, CHILDREN] - values[:, PARENTS]
    return repaired, {
        # A rounding error is no contradiction: some repairs reach a tie as 1 − (1 − x).
        "an edge, any threshold": float((above > ROUNDING).any(axis=1).mean()),
        "a pair above 1": float(PAIRS.incoherent(repaired).mean()),
        "anything at 0.5": float(RULES.incoherent(repaired, 0.5).mean()),
        "moved": float((repaired - scores).abs().mean(axis=None)),
        "seconds per 10,000": seconds * 10_000 / len(scores),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000, help="random rows of scores")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    drawn = np.random.default_rng(0).uniform(0.001, 0.999, (options.images, len(RULES.labels)))

    workshop = configs.read_config("workshop").settings
    settings = replace(workshop, method="hbce-step", penalties="data-driven")
    run = training.train(data.open_track(), HIERARCHY, settings, name="paper-loss")
    test = read_predictions(run.folder / "predictions.csv").split("test")

    rows = []
    for kind, scores in {"random": RULES.to_table(drawn), "model": test.scores}.items():
        for name, way in ways().items():
            repaired, row = measure(way, scores.clip(1e-6, 1 - 1e-6))
            if kind == "model":
                auroc = evaluate(test.truth, repaired).summary["macro_auroc_observations"]
                row["macro AUROC"] = float(auroc)
            rows.append({"scores": kind, "way": name} | row)
            print(rows[-1])
    if not any(row["way"].startswith("PiShield") for row in rows):
        raise SystemExit("Without PiShield's rows nothing is stored: notebook 03 speaks of them.")
    content = {
        "images": {"random": len(drawn), "model": len(test.scores)},
        "phantom": {"generator": cohort.generator_version()},
        "never_both": EXCLUDED,
        "model": run.folder.name,
        "versions": {name: metadata.version(name) for name in ("cxrlib", "torch", "pishield")},
        "rows": rounded(rows),
    }
    print(write_json(options.results / "coherence.json", content))


if __name__ == "__main__":
    main()

"""Deriving the paper's 21 labels: whole columns at once against one row at a time.

    python benchmarks/derive.py

Draws labels of CheXpert's size (223,414 rows) and prints the seconds for ours, best of five, and
how many times longer a loop over rows takes (timed on 2,000 rows, in the same run).
"""

import time

import numpy as np
import pandas as pd

from cxrlib.hierarchy import paper_hierarchy
from cxrlib.labels import OBSERVATIONS

ROWS, LOOPED = 223_414, 2_000


def derive_by_rows(table):
    """The same rules, image by image, as a reader of the paper would first write them."""
    hierarchy = paper_hierarchy()
    rows = []
    for _, row in table.iterrows():
        values = row.to_dict()

        def value(label, values=values):
            if label not in values:
                absent = hierarchy.none_of.get(label)
                sources = absent or hierarchy.children(label)
                present = any(value(source) == 1 for source in sources)
                values[label] = float(not present if absent else present)
            return values[label]

        rows.append({label: value(label) for label in hierarchy.labels})
    return pd.DataFrame(rows)


def seconds(function, *arguments, repeat=1):
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        function(*arguments)
        times.append(time.perf_counter() - start)
    return min(times)


def main():
    drawn = np.random.default_rng(0).random((ROWS, len(OBSERVATIONS))) < 0.15
    table = pd.DataFrame(drawn.astype(float), columns=list(OBSERVATIONS))
    hierarchy = paper_hierarchy()
    pd.testing.assert_frame_equal(derive_by_rows(table[:LOOPED]), hierarchy.derive(table[:LOOPED]))
    ours = seconds(hierarchy.derive, table, repeat=5)
    looped = seconds(derive_by_rows, table[:LOOPED]) * ROWS / LOOPED
    print(
        f"columns at once: {ours:.3f} s for {ROWS:,} rows; row by row: {looped / ours:.0f} × that"
    )


if __name__ == "__main__":
    main()

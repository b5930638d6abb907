import contextlib
import itertools
import pickle
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from cxrlib.hierarchy import GROUPS, Hierarchy, HierarchyError, paper_hierarchy
from cxrlib.labels import OBSERVATIONS

PAPER = paper_hierarchy()


def random_observations(rows, seed=0, values=(0.0, 1.0)):
    array = np.random.default_rng(seed).choice(values, size=(rows, 14))
    return pd.DataFrame(array, columns=list(OBSERVATIONS))


def paper_row_by_row(row):
    """The paper's groups for one image, written out slowly from its description."""
    have = {name: row[name] == 1 for name in OBSERVATIONS}
    fluid = any(have[n] for n in ("Edema", "Consolidation", "Pleural Effusion", "Pneumonia"))
    tissue = any(have[n] for n in ("Atelectasis", "Pneumothorax", "Pleural Other"))
    uncertain = not any(have.values())
    return {
        "Uncertain": uncertain,
        "Abnormal": not (have["No Finding"] or uncertain),
        "Cardiac": have["Enlarged Cardiomediastinum"] or have["Cardiomegaly"],
        "Fluid Accumulation": fluid,
        "Missing Lung Tissue": tissue,
        "Opacity": have["Lung Opacity"] or have["Lung Lesion"] or fluid or tissue,
        "Other": have["Fracture"] or have["Support Devices"],
    }


def test_the_papers_labels_and_order():
    assert PAPER.labels[:14] == tuple(sorted(OBSERVATIONS))
    assert PAPER.labels[14] == "Uncertain"
    assert PAPER.labels[15:] == tuple(sorted(GROUPS))
    assert len(PAPER.edges) == 20
    assert PAPER.parents("Cardiomegaly") == ("Enlarged Cardiomediastinum", "Cardiac")
    assert PAPER.ancestors("Pneumonia") == (
        "Consolidation", "Abnormal", "Fluid Accumulation", "Opacity",
    )  # fmt: skip
    assert PAPER.children("Edema") == ()


def test_derive_agrees_with_a_row_by_row_reading_of_the_paper():
    sparse = random_observations(400, values=(0.0,) * 12 + (1.0,))
    dense = random_observations(400, seed=1)
    observations = pd.concat([sparse, dense], ignore_index=True)
    derived = PAPER.derive(observations)
    expected = pd.DataFrame([paper_row_by_row(row) for _, row in observations.iterrows()])
    assert list(derived.columns) == list(PAPER.labels)
    pd.testing.assert_frame_equal(derived[expected.columns], expected.astype(float))
    pd.testing.assert_frame_equal(derived[list(OBSERVATIONS)], observations)


def test_derive_with_unknown_labels_follows_kleene():
    row = dict.fromkeys(OBSERVATIONS, 0.0)
    unknown = {"Fracture": np.nan, "Support Devices": np.nan}
    with_nothing = row | unknown
    with_finding = row | unknown | {"Edema": 1.0}
    normal = row | unknown | {"No Finding": 1.0}
    derived = PAPER.derive(pd.DataFrame([with_nothing, with_finding, normal]))
    assert derived["Other"].isna().all()
    np.testing.assert_array_equal(derived["Uncertain"], [np.nan, 0, 0])
    np.testing.assert_array_equal(derived["Abnormal"], [np.nan, 1, 0])
    np.testing.assert_array_equal(derived["Fluid Accumulation"], [0, 1, 0])


def test_derive_of_soft_labels_takes_the_maximum():
    heart = Hierarchy(["A", "B", "C"], [("A", "B"), ("A", "C")])
    derived = heart.derive(pd.DataFrame({"B": [0.2, 0.7], "C": [0.3, 1.0]}))
    assert derived["A"].tolist() == [0.3, 1.0]


def test_derive_keeps_a_column_it_is_given():
    heart = Hierarchy(["A", "B"], [("A", "B")])
    assert heart.derive(pd.DataFrame({"A": [0.0], "B": [1.0]}))["A"].tolist() == [0.0]


def test_derive_names_the_missing_leaf():
    with pytest.raises(HierarchyError, match="'Edema'"):
        PAPER.derive(random_observations(2).drop(columns="Edema"))


# --- Validation ----------------------------------------------------------------------------


def test_a_cycle_is_named_edge_by_edge():
    with pytest.raises(HierarchyError, match="A → B → C → A|B → C → A → B|C → A → B → C"):
        Hierarchy(["A", "B", "C"], [("A", "B"), ("B", "C"), ("C", "A")])
    with pytest.raises(HierarchyError, match="A → A"):
        Hierarchy(["A"], [("A", "A")])


def test_a_cycle_of_rules_is_refused():
    with pytest.raises(HierarchyError, match="cycle"):
        Hierarchy(["A", "B"], [], none_of={"A": ["B"], "B": ["A"]})


@pytest.mark.parametrize(
    ("labels", "edges", "message"),
    [
        (["A", "A"], [], "duplicate label 'A'"),
        (["A", "B"], [("A", "B"), ("A", "B")], "duplicate edge 'A → B'"),
        (["A"], [("A", "Edama")], "unknown label 'Edama'"),
    ],
)
def test_bad_hierarchies_name_the_label(labels, edges, message):
    with pytest.raises(HierarchyError, match=message):
        Hierarchy(labels, edges)


def test_unknown_label_in_a_question():
    with pytest.raises(HierarchyError, match="Edama"):
        PAPER.parents("Edama")


def test_immutable_comparable_and_picklable():
    with pytest.raises(AttributeError):
        PAPER.labels = ()
    with pytest.raises(TypeError):
        PAPER.none_of["Uncertain"] = ()
    assert pickle.loads(pickle.dumps(PAPER)) == PAPER == paper_hierarchy()
    assert hash(PAPER) == hash(paper_hierarchy())
    assert paper_hierarchy() != Hierarchy(PAPER.labels, PAPER.edges[1:], PAPER.none_of)


def test_yaml_round_trip_and_errors(tmp_path):
    path = tmp_path / "paper.yaml"
    PAPER.to_yaml(path)
    read = Hierarchy.from_yaml(path)
    assert read.labels == PAPER.labels
    assert set(read.edges) == set(PAPER.edges)
    assert read.none_of == PAPER.none_of
    path.write_text(path.read_text().replace("- Cardiomegaly", "- Cardiomegally", 1))
    with pytest.raises(HierarchyError, match=r"paper\.yaml.*Cardiomegal"):
        Hierarchy.from_yaml(path)
    path.write_text("labels: [A]\nchildern: {}\n")
    with pytest.raises(HierarchyError, match="childern"):
        Hierarchy.from_yaml(path)
    path.write_text("labels: [A, B]\nchildren: {A: B}\n")
    with pytest.raises(HierarchyError, match="children"):
        Hierarchy.from_yaml(path)
    path.write_text("labels: [A\n")
    with pytest.raises(HierarchyError, match="not valid YAML"):
        Hierarchy.from_yaml(path)


# --- Coherence -----------------------------------------------------------------------------

CHAIN = Hierarchy(["child", "parent"], [("parent", "child")])


def test_violations_by_hand():
    scores = pd.DataFrame({"parent": [0.9, 0.4, 0.6, 0.2], "child": [0.8, 0.6, 0.7, 0.1]})
    counts = CHAIN.violations(scores)
    assert counts.loc[("parent", "child")].to_dict() == {"hard": 1, "soft": 2}
    assert CHAIN.incoherent(scores).tolist() == [False, True, True, False]
    assert CHAIN.incoherent(scores, threshold=0.5).tolist() == [False, True, False, False]


def test_unknown_labels_violate_nothing():
    assert not CHAIN.incoherent(pd.DataFrame({"parent": [np.nan], "child": [1.0]})).any()


scores_21 = st.lists(
    st.lists(st.floats(0, 1, width=32), min_size=21, max_size=21), min_size=1, max_size=5
).map(lambda rows: pd.DataFrame(rows, columns=list(PAPER.labels)))


@settings(max_examples=50, deadline=None)
@given(scores_21)
def test_repairs_are_coherent_and_move_one_way(scores):
    for how, sign in (("max", 1), ("min", -1)):
        repaired = PAPER.make_coherent(scores, how=how)
        assert not PAPER.incoherent(repaired).any()
        assert (sign * (repaired - scores) >= 0).all(axis=None)
        pd.testing.assert_frame_equal(PAPER.make_coherent(repaired, how=how), repaired)


def test_repair_refuses_unknown_ways_and_nan():
    with pytest.raises(HierarchyError, match="median"):
        CHAIN.make_coherent(pd.DataFrame({"parent": [0.1], "child": [0.2]}), how="median")
    with pytest.raises(HierarchyError, match="NaN"):
        CHAIN.make_coherent(pd.DataFrame({"parent": [np.nan], "child": [0.2]}))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_closing_labels_raises_ancestors_only(seed):
    targets = PAPER.derive(random_observations(20, seed=seed, values=(0, 0, 0, 0, 1, np.nan)))
    closed = PAPER.close(targets)
    assert PAPER.violations(closed)["soft"].sum() == 0
    changed = ~(closed.eq(targets) | (closed.isna() & targets.isna()))
    assert closed[changed].stack().dropna().eq(1).all()
    for label in PAPER.labels:
        below = targets[list(PAPER.descendants(label))].eq(1).any(axis=1)
        assert below[changed[label]].all()


def test_table_and_array_are_inverse():
    table = PAPER.derive(random_observations(5))
    shuffled = table[list(reversed(table.columns))]
    array = PAPER.to_array(shuffled)
    assert array.dtype == np.float32
    pd.testing.assert_frame_equal(PAPER.to_table(array).astype(float), table)


# --- The projection -------------------------------------------------------------------------------


def random_graph(rng, labels=6):
    names = [f"L{n}" for n in range(labels)]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :] if rng.random() < 0.4]
    return Hierarchy(rng.permutation(names).tolist(), pairs)


@pytest.mark.parametrize("seed", range(8))
def test_the_projection_equals_a_general_solvers(seed):
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    scores = rng.random((3, 6))
    repaired = graph.make_coherent(graph.to_table(scores), how="projection").to_numpy()
    parents, children = graph.edge_positions
    for row, found in zip(scores, repaired, strict=True):
        solved = optimize.minimize(
            lambda x, row=row: ((x - row) ** 2).sum(),
            row,
            jac=lambda x, row=row: 2 * (x - row),
            constraints={"type": "ineq", "fun": lambda x: x[parents] - x[children]},
            options={"ftol": 1e-14, "maxiter": 500},
        )
        np.testing.assert_allclose(found, solved.x, atol=1e-5)


def test_the_projection_changes_least_and_nothing_that_is_coherent():
    rng = np.random.default_rng(0)
    scores = PAPER.to_table(rng.random((300, 21)))
    repaired = {how: PAPER.make_coherent(scores, how) for how in ("max", "min", "projection")}
    distance = {how: ((t - scores) ** 2).sum(axis=1) for how, t in repaired.items()}
    assert (distance["projection"] <= distance["max"] + 1e-9).all()
    assert (distance["projection"] <= distance["min"] + 1e-9).all()
    nearest = repaired["projection"]
    assert PAPER.violations(nearest)["soft"].sum() == 0
    pd.testing.assert_frame_equal(PAPER.make_coherent(nearest, "projection"), nearest)
    assert nearest.index.equals(scores.index)


def test_a_hierarchy_equals_itself_read_from_a_file(tmp_path):
    PAPER.to_yaml(tmp_path / "paper.yaml")
    again = Hierarchy.from_yaml(tmp_path / "paper.yaml")
    assert again == PAPER
    assert hash(again) == hash(PAPER)
    assert Hierarchy(PAPER.labels, PAPER.edges[::-1], dict(PAPER.none_of)) == PAPER


# --- Bad input and large input ---------------------------------------------------------------


@pytest.mark.parametrize("bad", [2.0, -1.0, np.inf, "yes"])
def test_derive_refuses_what_is_no_label_by_row_and_label(bad):
    with pytest.raises(HierarchyError, match="row 'b', label 'child'"):
        CHAIN.derive(pd.DataFrame({"child": [1.0, bad]}, index=["a", "b"]))


@pytest.mark.parametrize(
    ("content", "named"),
    [("labels: [A, null]", "None"), ("labels: [A, {b: c}]", "b"), ("labels: [A, 1]", "1 is not"),
     ("labels: [yes]", "True"), ("labels: [2020-01-01]", "2020"), ("labels: []", "empty"),
     ("labels: ['']", "''"), ("labels: [2020-99-99]", "not valid YAML"),
     ("labels: [A]\nchildren: {A: [[A]]}", "lists inside"), ("labels: " + "[" * 9000, "lists"),
     ("labels: [A, B]\nchildren: {A: &x [B], B: *x}", "anchor"),
     ("labels: [A]\nlabels: [B]", "duplicate key 'labels'"),
     ("labels: [A]\nnone_of: {A: []}", "names no label"), ("labels: [\xff]", "UTF-8"),
     ("labels: [A]\nchildren: 0", "children"), ("#" * 1_000_001, "1 MB")],
)  # fmt: skip
def test_a_bad_file_is_named(tmp_path, content, named):
    path = tmp_path / "h.yaml"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(HierarchyError, match=rf"h\.yaml: (.|\n)*{named}"):
        Hierarchy.from_yaml(path)


def test_arguments_of_the_wrong_form_are_named():
    for labels, edges in (("AB", []), (["A", "B"], ["AB"]), (["A", "B"], [("A", "B", "A")])):
        with pytest.raises(HierarchyError, match="AB|two labels"):
            Hierarchy(labels, edges)


def test_rules_are_part_of_equality_and_of_the_dictionary():
    plain = Hierarchy(["A", "B", "C"], [])
    ruled = Hierarchy(["A", "B", "C"], [], {"A": ["C", "B"]})
    assert plain != ruled
    assert "none_of" in repr(ruled)
    assert ruled == Hierarchy(["A", "B", "C"], [], {"A": ["B", "C"]})
    assert Hierarchy.from_dict(ruled.to_dict()) == ruled
    assert Hierarchy.from_dict(PAPER.to_dict()) == PAPER
    assert PAPER.to_dict()["labels"] == list(PAPER.labels)


def _is_name(text):
    return bool(text.strip()) and text.isprintable()


def test_a_name_that_cannot_be_seen_is_refused():
    with pytest.raises(HierarchyError, match="is not a name"):
        Hierarchy(["A\x85"], [])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])).filter(_is_name), min_size=1,
                unique=True))  # fmt: skip
def test_any_names_survive_a_file(tmp_path_factory, names):
    path = tmp_path_factory.mktemp("names") / "h.yaml"
    written = Hierarchy(names, list(itertools.pairwise(names)))
    written.to_yaml(path)
    assert Hierarchy.from_yaml(path) == written


@pytest.mark.parametrize("shape", ["chain", "star", "tree", "star upside down"])
def test_five_thousand_labels_take_seconds(shape):
    names = [f"L{n}" for n in range(5000)]
    above = {"chain": lambda n: n - 1, "tree": lambda n: (n - 1) // 2}.get(shape, lambda n: 0)
    edges = [(names[above(n)], names[n]) for n in range(1, 5000)]
    edges = [edge[::-1] for edge in edges] if shape == "star upside down" else edges
    start = time.perf_counter()
    graph = Hierarchy(names, edges)
    scores = graph.to_table(np.random.default_rng(0).random((2, 5000)))
    for how in ("max", "min", "projection"):
        assert not graph.incoherent(graph.make_coherent(scores, how)).any()
    closed = graph.close((scores > 0.9).astype(float))
    assert graph.violations(closed)["soft"].sum() == 0
    leaves = [name for name in names if not graph.children(name)]
    assert not graph.incoherent(graph.derive(scores[leaves])).any()
    assert time.perf_counter() - start < 30


def test_a_forest_is_projected_as_isotonic_regression_says():
    names = [f"L{n}" for n in range(200)]
    chain = Hierarchy(names, list(itertools.pairwise(names)))
    scores = np.random.default_rng(0).random((3, 200))
    found = chain.make_coherent(chain.to_table(scores), "projection").to_numpy()
    for row, nearest in zip(scores, found, strict=True):
        solved = optimize.isotonic_regression(row, increasing=False).x
        np.testing.assert_allclose(nearest, solved, atol=1e-12)


# --- Exclusions -----------------------------------------------------------------------------------


def with_exclusions():
    return Hierarchy(
        ["Normal", "Sick", "Lung", "Heart"],
        [("Sick", "Lung"), ("Sick", "Heart")],
        never_both=[("Sick", "Normal"), ("Lung", "Heart")],
    )


def test_exclusions_survive_files_pickles_and_order(tmp_path):
    graph = with_exclusions()
    assert graph.never_both == (("Normal", "Sick"), ("Lung", "Heart"))
    graph.to_yaml(tmp_path / "h.yaml")
    assert Hierarchy.from_yaml(tmp_path / "h.yaml") == graph
    assert pickle.loads(pickle.dumps(graph)) == graph
    assert graph != Hierarchy(graph.labels, graph.edges)
    assert "never_both" not in Hierarchy(graph.labels, graph.edges).to_dict()


@pytest.mark.parametrize(
    ("never_both", "message"),
    [
        ([("Sick", "Lung")], "'Sick' and 'Lung' exclude each other, so 'Lung'.*never be present"),
        ([("Sick", "Sick")], "'Sick' cannot exclude itself"),
        ([("Sick", "Ill")], "unknown label 'Ill'"),
        ([("Sick",)], "exclusion.*expected two labels"),
        (["Sick"], "expected a list of labels, not"),
        (None, "None: expected a list of pairs"),
        ([("Normal", "Sick"), ("Sick", "Normal")], "duplicate exclusion 'Normal and Sick'"),
    ],
)
def test_an_exclusion_that_cannot_be_kept_is_named(never_both, message):
    labels, edges = ["Normal", "Sick", "Lung"], [("Sick", "Lung")]
    with pytest.raises(HierarchyError, match=message):
        Hierarchy(labels, edges, never_both=never_both)


def test_violations_of_exclusions_are_counted():
    graph = with_exclusions()
    rows = [[0.6, 0.7, 0.1, 0.2], [0.4, 0.7, 0.1, 0.2], [0.1, 0.9, 0.55, 0.45], [np.nan, 1, 1, 1]]
    scores = pd.DataFrame(rows, columns=list(graph.labels))
    found = graph.violations(scores)
    assert found.loc[("Normal", "Sick")].tolist() == [1, 2]
    assert found.loc[("Lung", "Heart")].tolist() == [1, 1], "0.55 and 0.45 add up to 1"
    assert graph.incoherent(scores).tolist() == [True, True, False, True]
    assert graph.incoherent(scores, 0.5).tolist() == [True, False, False, True]


@st.composite
def dags_with_exclusions(draw):
    count = draw(st.integers(2, 7))
    names = [f"L{n}" for n in range(count)]
    pairs = [(a, b) for a in range(count) for b in range(a + 1, count)]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=8))
    graph = Hierarchy(names, [(names[a], names[b]) for a, b in edges])
    apart = []
    for a, b in draw(st.lists(st.sampled_from(pairs), unique=True, min_size=1, max_size=4)):
        one, other = names[a], names[b]
        with contextlib.suppress(HierarchyError):
            Hierarchy(names, graph.edges, never_both=[(one, other)])
            apart.append((one, other))
    return Hierarchy(names, graph.edges, never_both=apart)


@settings(max_examples=60, deadline=None)
@given(dags_with_exclusions(), st.integers(0, 2**32 - 1))
def test_projection_with_exclusions_equals_a_general_solver(graph, seed):
    row = np.random.default_rng(seed).random(len(graph.labels))
    parents, children = graph.edge_positions
    ones, others = graph.apart_positions
    limits = [
        {"type": "ineq", "fun": lambda x: np.append(x[parents] - x[children], [0])},
        {"type": "ineq", "fun": lambda x: np.append(1 - x[ones] - x[others], [0])},
    ]
    best = optimize.minimize(
        lambda x: ((x - row) ** 2).sum(), row, jac=lambda x: 2 * (x - row), method="SLSQP",
        constraints=limits, options={"ftol": 1e-16, "maxiter": 1000},
    )  # fmt: skip
    found = graph.make_coherent(graph.to_table(row[None]), "projection")
    np.testing.assert_allclose(found.to_numpy()[0], best.x, atol=1e-6)
    assert found.to_numpy().min() >= 0


@settings(max_examples=60, deadline=None)
@given(dags_with_exclusions(), st.sampled_from(["max", "min", "projection"]))
def test_repairs_keep_exclusions_and_leave_what_is_coherent(graph, how):
    scores = graph.to_table(np.random.default_rng(0).random((20, len(graph.labels))))
    repaired = graph.make_coherent(scores, how)
    assert not graph.incoherent(repaired).any()
    assert not graph.incoherent(repaired, 0.5).any()
    again = graph.make_coherent(repaired, how)
    np.testing.assert_allclose(again, repaired, atol=1e-9)


def test_lowering_begins_with_the_most_probable_and_lowers_nothing_for_nothing():
    chain = Hierarchy(["A", "B", "C"], [], never_both=[("A", "B"), ("B", "C")])
    turned = Hierarchy(["C", "B", "A"], [], never_both=[("A", "B"), ("B", "C")])
    scores = pd.DataFrame([[0.6, 0.8, 0.9]], columns=["A", "B", "C"])
    for graph in (chain, turned):
        found = graph.make_coherent(scores, "max")[["A", "B", "C"]].iloc[0]
        assert found.tolist() == pytest.approx([0.6, 0.1, 0.9])
    graph = Hierarchy(
        ["Normal", "Sick", "Lung"], [("Sick", "Lung")], never_both=[("Normal", "Lung")]
    )
    row = graph.to_table([[0.8, 0.1, 0.9]])
    lowered = graph.make_coherent(row, "min").iloc[0].tolist()
    assert lowered == [0.8, 0.1, 0.1], "the lung's 0.9 falls with its parent, and excludes nothing"


def test_with_exclusions_scores_are_probabilities():
    graph = with_exclusions()
    with pytest.raises(
        HierarchyError, match="row 0, label 'Normal': the value 4.0 is not a probability"
    ):
        graph.make_coherent(graph.to_table([[4.0, 3.0, -2.0, 0.0]]))

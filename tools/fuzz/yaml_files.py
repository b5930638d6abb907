"""Files in YAML: hierarchies and configs."""

import copy
import functools
import graphlib
import itertools
import json

import yaml

from . import harness
from .harness import INF, NAN, ROOT, Case, Refuse, cxr, pick, target

BOMB, MERGE = "a: &a [" + "x, " * 9 + "]\n", "m0: &m0 {x: 1}\n"
for a, b in itertools.pairwise("abcdefg"):
    BOMB += f"{b}: &{b} [" + f"*{a}, " * 9 + "]\n"
for i in range(1, 8):
    MERGE += f"m{i}: &m{i}\n  <<: [" + f"*m{i - 1}, " * 9 + "]\n"
VALUES = (None, 5, 1.5, True, [], {}, "", "é", [[]], {"a": 1}, NAN, "x" * 300, -1, "2020-01-01",
          ["x"], [None], "yes", 10**30, "\0", "0")  # fmt: skip


def anywhere(tree, rng):
    """Put an odd value, or none at all, somewhere into nested lists and dictionaries."""
    while keys := list(tree) if isinstance(tree, dict) else list(range(len(tree))):
        key = pick(rng, keys)
        if not (isinstance(tree[key], dict | list) and tree[key] and rng.random() < 0.8):
            break
        tree = tree[key]
    else:
        return
    action, value = rng.integers(4), copy.deepcopy(pick(rng, VALUES))
    if action == 0:
        del tree[key]
    elif action == 1 and isinstance(tree, dict):
        tree[pick(rng, (None, 5, True, "x", "", "é", "labels"))] = value
    else:
        tree[key] = value


TREES = {f"something odd {i}": anywhere for i in range(8)} | {
    f"two things odd {i}": lambda tree, rng: (anywhere(tree, rng), anywhere(tree, rng))
    for i in range(4)
}


def spoil(path, rng, more=None):
    """Spoil a YAML or JSON file, as a tree or as bytes; returns how."""

    def write(path, tree):
        is_json = path.suffix == ".json"
        path.write_text(json.dumps(tree) if is_json else yaml.dump(tree, allow_unicode=True))

    return harness.spoil(path, rng, TREES | (more or {}), strict_yaml, write)


def strict_yaml(path):
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Refuse("") from error


def hierarchy_wrong(path, got):
    content = strict_yaml(path)
    labels = content.get("labels") if isinstance(content, dict) else None
    known = {"labels", "children", "none_of", "never_both"}
    if not isinstance(labels, list) or not labels or set(content) - known:
        raise Refuse(f"labels: {labels!r:.40}")
    children, none_of = (content.get(name) or {} for name in ("children", "none_of"))
    edges = [(a, b) for a, below in children.items() for b in below]
    rules = [(a, b) for a, below in none_of.items() for b in [a, *below]]
    apart = content.get("never_both") or []
    if any(not isinstance(pair, list) or len(pair) != 2 for pair in apart):
        raise Refuse("exclusion")
    named = [*labels, *itertools.chain(*edges, *rules, *apart)]
    odd = [n for n in named if not isinstance(n, str) or not n.strip() or n not in labels]
    if odd or len(set(labels)) != len(labels) or len(set(edges)) != len(edges):
        raise Refuse(f"a name {odd[:1]!r} or a duplicate")
    try:
        below = {label: [b for a, b in edges if a == label] for label in labels}
        graphlib.TopologicalSorter(below).prepare()
    except graphlib.CycleError as error:
        raise Refuse("a cycle") from error
    apart = [frozenset(pair) for pair in apart]
    kinds = {label: {label} for label in labels}  # a label and all it is a kind of
    for label in graphlib.TopologicalSorter(
        {b: [a for a, c in edges if c == b] for b in labels}
    ).static_order():
        kinds[label] |= set().union(*(kinds[a] for a, b in edges if b == label))
    if len(set(apart)) != len(apart) or any(
        len(pair) < 2 or pair <= kinds[label] for pair in apart for label in labels
    ):
        raise Refuse("exclu")
    if list(got.labels) != labels or set(got.edges) != set(edges):
        return "other labels or edges than the file's"
    if {frozenset(pair) for pair in got.never_both} != set(apart):
        return "other exclusions than the file's"


def slow_yaml(rng):
    """A file that is large, or small and means something large."""
    count = pick(rng, (300, 1000, 5000))
    names = [f"n{i}" for i in range(count)]
    tree = {"labels": names}
    shapes = {
        "chain": tree | {"children": {a: [b] for a, b in itertools.pairwise(names)}},
        "star": tree | {"children": {names[0]: names[1:]}},
        "tree": tree | {"children": {names[i]: names[2 * i + 1 : 2 * i + 3]
                                     for i in range(count // 2)}},
        "many": "labels:\n" + "".join(f"- n{i}\n" for i in range(200_000)),
        "deep": "labels: " + "[" * count + "]" * count, "bomb": BOMB + "labels: *g\n",
        "merge": MERGE + "labels: [x]\n", "self": "labels: &l [*l]\n",
        "bomb edges": BOMB + "labels: [x]\nchildren:\n  x: *g\n",
    }  # fmt: skip
    shape = pick(rng, tuple(shapes))
    text = shapes[shape]
    text = text if isinstance(text, str) else yaml.dump(text, Dumper=yaml.CSafeDumper)
    return f"{shape} {count}", text


@target(3100)
def from_yaml(rng, place):
    path, hierarchy = place / "hierarchy.yaml", cxr("hierarchy")
    hierarchy.read_hierarchy(pick(rng, ("paper", "anatomy", "chexpert"))).to_yaml(path)
    if rng.random() < 0.2:
        small = {"labels": [*"abc"], "children": {"a": ["b"]}, "none_of": {"c": ["a", "b"]}}
        path.write_text(yaml.dump(small))
    if rng.random() < 0.02:
        what, text = slow_yaml(rng)
        path.write_text(text)
    else:
        what = spoil(path, rng)

    def call():
        made = hierarchy.Hierarchy.from_yaml(path)
        if len(made.labels) > 100:
            made.close(made.to_table([[0.0] * len(made.labels)] * 2))
        return made

    return Case(what, call, "hierarchy.yaml", functools.partial(hierarchy_wrong, path))


SECTIONS = [  # what a config must not say
    *(("settings", "methud", "flat"), ("settings", "epochs", 0), ("settings", "epochs", "many")),
    *(("settings", "size", 96.5), ("settings", "lr", NAN), ("settings", "lr", INF)),
    *(("settings", "seed", True), ("settings", "weight", -1), ("settings", "method", "banana")),
    *(("data", "folders", "x"), ("data", "views", 5), ("model", "settings", {"size": 9})),
]
LATER = [  # what it may say or not: training refuses it at the latest
    *(("trainer", "max_epochs", 3), ("trainer", "devises", 1), ("trainer", "callbacks", ["x"])),
    *(("name", None, name) for name in ("../../etc/x", "a/b", "..", ".", "", "/tmp/x", "a\0b",
                                        "a\nb", ["x"], {"x": 1})),
]  # fmt: skip
APPENDED = (BOMB, MERGE, "x: &l [*l]\n", "settings:\n  size: 32\n", "name: b\n", "- 1\n",
            "x: !!python/object/apply:os.mkdir [evil]\n")  # fmt: skip


@target(850)
def read_config(rng, place):
    path, names, verdict = place / "mine.yaml", r"mine\.yaml", "either"
    path.write_bytes((ROOT / "configs" / "workshop.yaml").read_bytes())
    what = pick(rng, ("spoilt",) * 4 + ("said", "said", "later", "appended", "place"))
    if what == "spoilt":
        what = spoil(path, rng)
    elif what == "place":
        path.unlink()
        path.mkdir() if rng.random() < 0.5 else None
        verdict = "refuse"
    elif what == "appended":
        what, verdict = pick(rng, APPENDED), "refuse"
        path.write_text(path.read_text() + what)
    else:
        verdict = "refuse" if what == "said" else "either"
        section, field, value = pick(rng, SECTIONS if what == "said" else LATER)
        tree = strict_yaml(path)
        tree |= {section: (tree.get(section) or {}) | {field: value} if field else value}
        path.write_text(yaml.dump(tree, allow_unicode=True))
        what, names = f"{section}.{field}={value!r}", rf"{names}.*(?:{section}|{field})"

    def wrong(config):
        content, settings = strict_yaml(path), cxr("training").Settings
        if not isinstance(content, dict):
            return f"accepted: {str(content)[:60]!r}"
        try:
            want = settings(**content.get("settings") or {})
        except (ValueError, TypeError) as error:
            return f"accepted: {error}"
        return None if config.settings == want else f"{config.settings}, expected {want}"

    call = functools.partial(cxr("configs").read_config, path)
    return Case(f"{what[:40]!r}", call, names, wrong, verdict)

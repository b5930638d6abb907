"""Small YAML files, read strictly."""

import yaml

from cxrlib.hierarchy.names import HierarchyError, no_duplicates


def read_yaml(path, depth=3):
    """The content of a small, plain YAML file: no anchors, tags, keys twice or deep nesting."""
    if path.stat().st_size > 1_000_000:
        raise HierarchyError("over 1 MB: too large for a hierarchy. Is it another file?")
    text = path.read_text(encoding="utf-8-sig")
    nested = 0
    for event in yaml.parse(text, Loader=_Loader):
        if getattr(event, "anchor", None) or getattr(event, "tag", None):
            raise HierarchyError(f"{event.start_mark}: expected no anchor (&, *) and no tag (!).")
        nested += isinstance(event, yaml.CollectionStartEvent)
        nested -= isinstance(event, yaml.CollectionEndEvent)
        if nested > depth:
            raise HierarchyError(f"{event.start_mark}: lists inside lists, deeper than {depth}.")
    return yaml.load(text, Loader=_Loader)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """PyYAML's own keeps the last of two values with one key, and says nothing."""

    def construct_mapping(self, node, deep=False):
        no_duplicates([str(key.value) for key, _ in node.value], "key")
        return super().construct_mapping(node, deep)

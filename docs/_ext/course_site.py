"""What the site needs beyond Sphinx: formulas, figures' words, docstrings as they are written."""

import base64
import hashlib
import json
import re
import textwrap
from pathlib import Path
from xml.etree import ElementTree

from docutils import nodes
from docutils.core import publish_doctree
from latex2mathml.converter import convert
from sphinx import addnodes
from sphinx.util import logging
from sphinx.util.nodes import make_refnode

log = logging.getLogger(__name__)
ElementTree.register_namespace("", "http://www.w3.org/1998/Math/MathML")

SECTION = re.compile(r"^([A-Z][a-z]+)\n-{3,}\n", re.MULTILINE)
MATH = "{http://www.w3.org/1998/Math/MathML}"
ARROWS = "⟹⟸⟺→←"
LINES = {"\u2015": "over", "\u23df": "under"}
OPENERS = {"", "=", "(", "[", ",", *ARROWS}
FIELDS = ("Parameters", "Attributes", "Returns", "Yields")
BARS = re.compile(r"(?<![`\\])\|([^|`\s][^|`]*)\|")
NAME = re.compile(r"[A-Za-z_]\w*(\.\w+)*")


def setup(app):
    app.add_html_math_renderer("mathml", (inline_formula, None), (shown_formula, None))
    app.connect("autodoc-process-docstring", as_rst)
    app.connect("autodoc-skip-member", skip_traits)
    app.connect("doctree-read", give_figures_their_words)
    app.connect("doctree-resolved", link_names)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


# --- Formulas -------------------------------------------------------------------------------------


def mathml(latex, display):
    """A formula as MathML, which a browser shows by itself, spaced as TeX would."""
    tree = ElementTree.fromstring(convert(latex, display=display))
    parents = {child: parent for parent in tree.iter() for child in parent}
    for node in list(tree.iter()):
        kind, text = node.tag.removeprefix(MATH), node.text or ""
        if kind in ("mi", "mo") and text.isalpha() and len(text) > 1:
            _space_word(node, parents, display)
        elif kind == "mo" and text == "\u2212" and _before(node, parents) in OPENERS:
            node.set("form", "prefix")
        elif kind == "mo" and text == "∂":
            node.tag = f"{MATH}mi"
        elif kind == "mi" and text in ARROWS:
            node.tag = f"{MATH}mo"
        elif kind == "mo" and text in LINES:
            _draw_line(node, parents[node])
    return ElementTree.tostring(tree, encoding="unicode")


def _space_word(node, parents, display):
    """A function's name: a little space around it, none before a bracket; limits below."""
    whole, parent = node, parents[node]
    if parent.tag == f"{MATH}msub" and parent[0] is node:
        whole = parent
        if node.text in ("max", "min") and display == "block":
            parent.tag = f"{MATH}munder"
    row = list(parents[whole])
    after = next(iter(row[row.index(whole) + 1 :]), None)
    bracket = after is not None and (after.text or "") in ("(", "[")
    node.tag = f"{MATH}mo"
    node.attrib |= {"lspace": "0.167em", "rspace": "0em" if bracket else "0.167em"}


def _draw_line(sign, around):
    """A bar or brace of any width, which few fonts have: a line along what it spans."""
    around.tag, around.attrib = f"{MATH}mrow", {"class": LINES[sign.text]}
    around.remove(sign)


def _before(node, parents):
    """The text of what stands before a sign, spaces left out."""
    row = list(parents[node])
    told = [n.text or n.tag for n in row[: row.index(node)] if n.tag != f"{MATH}mspace"]
    return told[-1] if told else ""


def inline_formula(writer, node):
    """Write a formula within a line."""
    writer.body.append(_converted(node, "inline"))
    raise nodes.SkipNode


def shown_formula(writer, node):
    """Write a formula that has lines to itself; its parts stand side by side if there is room."""
    made = (_converted(node, "block", part) for part in parts_of(node.astext()))
    parts = "".join(f"<div>{part}</div>" for part in made)
    writer.body.append(f'<div class="formula">{parts}</div>\n')
    raise nodes.SkipNode


def parts_of(latex):
    r"""A formula cut at each ``\qquad`` that stands in no bracket and no environment."""
    parts = [""]
    for piece in re.split(r"(?:\\qquad\s*)+", latex):
        last = parts[-1]
        whole = all(last.count(a) == last.count(b) for a, b in ("{}", (r"\begin", r"\end")))
        if whole and last.strip():
            parts.append(piece)
        else:
            parts[-1] += (r"\qquad " if last else "") + piece
    return [part for part in parts if part.strip()]


def _converted(node, display, latex=None):
    latex = latex or node.astext()
    try:
        return mathml(latex, display)
    except Exception as error:
        log.warning("formula %r: %r", latex, error, location=node)
        return ""


# --- Figures --------------------------------------------------------------------------------------


def alternatives(notebook):
    """{SHA-256 of a figure: its alternative text} of a notebook, given as its JSON."""
    found = {}
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            image = output.get("data", {}).get("image/png")
            words = output.get("metadata", {}).get("image/png", {}).get("alt")
            if image and words:
                raw = base64.b64decode("".join(image))
                found[hashlib.sha256(raw).hexdigest()] = words
    return found


def give_figures_their_words(app, doctree):
    """Figures of notebooks lie in files that are named by their hash; add what they show."""
    path = Path(app.env.doc2path(app.env.docname))
    if path.suffix != ".ipynb":
        return
    words = alternatives(json.loads(path.read_text(encoding="utf-8")))
    for image in doctree.findall(nodes.image):
        if not image.get("alt"):
            image["alt"] = words.get(Path(image["uri"]).stem, "")
        if not image["alt"]:
            log.warning("a figure without alternative text", location=image)


# --- Docstrings -----------------------------------------------------------------------------------


def as_rst(app, what, name, obj, options, lines):
    """Replace a docstring's lines by reStructuredText; by plain text if that fails."""
    text = textwrap.dedent("\n".join(lines)).strip()
    made = converted(text)
    lines[:] = (made if is_rst(made) else plain(text)).splitlines()


def skip_traits(app, what, name, obj, skip, options):
    """The fields of a widget have no words of their own, only those of their library."""
    return True if type(obj).__module__.startswith("traitlets") else None


def converted(text):
    """A docstring's sections as fields, and its indented blocks as they stand."""
    text = re.sub(r"(?<![`:])`([^`\n]+)`(?!`)", r"``\1``", text)
    text = re.sub(r"(?m)^(?! {4}|\|).*$", lambda line: BARS.sub(r"\|\1\|", line[0]), text)
    first, *rest = SECTION.split(text)
    parts = [_blocks(first)]
    for title, body in zip(rest[::2], rest[1::2], strict=True):
        body = body.strip("\n")
        if title == "Raises":
            parts.append("\n".join(f":raises {n}: {_hanging(t, 4)}" for n, t in entries(body)))
        elif title in FIELDS:
            parts.append(f":{title}:\n{textwrap.indent(_listed(title, body), '    ')}")
        else:
            parts.append(f".. rubric:: {title}\n\n{_blocks(body)}")
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _listed(title, body):
    """A section's entries as a list; what is returned stands as it is, unless its parts have names.

    No field for each (``:param x:``), which would take "x, y" for y of the type x.
    """
    heads = [line for line in body.splitlines() if line[:1].strip()]
    if title in ("Returns", "Yields") and not all(re.match(r"\w+ : ", line) for line in heads):
        return textwrap.dedent(body)
    return "\n".join(f"- **{name}** – {_hanging(told, 2)}" for name, told in entries(body))


def entries(body):
    """The (name, text) pairs of a section, written as ``name : text`` or text indented below."""
    pairs = []
    for line in textwrap.dedent(body).splitlines():
        if line[:1].strip():
            name, _, told = line.partition(" : ")
            pairs.append((name.strip().rstrip(":"), [told]))
        elif pairs:
            pairs[-1][1].append(line)
    return [(name, "\n".join(told)) for name, told in pairs]


def _hanging(text, width):
    """A text whose lines after the first are indented alike, by so many spaces."""
    first, _, rest = text.strip("\n").partition("\n")
    if not first.strip():
        first, _, rest = textwrap.dedent(rest).partition("\n")
    rest = textwrap.indent(textwrap.dedent(rest), " " * width)
    return f"{first.strip()}\n{rest}".strip()


def _blocks(text):
    """Announce an indented block that follows an empty line, so that it is shown as it stands."""
    out, inside = [], False
    lines = text.splitlines()
    for number, line in enumerate(lines):
        indented = line.startswith(" ")
        if line.strip() and not indented:
            inside = False
        before = next((said for said in reversed(lines[:number]) if said.strip()), "")
        starts = indented and not inside and number and not lines[number - 1].strip()
        if starts and not before.endswith("::") and not re.match(r"\s*([-*]|\d+\.) ", before):
            out += ["::", ""]
        inside = inside or starts
        out.append(line)
    return "\n".join(out)


def is_rst(text):
    """Whether docutils reads a text without a complaint."""
    quiet = {"report_level": 5, "halt_level": 5, "default_role": None}
    try:
        read = publish_doctree(text, settings_overrides=quiet)
    except Exception:
        return False
    loud = any(told["level"] > 1 for told in read.findall(nodes.system_message))
    return not loud and not any(read.findall(nodes.problematic))


def plain(text):
    """A text whose lines are shown as they are."""
    return "\n".join(f"| {_escaped(line)}" if line.strip() else "|" for line in text.splitlines())


def _escaped(line):
    indent = len(line) - len(line.lstrip())
    return "\u00a0" * indent + re.sub(r"([\\*`_|])", r"\\\1", line.strip())


# --- Links to the package -------------------------------------------------------------------------


def link_names(app, doctree, docname):
    """Make links of the names of the package that stand in code type, and of types in fields."""
    objects = app.env.domains.python_domain.objects
    for literal in list(doctree.findall(nodes.literal)):
        if _may_be_linked(literal):
            found = known(literal.astext(), scopes(literal, docname), objects)
            if found and not _is_own(literal, found):
                literal.replace_self(_reference(app, docname, objects[found], found, literal))
    classes = {n.rpartition(".")[2]: n for n, o in objects.items() if o.objtype in CLASSES}
    for field in doctree.findall(nodes.field_body):
        for text in list(field.findall(nodes.Text)):
            if _may_be_linked(text) and not isinstance(text.parent, nodes.literal):
                text.parent.replace(text, _linked_types(app, docname, text, classes, objects))


CLASSES = ("class", "exception")


def known(text, within, objects):
    """The full name of what ``text`` names, seen from ``within`` (module, class); or None."""
    text = text.removesuffix("()")
    if not NAME.fullmatch(text):
        return None
    if within:
        guesses = [f"{scope}.{text}" for scope in within]
        guesses += [n for n in objects if n.endswith(f".{text}") and objects[n].objtype in CLASSES]
    else:
        guesses = []
    if "." in text:
        guesses += [f"cxrlib.{text}", text]
    return next((name for name in guesses if name in objects), None)


def scopes(node, docname):
    """Class and module that a node's description is of, the nearest first; none off the API."""
    found = []
    while node is not None:
        if isinstance(node, addnodes.desc) and node["objtype"] in CLASSES:
            found.append(f"{node[0].get('module')}.{node[0].get('fullname')}")
        node = node.parent
    if docname.startswith("api/cxrlib"):
        module = docname.removeprefix("api/")
        found += [module, module.rpartition(".")[0]]
    return found


def _is_own(node, name):
    """Whether a node stands in the description of the thing that it names."""
    while node is not None:
        if isinstance(node, addnodes.desc) and name in node[0].get("ids", []):
            return True
        node = node.parent
    return False


def _may_be_linked(node):
    while node is not None:
        if isinstance(node, nodes.reference | nodes.title | addnodes.desc_signature):
            return False
        node = node.parent
    return True


def _reference(app, docname, entry, name, content):
    return make_refnode(
        app.builder, docname, entry.docname, entry.node_id, content.deepcopy(), name
    )


def _linked_types(app, docname, text, classes, objects):
    """A text of a field with links where it names a type: as its first word, or unmistakably.

    "No Finding" names none, though there is a class ``Finding``.
    """
    names = "|".join(map(re.escape, classes)) or "$^"
    parts = re.split(rf"\b({names})\b", str(text))
    made = []
    for number, part in enumerate(parts):
        leads = number == 1 and not parts[0].strip(" –")
        leads = leads and re.match(r" ?[,;.\[(]| of |$", parts[2])
        if part in classes and (leads or re.search("[a-z][A-Z]", part)):
            name = classes[part]
            made.append(_reference(app, docname, objects[name], name, nodes.literal(part, part)))
        elif part:
            made.append(nodes.Text(part))
    return made

"""What the reading room says, in words for the eye and for the ear, and as one picture."""

import html
import io
import re
import textwrap

import numpy as np
from PIL import Image

from cxrlib import plots
from cxrlib.labels import OBSERVATIONS
from cxrlib.reading import pictures

NOT_FOR_CLINICAL_USE = "For teaching. Not for clinical use."
SETS = {"present": "present", "absent": "ruled out", "unsure": "unsure", "neither": "odd"}


def report(case, reading, risk):
    """The gate first, then what may be said, what is true and what the repair mended: HTML."""
    distance = reading.distance.loc[0]
    if reading.refused.loc[0]:
        gate = f"<b>Not like the images it knows</b> ({distance:.2f} times the limit)."
    else:
        gate = f"Like the frontal chest films that it knows ({distance:.2f} of the gate's limit)."
    sentences = [f"<b>{html.escape(case.name)}</b>", *map(html.escape, case.notes), gate]
    sentences += [_bold(html.escape(sentence)) for sentence in reading.report(0)]
    if case.truth is not None:
        true = [label for label in OBSERVATIONS if case.truth[label] == 1]
        sentences.append(f"<i>True: {', '.join(true) or 'none of the fourteen'}.</i>")
    mended = [label for label in reading.mended if reading.mended.loc[0, label]]
    if mended:
        sentences.append(f"Scored above a parent, which was raised: {', '.join(mended)}.")
    return paragraphs([*sentences, NOT_FOR_CLINICAL_USE])


def _bold(sentence):
    return re.sub(r"^(Said|Nothing is said|Nothing is sure)", r"<b>\1</b>", sentence)


def boxes(reading, threshold):
    """What stands in the graph's boxes: of each label score, interval, and what is possible."""
    scores, low, high = (t.loc[0] for t in (reading.scores, *reading.alike))
    sets, said, refused = reading.sets.loc[0], reading.said.loc[0], reading.refused.loc[0]
    states = {n: "said" if said[n] else "" if refused else SETS[sets[n]] for n in scores.index}
    return {
        "shares": {n: float(s) if s >= threshold else 0.0 for n, s in scores.items()},
        "texts": {n: f"{s:.2f}" for n, s in scores.items()},
        "notes": {
            n: f"{low[n]:.2f}–{high[n]:.2f}{'' if refused else ', '}{states[n]}"
            for n in scores.index
        },
        "marks": {n: "said" for n in scores.index if said[n]},
    }


def about(hierarchy, reading, case, label, threshold, hit=None):
    """All that is known of one label of the image: HTML."""
    scores, low, high = (t.loc[0] for t in (reading.scores, *reading.alike))
    told = f"<b>{label} {scores[label]:.2f}</b>, {_called(scores[label], threshold)}."
    if np.isfinite(low[label]):
        told += (
            f" Of images with such a score {low[label]:.0%} to {high[label]:.0%} have it "
            "(90% interval, from fifty validation images)."
        )
    if reading.said.loc[0, label]:
        told += " <b>It is said.</b>"
    if case.truth is not None:
        known = case.truth[label]
        told += f" True: {'not known' if np.isnan(known) else 'present' if known else 'absent'}."
    kin = []
    for words, names in (
        ("above it", hierarchy.parents(label)),
        ("below it", hierarchy.children(label)),
    ):
        listed = ", ".join(f"{name} {scores[name]:.2f}" for name in names)
        kin.append(f"{words}: {listed or 'none'}")
    if reading.mended.loc[0, label]:
        kin.append("it scored above a parent, which was raised to its score")
    caveat = "The map is scaled to itself: it says where, not how much, and not why."
    if hit is not None:
        caveat += f" Of phantoms with this finding it is highest on it in {hit:.0%} (notebook 08)."
    if label not in OBSERVATIONS:
        caveat += " A group's map is most like that of its child that is there."
    return paragraphs(
        [told, f"In the hierarchy, {'; '.join(kin)}.", caveat, _counts(reading, case, threshold)]
    )


def _called(score, threshold):
    return f"{'at or above' if score >= threshold else 'below'} the threshold of {threshold:.2f}"


def _counts(reading, case, threshold):
    """How the threshold, for which nothing is promised, does on this image."""
    called = reading.scores.loc[0] >= threshold
    told = f"At this threshold {called.sum()} of {len(called)} labels would be called present"
    if case.truth is None:
        return f"{told}."
    true, known = case.truth == 1, case.truth.notna()
    return (
        f"{told}: {(called & known & ~true).sum()} wrongly, with {(true & ~called).sum()} missed."
    )


def like_it(label, has):
    """About the images that are like the one on the viewer: HTML."""
    return paragraphs(
        [
            f"<b>Images like it</b>, as the model's last layer sees them: {len(has)} validation "
            f"patients, of whom {int(has.sum())}, in an orange frame, have {label}."
        ]
    )


def film(case, label):
    """The text of the film."""
    outlined = f", with an outline around {label}" if label in case.places else ""
    return f"{case.name}: the radiograph{outlined}."


def where(case, label, heat):
    """The text of the map: in which part of the picture it is highest."""
    row, column = np.unravel_index(np.argmax(heat), heat.shape)
    down = ("upper", "middle", "lower")[3 * row // heat.shape[0]]
    across = ("left", "middle", "right")[3 * column // heat.shape[1]]
    return f"{case.name}: the map of {label} is highest in the {down} third, {across}."


def paragraphs(sentences):
    """HTML, a paragraph for each."""
    return "".join(f"<p style='line-height: 1.35; margin: 0 0 .4em'>{s}</p>" for s in sentences)


def plain(markup):
    """HTML as plain words."""
    return html.unescape(re.sub(r"<[^>]+>", " ", markup.replace("</p>", "\n"))).strip()


def still(room):
    """A room's first view as one picture: (PNG, its text)."""
    case, reading, label = room.case, room.reading, room.graph.selected
    heat = room.reader.maps(case.grey[None], [label])[0, 0].numpy()
    fig, axes = plots.figure(1, 3, 12.75, 4.9, width_ratios=(1, 1, 1.2))
    outline = f", {label} outlined" if label in case.places else ""
    for axis, picture, title in (
        (axes[0], pictures.film(case.shown, None, case.places.get(label)), f"The film{outline}"),
        (axes[1], pictures.film(case.shown, heat), f"Where it sees {label}"),
    ):
        axis.imshow(picture)
        axis.set_title(title, loc="left", fontsize=12)
    words = plain(room.report.value).splitlines()
    words = [line for part in words for line in textwrap.wrap(part.strip(), 47)]
    axes[2].text(0, 1, "\n".join(words), va="top", fontsize=12, linespacing=1.1)
    for axis in axes:
        axis.axis("off")
    top = plots.png(fig, "")["image/png"]
    graph = plots.draw_hierarchy(
        room.hierarchy, reading.scores.loc[0], label="probability; framed: said",
        marked=[name for name in room.hierarchy.labels if reading.said.loc[0, name]],
    )  # fmt: skip
    parts = [
        Image.open(io.BytesIO(png)).convert("RGB")
        for png in (top, plots.png(graph, "")["image/png"])
    ]
    whole = Image.new("RGB", (max(p.width for p in parts), sum(p.height for p in parts)), "white")
    for part, place in zip(parts, (0, parts[0].height), strict=True):
        whole.paste(part, (0, place))
    content = io.BytesIO()
    whole.quantize(256).save(content, "PNG", optimize=True)
    alt = (
        f"The reading room. {where(case, label, heat)} Beside it stands what is said; below it the "
        "hierarchy, with a score in every box."
    )
    return content.getvalue(), alt

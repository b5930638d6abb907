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


def report(case, reading):
    """The gate first, then what may be said, what is known and what the repair mended: HTML."""
    distance = reading.distance.loc[0]
    if distance > 1:
        gate = f"<b>Stopped by the gate</b>: unlike what it knows ({distance:.2f} times the limit)."
    else:
        gate = f"Passes the gate ({distance:.2f} of its limit)."
    sentences = [f"<b>{html.escape(case.name)}</b>", *map(html.escape, case.notes), gate]
    sentences += [_bold(html.escape(sentence)) for sentence in reading.report(0)]
    if case.truth is not None:
        sentences.append(f"<i>{_known(case)}</i>")
    mended = [label for label in reading.mended if reading.mended.loc[0, label]]
    if mended and not reading.refused.loc[0]:
        sentences.append(f"Scored above a parent, which was raised to it: {', '.join(mended)}.")
    return paragraphs([*sentences, NOT_FOR_CLINICAL_USE])


def _bold(sentence):
    return re.sub(r"^(Said|Nothing is said|Nothing is sure)", r"<b>\1</b>", sentence)


def _known(case):
    """What is true of the fourteen, or what labels say of them; and what nobody knows."""
    present = [label for label in OBSERVATIONS if case.truth[label] == 1]
    unknown = [label for label in OBSERVATIONS if np.isnan(case.truth[label])]
    told = f"{case.known_as}: {', '.join(present) or 'none of what is known'}."
    return told + f" Not known: {', '.join(unknown)}." * bool(unknown)


def boxes(reading, threshold):
    """What stands in the graph's boxes: score and interval; what is said, and what is ruled out.

    Of an image that is refused only the scores: nothing that was found on others holds for it.
    """
    scores, low, high = (table.loc[0] for table in (reading.scores, reading.low, reading.high))
    refused, notes = reading.refused.loc[0], {}
    said = [n for n in scores.index if reading.said.loc[0, n]]
    for n in scores.index if not refused else ():
        state = "said" if n in said else "ruled out" * (reading.sets.loc[0, n] == "absent")
        notes[n] = ", ".join(filter(None, [share(low[n], high[n]), state]))
    return {
        "shares": {n: float(s) * (s >= threshold and not refused) for n, s in scores.items()},
        "texts": {n: f"{s:.2f}" for n, s in scores.items()},
        "notes": notes,
        "marks": dict.fromkeys(said, "said"),
    }


def share(low, high):
    """An interval of shares in words; nothing is nearer to none or all than a hundredth.

    Empty for NaN, where nothing was known of a label.

    >>> share(0.02, 0.4), share(0.001, 0.2), share(0.97, 0.999), share(0.999, 1)
    ('2–40%', 'under 20%', 'over 97%', 'over 99%')
    """
    if np.isnan(low):
        return ""
    if low < 0.01:
        return f"under {max(high, 0.01):.0%}"
    if high > 0.99:
        return f"over {min(low, 0.99):.0%}"
    return f"{100 * low:.0f}–{high:.0%}"


def about(hierarchy, reading, case, label, threshold, hit=None):
    """All that is known of one label of the image: HTML."""
    scores, refused = reading.scores.loc[0], reading.refused.loc[0]
    told = [f"<b>{label} {scores[label]:.2f}</b>."]
    if refused:
        told.append("The image was refused: what scores mean was found on others, unlike it.")
    else:
        told += _meant(reading, label)
    if case.truth is not None:
        known = case.truth[label]
        known = "not known" if np.isnan(known) else "present" if known else "absent"
        told.append(f"{case.known_as}: {known}.")
    told += _kin(hierarchy, scores, label)
    caveat = ["The map is scaled to itself: it says where, not how much, and not why."]
    if label in case.places:
        caveat.append("The outline is where the beam meets 3 mm of it or more, seen or not.")
    if hit is not None and not refused and scores[label] >= threshold:
        caveat.append(f"Of frontal phantoms with {label} it is highest on it in {hit:.0%} (08).")
    if label not in OBSERVATIONS:
        caveat.append("A group's map is most like that of its child that is there.")
    counts = [] if refused else [_counts(reading, case, threshold)]
    return paragraphs([" ".join(told), " ".join(caveat), *counts])


def _meant(reading, label):
    """What a score means, and what is said of the label: sentences."""
    low, high = reading.low.loc[0, label], reading.high.loc[0, label]
    phantoms = " phantoms" if "phantom" in reading.origin else " images"
    if told := share(low, high):
        yield f"Of validation{phantoms} with such a score {told} have it (90% interval)."
    else:
        yield "How often images with such a score have it is not known: no label tells."
    if reading.said.loc[0, label]:
        yield "<b>It is said.</b>"
    elif reading.sets.loc[0, label] == "absent":
        yield "<b>It is ruled out</b>: of those who have it, one in ten scores as low."


def _kin(hierarchy, scores, label):
    for words, names in (
        ("Above it", hierarchy.parents(label)),
        ("below it", hierarchy.children(label)),
    ):
        listed = ", ".join(f"{name} {scores[name]:.2f}" for name in names)
        yield f"{words}: {listed or 'none'}" + (";" if words[0] == "A" else ".")


def _counts(reading, case, threshold):
    """How the threshold, for which nothing is promised, does on this image."""
    called = reading.scores.loc[0] >= threshold
    told = f"At a threshold of {threshold:.2f} {called.sum()} of {len(called)} labels are blue"
    if case.truth is None:
        return f"{told}."
    true, known = case.truth == 1, case.truth.notna()
    wrong, missed = (called & known & ~true).sum(), (true & ~called).sum()
    among = "" if known.all() else f", among the {known.sum()} that are known"
    return f"{told}: {wrong} wrongly, with {missed} missed{among}."


def like_it(label, has):
    """About the images that are like the one on the viewer: HTML."""
    return paragraphs(
        [
            f"<b>Images like it</b>, as the model's last layer sees them: {len(has)} validation "
            f"patients, of whom {int((has == 1).sum())}, in an orange frame, have {label}."
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
    return f"{case.name}: the map of {label} is highest in the picture's {down} third, {across}."


def paragraphs(sentences):
    """HTML, a paragraph for each."""
    return "".join(f"<p style='line-height: 1.35; margin: 0 0 .4em'>{s}</p>" for s in sentences)


def plain(markup):
    """HTML as plain words."""
    return html.unescape(re.sub(r"<[^>]+>", "", markup.replace("</p>", "\n"))).strip()


def still(room):
    """A room's view as one picture: (PNG, its text)."""
    case, reading, label = room.case, room.reading, room.graph.selected
    words = plain(room.report.now["value"]).splitlines()
    words = [line for part in words for line in textwrap.wrap(part.strip(), 47)]
    fig, axes = plots.figure(
        1, 3, 12.75, max(4.9, 0.5 + 0.19 * len(words)), width_ratios=(1, 1, 1.2)
    )
    heat = room.reader.maps(case.grey[None], [label])[0, 0].numpy()
    outline = f", {label} outlined" if label in case.places else ""
    for axis, picture, title in (
        (axes[0], pictures.film(case.shown, None, case.places.get(label)), f"The film{outline}"),
        (axes[1], pictures.film(case.shown, heat), f"Where it sees {label}"),
    ):
        axis.imshow(picture)
        axis.set_title(title, loc="left", fontsize=12)
    axes[2].text(0, 1, "\n".join(words), va="top", fontsize=12, linespacing=1.1, parse_math=False)
    for axis in axes:
        axis.axis("off")
    graph = plots.draw_hierarchy(
        room.hierarchy, reading.scores.loc[0], label="probability; framed: said",
        marked=[name for name in room.hierarchy.labels if reading.said.loc[0, name]],
    )  # fmt: skip
    parts = [Image.open(io.BytesIO(plots.png(part, "")["image/png"])) for part in (fig, graph)]
    whole = Image.new("RGB", (max(p.width for p in parts), sum(p.height for p in parts)), "white")
    for part, place in zip(parts, (0, parts[0].height), strict=True):
        whole.paste(part.convert("RGB"), (0, place))
    content = io.BytesIO()
    whole.quantize(256).save(content, "PNG", optimize=True)
    alt = (
        f"The reading room. {where(case, label, heat)} Beside it stands what is said; below it the "
        "hierarchy, with a score in every box."
    )
    return content.getvalue(), alt

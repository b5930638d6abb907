"""Tables of labels and of predictions, against a strict reading of the file."""

import csv
import functools
import io
import re
from collections import Counter

import numpy as np

from . import harness
from .harness import NAN, Refuse, cxr, judged, pick, target

ODD = ("nan", "inf", "-inf", "2", "-2", "0.5", "1.0", " 1", "1 ", "", " ", "-1", "0", "1e0", "True",
       "x", "é", "٣", "None", "1_0", "0x1", "a\nb", 'a"b', "..", "../../etc/passwd", "/etc/x", "\0",
       "a,b", "-0", "1e400", "Edema", "Effusion||Mass", "No Finding|Mass", " Mass", "|",
       "\\")  # fmt: skip


def odd_cell(rows, rng):
    rows[int(rng.integers(1, len(rows)))][int(rng.integers(len(rows[0])))] = pick(rng, ODD)


def a_column(change):
    """``change(row, column, header)`` of one column, in every row."""

    def spoilt(rows, rng):
        column, header = int(rng.integers(len(rows[0]))), rows[0]
        for row in rows:
            change(row, column, row is header, rng)

    return spoilt


def columns_shuffled(rows, rng):
    order = rng.permutation(len(rows[0]))
    rows[:] = [[row[i] for i in order] for row in rows]


CELLS = {
    "odd cell": odd_cell,
    "rows shuffled": lambda rows, rng: rows.__setitem__(
        slice(1, None), [rows[i + 1] for i in rng.permutation(len(rows) - 1)]),
    "columns shuffled": columns_shuffled,
    "a column twice": a_column(lambda row, column, header, rng: row.append(
        row[column] if header else pick(rng, ("0", "1", row[column])))),
    "a column gone": a_column(lambda row, column, header, rng: row.pop(column)),
    "odd header": lambda rows, rng: rows[0].__setitem__(
        int(rng.integers(len(rows[0]))), pick(rng, ("", " Edema", "edema", "Path", "x", "é"))),
    "a row twice": lambda rows, rng: rows.append(list(pick(rng, rows[1:]))),
    "only the header": lambda rows, rng: rows.__delitem__(slice(1, None)),
    "a short row": lambda rows, rng: pick(rng, rows[1:]).pop(),
    "a long row": lambda rows, rng: pick(rng, rows[1:]).append("1"),
    "blank line, odd cell": lambda rows, rng: (odd_cell(rows, rng), rows.insert(1, [])),
    "quoted line end, odd cell": lambda rows, rng: (
        rows[1].__setitem__(-1, "1\n"), odd_cell(rows, rng)),
}  # fmt: skip


def read_rows(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def spoil(path, rng, rows=None, more=None):
    """Spoil a table, after writing ``rows`` if given, as cells or as bytes; returns how."""
    if rows:
        write_rows(path, rows)
    return harness.spoil(path, rng, CELLS | (more or {}), read_rows, write_rows)


# --- Strict reading ------------------------------------------------------------------------------


def parsed(path, columns=(), key=None):
    """(header, [(line as a pattern, {column: text})]) of a CSV file; refused where it has not
    these columns, or a cell of the column ``key`` twice."""
    data = path.read_bytes()
    try:
        reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""))
    except UnicodeDecodeError as error:
        raise Refuse("") from error
    lines, last = [], 0
    for row in reader:
        lines += [(rf"line ({last + 1}|{reader.line_num})\b", row)] if row else []
        last = reader.line_num
    if not lines or b"\0" in data:
        raise Refuse("")
    header = lines[0][1]
    if twice := [name for name, times in Counter(filter(None, header)).items() if times > 1]:
        raise Refuse("|".join(map(re.escape, twice)))
    for line, row in lines:
        if len(row) != len(header):
            raise Refuse(line)
    if missing := [name for name in columns if name not in header]:
        raise Refuse("|".join(map(re.escape, missing)))
    if len(lines) == 1:
        raise Refuse("rows|empty" if columns else "")
    rows, seen = [(line, dict(zip(header, row, strict=True))) for line, row in lines[1:]], set()
    for line, row in rows if key in header else ():
        if row[key] in seen:
            raise Refuse(f"{re.escape(row[key])}.*|{line}")
        seen.add(row[key])
    return header, rows


def numbers(rows, name, good):
    """A column as numbers, NaN where it is blank; refused where a cell is no ``good`` one."""

    def number(line, text):
        plain = re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", text, re.ASCII)
        if text.strip() and not (plain and good(float(text))):
            raise Refuse(line)
        return float(text) if text.strip() else NAN

    return [number(line, row[name]) for line, row in rows]


def same_columns(got, want):
    for name, values in want.items():
        if not np.array_equal(got[name], values, equal_nan=True):
            return f"{name}: {list(got[name])[:6]}, expected {values[:6]}"


def person(text):
    """A patient's number, however it is written."""
    whole = re.fullmatch(r"\s*(\d+)(\.0*)?\s*", text, re.ASCII)
    return int(whole[1]) if whole else text.strip()


# --- The three kinds of table --------------------------------------------------------------------


def chexpert_rows(split="train", patients=5, first=1):
    rng, names = np.random.default_rng(first), cxr("labels").OBSERVATIONS
    rows = [["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *names]]
    for patient in range(first, first + patients):
        for study in (1, 2):
            path = f"data/{split}/patient{patient:05d}/study{study}/view1_frontal.jpg"
            codes = map(str, rng.choice([0.0, 1.0], len(names)))
            rows.append([path, "Female", str(30 + patient), "Frontal", "AP", *codes])
    return rows


@target(1750)
def read_chexpert(rng, place):
    path, labels = place / "train.csv", cxr("labels")

    def oracle():
        _, rows = parsed(path, ("Path", *labels.OBSERVATIONS), "Path")
        return {name: numbers(rows, name, (0, 1, -1).__contains__) for name in labels.OBSERVATIONS}

    what = spoil(path, rng, chexpert_rows())
    return judged(what, lambda: labels.read_chexpert(path), oracle, same_columns, path.name)


NIH_HEADER = ["Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age",
              "Patient Gender", "View Position"]  # fmt: skip


def nih_rows(patients=12):
    findings = ("No Finding", "Effusion", "Effusion|Mass", "Hernia", "Infiltration|Edema")
    return [NIH_HEADER] + [
        [f"{patient:08d}_{visit:03d}.png", findings[(patient + visit) % 5], str(visit),
         str(patient), "57", "F", "PA"]
        for patient in range(1, patients + 1) for visit in range(1 + patient % 2)
    ]  # fmt: skip


@target(1750)
def read_nih(rng, place):
    path, labels = place / "Data_Entry.csv", cxr("labels")

    def oracle():
        wanted = ("Image Index", "Finding Labels", "Patient ID", "View Position")
        table = {name: [] for name in labels.OBSERVATIONS}
        for line, row in parsed(path, wanted, "Image Index")[1]:
            found = {name for name in row["Finding Labels"].split("|") if name}
            if not found or found - set(labels.NIH_TO_CHEXPERT) or found > {"No Finding"}:
                raise Refuse(line)
            meant = {labels.NIH_TO_CHEXPERT[name] for name in found}
            for name, column in table.items():
                unknown = name in labels.NIH_UNLABELLED
                unknown |= name == "Lung Opacity" and meant.isdisjoint({name, "No Finding"})
                column.append(NAN if unknown else float(name in meant))
        return table

    what = spoil(path, rng, nih_rows())
    return judged(what, lambda: labels.read_nih(path), oracle, same_columns, path.name)


@target(3000)
def read_predictions(rng, place):
    path, fixed = place / "predictions.csv", np.random.default_rng(0)
    rows = [["Path", "patient", "Edema_GT", "Edema_Pred", "Mass_GT", "Mass_Pred"]]
    for i in range(9):
        (a, b), (p, q) = fixed.integers(0, 2, 2), fixed.random(2).round(4)
        rows.append([f"a/{i}.png", str(i // 2), str(a), str(p), str(b), str(q)])

    def oracle():
        header, rows = parsed(path, key="Path")
        truths, scores = (
            [n.removesuffix(end) for n in header if n.endswith(end)] for end in ("_GT", "_Pred")
        )
        if set(truths) != set(scores) or not truths:
            raise Refuse("_GT|_Pred")
        answer = {}
        for n in truths:
            answer[n, "truth"] = numbers(rows, f"{n}_GT", (0, 1).__contains__)
            answer[n, "scores"] = numbers(rows, f"{n}_Pred", lambda p: 0 <= p <= 1)
            if np.isnan(answer[n, "scores"]).any():
                raise Refuse(rows[int(np.isnan(answer[n, "scores"]).argmax())][0])
        for line, row in rows:
            if not row.get("patient", "x").strip():
                raise Refuse(line)
        people = {person(row["patient"]) for _, row in rows} if "patient" in header else ()
        return answer, len(people)

    def same(got, want):
        answer, people = want
        complaint = same_columns({n: getattr(got, n[1])[n[0]] for n in answer}, answer)
        count = got.about["patient"].nunique() if people else 0
        return complaint or (f"{count} patients, expected {people}" if count != people else None)

    more = {f"a patient as {t!r}": lambda rows, rng, t=t: rows[2].__setitem__(1, t)
            for t in ("0.0", " 0", "", "1 ", "1.0")}  # fmt: skip
    what = spoil(path, rng, rows, more)
    call = functools.partial(cxr("evaluation").read_predictions, path)
    return judged(what, call, oracle, same, path.name)

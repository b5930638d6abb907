"""Contact sheets: look at the phantom before believing any number about it.

    python benchmarks/sheets.py [NIH_FOLDER] [--out build/sheets]

Writes PNGs: twenty random studies; every finding at three severities, outlined (orange, where it
is; blue, what it changes) beside a twin without outlines; lateral views; and, with a folder of real
radiographs, twelve of them above twelve phantoms, all equalised as a model sees them. The folder of
sheets may hold pictures of patients: it is not for the repository.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage
from torch import from_numpy

from cxrlib import data, phantom, transfer

SIZE = 256
SEVERITIES = (0.3, 0.6, 0.9)
ORANGE, BLUE = (230, 159, 0), (86, 180, 233)


def grid(images, columns):
    """Images [N, H, W] or [N, H, W, 3] as one picture, row by row."""
    rows = [np.concatenate(images[k : k + columns], 1) for k in range(0, len(images), columns)]
    return np.concatenate(rows)


def outlined(image, mask, colour):
    """An RGB image with the outline of a mask drawn on it."""
    image = image.copy()
    image[ndimage.binary_dilation(mask) & ~mask] = colour
    return image


def random_studies(count, seed):
    """The first studies of ``count`` patients."""
    rng = np.random.default_rng(seed)
    return [phantom.draw_studies(rng)[0] for _ in range(count)]


def of_finding(study, name):
    """One finding at three severities, each outlined and, beside it, as it is."""
    pictures = []
    for severity in SEVERITIES:
        ill = replace(study, drawn={name: severity}, other="")
        image = np.repeat(phantom.render(ill, SIZE)[..., None], 3, axis=2)
        marked = outlined(image, phantom.masks(ill, SIZE)[name], BLUE)
        marked = outlined(marked, phantom.lesions(ill, SIZE)[name], ORANGE)
        pictures += [marked, image]
    return pictures


def equal(images):
    """Images [N, H, W] as a model sees them, uint8."""
    return data.equalize(from_numpy(np.stack(images))[:, None])[:, 0].numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="NIH_FOLDER", nargs="?", help="see data/README.md")
    parser.add_argument("--out", type=Path, default=Path("build/sheets"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    studies = random_studies(20, options.seed)
    sheets = {"random": grid([phantom.render(study, SIZE) for study in studies], 5)}
    standing = [s for s in random_studies(120, options.seed + 1) if s.projection == "PA"]
    sheets["lateral"] = grid([phantom.render(s, SIZE, "lateral") for s in standing[:10]], 5)
    for k, name in enumerate(phantom.FINDINGS):
        pictures = of_finding(studies[k], name) + of_finding(standing[k], name)
        sheets[name] = grid(pictures, 2 * len(SEVERITIES))
    if options.folder:
        track = data.open_track(options.folder)
        looked_at = ~transfer.reporting(track.table["patient"])  # the others are for measuring
        chosen = track.table.loc[looked_at, "path"].sample(12, random_state=options.seed)
        real = data.read_images([track.folder / path for path in chosen], SIZE)[:, 0].numpy()
        ours = [phantom.render(study, SIZE) for study in studies[:12]]
        sheets["beside real"] = grid([*equal(real), *equal(ours)], 6)
    for name, picture in sheets.items():
        path = options.out / f"{name.lower().replace(' ', '-')}.png"
        Image.fromarray(picture).save(path)
        print(path)


if __name__ == "__main__":
    main()

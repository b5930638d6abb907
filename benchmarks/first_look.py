"""What the course's own model says of one radiograph, for the first page of the course.

    python benchmarks/first_look.py

The model is that of configs/pointing.yaml (notebook 07), trained now if it is not there. The image
is not chosen by how well it went: it is the first of the test images that shows three observations
or more. The result goes to results/first_look.json: 21 probabilities, and the truth.
"""

from common import HIERARCHY, RESULTS, provenance, rounded, versions, write_json

from cxrlib import data, training
from cxrlib.configs import read_config
from cxrlib.evaluation import read_predictions
from cxrlib.labels import OBSERVATIONS


def look(test):
    """{path, probabilities, truth} of the first image with three observations or more."""
    many = (test.truth[list(OBSERVATIONS)].sum(axis=1) >= 3).to_numpy()
    if not many.any():
        raise SystemExit("No image of the test split shows three observations or more.")
    number = many.argmax()
    return {
        "path": str(test.about["Path"].iloc[number]),
        "probabilities": test.scores.iloc[number].to_dict(),
        "truth": test.truth.iloc[number].to_dict(),
    }


def main():
    track = data.open_track(data.DEFAULT_FOLDER)
    settings = read_config("pointing").settings
    run = training.train(track, HIERARCHY, settings, name="pointing")
    test = read_predictions(run.folder / "predictions.csv").split("test")
    content = look(test) | {"phantom": provenance(track), "versions": versions()}
    print(write_json(RESULTS / "first_look.json", rounded(content)))


if __name__ == "__main__":
    main()

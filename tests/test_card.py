import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cxrlib import __main__ as command
from cxrlib import card, configs, training
from cxrlib.card import model_card
from cxrlib.evaluation import EvaluationError, read_predictions
from cxrlib.hierarchy import read_hierarchy
from cxrlib.training import Settings


@pytest.fixture
def run(chexpert_folder, tmp_path):
    track, hierarchy = configs.open_data(str(chexpert_folder))
    settings = Settings(size=32, epochs=1, batch_size=8, method="conditional")
    return training.train(track, hierarchy, settings, name="carded", runs=tmp_path / "runs")


def test_the_card_says_what_the_run_says(run):
    text = model_card(run.folder, resamples=20)
    assert text.startswith(f"# Model card: {run.folder.name}\n")
    assert "method: conditional" in text
    assert "8 test images of 4 patients" in text
    assert "on 0.0% of the images" in text
    table = pd.read_csv(run.folder / "predictions.csv").query("split == 'test'")
    edema = roc_auc_score(table["Edema_GT"], table["Edema_Pred"])
    (line,) = [line for line in text.splitlines() if line.startswith("| Edema |")]
    assert line.split(" | ")[1:3] == [str(int(table["Edema_GT"].sum())), f"{edema:.3f}"]
    if table["Abnormal_GT"].nunique() < 2:
        assert "Abnormal: AUROC undefined" in text
    assert "not a medical device" in text


def test_the_command(run, tmp_path, capsys):
    assert command.main(["card", str(run.folder)]) is None
    assert "# Model card: carded" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="no finished run here"):
        card.main([str(tmp_path)])


def test_a_run_without_test_images_is_refused(run):
    file = run.folder / "predictions.csv"
    pd.read_csv(file).query("split == 'valid'").to_csv(file, index=False)
    with pytest.raises(EvaluationError, match="no row of the split 'test'"):
        model_card(run.folder, resamples=5)


def test_commands_are_found(capsys):
    assert command.main([]) == 0
    assert "check FOLDER" in capsys.readouterr().out
    assert "unknown command 'train'" in command.main(["train"])


@pytest.mark.parametrize("name", ["chexpert", "anatomy", "padchest"])
def test_other_hierarchies_are_trained_and_told(track, tmp_path, name):
    """CheXpert's and the course's own fit this track; PadChest's asks for labels it has not."""
    hierarchy = read_hierarchy(name)
    settings = Settings(size=32, epochs=1, batch_size=8, method="conditional")
    if name == "padchest":
        with pytest.raises(ValueError, match="none of the labels abnormal foreign body"):
            training.train(track, hierarchy, settings, runs=tmp_path)
        return
    run = training.train(track, hierarchy, settings, runs=tmp_path)
    assert training.find_run(run.folder).hierarchy == hierarchy
    predictions = read_predictions(run.folder / "predictions.csv")
    assert not hierarchy.incoherent(predictions.scores[list(hierarchy.labels)]).any()
    assert f"with {len(hierarchy.labels)} outputs" in model_card(run.folder, resamples=20)

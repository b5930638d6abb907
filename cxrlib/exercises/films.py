"""The films of notebook 01's quiz, kept here so that no answer stands above its question."""

QUIZ = {
    1: ((214, {"Cardiomegaly": 0.7, "Pleural Effusion": 0.65}), "frontal"),
    2: ((4, {"Pneumothorax": 0.5}), "frontal"),
    3: ((114,), "frontal"),
    4: ((862, {"Lung Lesion": 0.4}), "lateral"),
}


def quiz_film(number, film):
    """(study, view) of a film of the quiz, 1 to 4.

    ``film(patient, drawn)`` draws a study of a patient, with findings and their severities.
    """
    drawn, view = QUIZ[number]
    return film(*drawn), view

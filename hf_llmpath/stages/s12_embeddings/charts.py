"""The map of words, what the objectives reach, neighbors, and one word in several senses."""

from pathlib import Path

from matplotlib.figure import Figure

from ...charts.bars import score_bars
from ...charts.style import save
from ...runs import RunFolder
from .word_map import nearest_words, sense_scatter, word_map

NAMES = {"skipgram": "skip-gram", "cbow": "CBOW", "glove": "GloVe"}
MEASURES = {
    "kind_precision": "neighbors of the word's own kind",
    "wordsim353": "agreement with people, WordSim-353",
    "men": "agreement with people, MEN",
    "simlex999": "agreement with people, SimLex-999",
    "analogy_accuracy": "analogies answered",
}


def draw(folder: RunFolder) -> list[Path]:
    """Draws every picture of the run."""
    target, drawn = folder.path / "figures", folder.figure_data("map")
    pictures = [
        save(
            word_map(drawn, "PCA", "Words in the plane in which their vectors differ most"),
            target / "map.png",
        ),
        save(
            nearest_words(folder.figure_data("neighbors"), "The nearest words, by cosine"),
            target / "neighbors.png",
        ),
        save(_objectives(folder), target / "objectives.png"),
    ]
    if "t-SNE" in drawn["maps"]:
        title = "The same words by t-SNE: neighbors stay neighbors, distances do not count"
        pictures.append(save(word_map(drawn, "t-SNE", title, arrows=False), target / "tsne.png"))
    if "sense_accuracy" in folder.metrics:
        data = folder.figure_data("senses")
        pictures.append(save(sense_scatter(data, f"“{data['word']}” in its senses"), target / "senses.png"))
    return pictures


def _objectives(folder: RunFolder) -> Figure:
    metrics, first = folder.metrics, folder.report["settings"]["objectives"][0]
    measure = next((name for name in MEASURES if name in metrics), "words_per_second")
    scores = {NAMES[first]: metrics[measure]}
    scores |= {NAMES[name]: metrics[f"{name}/{measure}"] for name in NAMES if f"{name}/{measure}" in metrics}
    if measure == "kind_precision":
        scores["PPMI of counts"] = metrics["ppmi/kind_precision"]
    baseline = folder.report["baselines"].get(measure)
    levels = {"vectors of plain counts": baseline} if baseline else {}
    return score_bars(
        scores,
        f"Word vectors: {MEASURES.get(measure, 'words per second')}",
        measure.replace("_", " "),
        levels,
    )

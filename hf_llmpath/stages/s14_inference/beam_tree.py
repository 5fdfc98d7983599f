"""A beam search as a tree: what a picture of it is drawn from."""

from typing import Any

from transformers import PreTrainedTokenizerBase

from ...decoding.beam_search import NEVER, Beams


def beam_tree(found: Beams, tokenizer: PreTrainedTokenizerBase, row: int = 0) -> list[list[dict[str, Any]]]:
    """The nodes of each step, the likeliest first.

    Args:
        found: of `beam_search(..., with_steps=True)`.
        tokenizer: for the tokens' texts.
        row: of the batch.

    Returns:
        For each step a list of nodes: `token` (text), `parent` (place in the list of the step before; -1
        in the first step), `log_probability` of the text up to here, `score` if the text ends here,
        `ended`, and `best`: on the way to the best text.
    """
    steps: list[list[dict[str, Any]]] = []
    places: list[int] = []  # of the beams of the step before in its list of nodes
    for step in found.steps:
        nodes = [
            {
                "token": token,
                "parent": parent,
                "log_probability": value,
                "score": None,
                "ended": False,
                "beam": beam,
            }
            for beam, (token, parent, value) in enumerate(
                zip(
                    *(of[row].tolist() for of in (step.tokens, step.parents, step.log_probabilities)),
                    strict=True,
                )
            )
            if value > NEVER / 2
        ]
        nodes += [
            {"token": end.token, "parent": end.parent, "log_probability": end.log_probability, "score": end.score,
             "ended": True, "beam": None}
            for end in step.ended
            if end.row == row and end.log_probability > NEVER / 2
        ]  # fmt: skip
        nodes.sort(key=lambda node: -node["log_probability"])
        for node in nodes:
            node["parent"] = places[node["parent"]] if steps else -1
            node["token"] = tokenizer.convert_ids_to_tokens(node["token"])
            node["best"] = False
        beams = {node["beam"]: place for place, node in enumerate(nodes) if node["beam"] is not None}
        places = [beams.get(beam, -1) for beam in range(step.tokens.shape[1])]
        steps.append(nodes)
    _mark_best(steps)
    for nodes in steps:
        for node in nodes:
            del node["beam"]
    return steps


def _mark_best(steps: list[list[dict[str, Any]]]) -> None:
    ends = [
        (node["score"], depth, place)
        for depth, nodes in enumerate(steps)
        for place, node in enumerate(nodes)
        if node["ended"]
    ]
    if not ends:
        return
    _, depth, place = max(ends)
    while depth >= 0:
        node = steps[depth][place]
        node["best"] = True
        depth, place = depth - 1, node["parent"]

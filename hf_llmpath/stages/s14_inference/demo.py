"""Builds the page of stage 14: three ways to continue a prompt, the tree of beam search, a race of forms."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import torch
from torch import Tensor

from ...charts.picture import figure
from ...data.tokenizers.word_level import unknown_words
from ...decoding.beam_search import beam_search
from ...decoding.generation import sample
from ...decoding.sampling import GREEDY, Sampling
from ...deploy.speed import Form
from ...deploy.variants import build_forms
from ...errors import UserError
from ...hub.model_folder import load_model, load_pair, loaded
from ...runs import RunFolder
from ...ui import pictures
from ...ui.page import html, section, stage_page
from . import STAGE
from .beam_tree import Step, beam_tree, tree_picture
from .charts import forms_table, speeds

EXAMPLES = ("On a rainy afternoon, Mara", "Otto the smith had always wished", "Wren was sad, because")
LONGEST_PROMPT = 300  # characters
TREE_STEPS = 8  # columns of the tree after the prompt


def build(folder: RunFolder, model_id: str | None = None) -> gr.Blocks:
    """Builds the page; it reads the model and the measurements from `folder` once the run is complete."""

    def continue_prompt(
        prompt: str,
        temperature: float,
        top_k: int,
        top_p: float,
        beams: int,
        penalty: float,
        tokens: int,
        seed: int | None,
    ) -> tuple[str, str]:
        decoder, seed = load_decoder(folder.model_dir), seed or 0  # an emptied field sends None
        best, _ = decoder.search(prompt, int(beams), int(tokens), penalty)
        continuations = {
            "Greedy": decoder.write(prompt, GREEDY, int(tokens)),
            f"Sampled: temperature {temperature:g}, seed {seed}": decoder.write(
                prompt, Sampling(temperature, int(top_k), top_p), int(tokens), seed
            ),
            f"Beam search, {int(beams)} beams": best,
        }
        # A second and shorter search, because the tree of the whole text would not fit on the page.
        _, steps = decoder.search(prompt, int(beams), min(TREE_STEPS, int(tokens)), penalty)
        tree = tree_picture(steps, prompt, f"The first {len(steps)} steps of the beam search")
        return _side_by_side(prompt, continuations, decoder.note(prompt)), tree.html()

    def run_race(prompt: str, tokens: int) -> Iterator[str]:
        yield figure('<p class="lp-empty">Making the forms…</p>', "Tokens per second")
        for tokens_per_second in race(folder, prompt, int(tokens)):
            yield speeds(tokens_per_second, f"{int(tokens)} tokens, one text at a time").html()

    with stage_page(STAGE, folder, model_id) as page:
        html(
            section(
                "Three ways to continue",
                "The same model and prompt: they differ in what is chosen from the model's probabilities.",
            )
        )
        prompt = gr.Textbox(
            EXAMPLES[0], label="Text", max_length=LONGEST_PROMPT, elem_id="prompt", render=False
        )
        page.examples(prompt, EXAMPLES)
        prompt.render()
        with gr.Row():
            temperature = gr.Slider(0.1, 2, 0.8, step=0.05, label="Temperature", min_width=200)
            top_k = gr.Slider(0, 50, 0, step=1, label="Top k", info="0 keeps all tokens", min_width=200)
            top_p = gr.Slider(
                0.05, 1, 0.95, step=0.05, label="Top p", info="1 keeps all tokens", min_width=200
            )
        with gr.Row():
            beams = gr.Slider(1, 6, 3, step=1, label="Beams", min_width=200)
            penalty = gr.Slider(
                -1, 2, 1, step=0.25, label="Length penalty", info="Above 0 favors long texts", min_width=200
            )
            tokens = gr.Slider(8, 64, 32, step=8, label="Tokens to write", min_width=200)
            seed = gr.Number(
                0, label="Seed", precision=0, minimum=0, maximum=2**31 - 1, min_width=100, elem_id="seed"
            )
        controls: list[Any] = [prompt, temperature, top_k, top_p, beams, penalty, tokens, seed]
        page.remember(
            prompt=prompt, temperature=temperature, top_k=top_k, top_p=top_p, beams=beams, seed=seed
        )
        texts, tree = html(elem_id="texts"), html(elem_id="tree")
        html(
            section(
                "A race",
                "Each form of the model writes as many tokens, here and now. The first race makes the forms.",
            )
        )
        page.writer(run_race, [prompt, tokens], lambda: [html(elem_id="race")], label="Start the race")
        html(section("Measured by the run", "One text at a time; the median of several measurements."))
        table = html(elem_id="forms")
        page.set_up(lambda: forms_table(folder.figure_data("table")).html(), [table])
        page.on_change(controls, continue_prompt, controls, [texts, tree])
    return page.blocks


@dataclass(frozen=True)
class Continuation:
    """Holds a text without its prompt, its log-probability per token, and the speed of its generation."""

    text: str
    log_probability: float
    tokens_per_second: float


def _side_by_side(prompt: str, continuations: dict[str, Continuation], note: str) -> str:
    texts = [
        pictures.plain_text(
            one.text,
            name,
            f"{one.log_probability:.2f} nats per token, {one.tokens_per_second:,.0f} tokens/s. {note}",
            prompt=prompt,
        )
        for name, one in continuations.items()
    ]
    return f'<div class="lp lp-gallery lp-thirds">{"".join(texts)}</div>'


class Decoder:
    """A causal language model with its tokenizer, in evaluation mode."""

    def __init__(self, folder: Path):
        self.model, self.tokenizer = load_pair("AutoModelForCausalLM", folder)

    def encode(self, prompt: str, room: int) -> Tensor:
        """Encodes a prompt as token ids, `(1, length)`.

        Raises:
            UserError: If the prompt leaves no room for `room` more tokens.
        """
        ids = self.tokenizer(prompt, return_tensors="pt", verbose=False)["input_ids"]
        limit = self.model.config.max_position_embeddings
        if ids.shape[1] + room > limit:
            raise UserError(
                f"the prompt has {ids.shape[1]} tokens and {room} are to be written; the model reads "
                f"{limit}: take a shorter prompt, or write less"
            )
        return ids

    def note(self, prompt: str) -> str:
        """Returns a remark on the words that the model does not know; empty if it knows them all."""
        words = unknown_words(self.tokenizer, prompt)
        return f"The model never saw {', '.join(words)}." if words else ""

    def write(self, prompt: str, sampling: Sampling, tokens: int, seed: int = 0) -> Continuation:
        """Writes a greedy or sampled continuation of `tokens` tokens at most."""
        ids, generator = self.encode(prompt, tokens), torch.Generator().manual_seed(int(seed))
        began = time.perf_counter()
        written = sample(self.model, ids, sampling=sampling, max_new_tokens=tokens, generator=generator)
        return self._continuation(ids, written[0], time.perf_counter() - began)

    def search(
        self, prompt: str, beams: int, tokens: int, length_penalty: float
    ) -> tuple[Continuation, list[Step]]:
        """Returns the best continuation that beam search finds, and the tree of the search."""
        ids = self.encode(prompt, tokens)
        began = time.perf_counter()
        result = beam_search(
            self.model,
            ids,
            num_beams=beams,
            max_new_tokens=tokens,
            length_penalty=length_penalty,
            with_steps=True,
        )
        continuation = self._continuation(ids, result.sequences[0], time.perf_counter() - began)
        return continuation, beam_tree(result, self.tokenizer)

    def _continuation(self, prompt: Tensor, ids: Tensor, seconds: float) -> Continuation:
        """Measures a continuation.

        Args:
            prompt: the token ids of the prompt, `(1, prompt_length)`.
            ids: the token ids of the prompt and the continuation, `(length,)`.
            seconds: the time that writing took.
        """
        start = prompt.shape[1]
        with torch.no_grad():
            # The model reads (1, length). Each position predicts the next token, so the logits of what was
            # written begin one position before it: (written, vocabulary).
            logits = self.model(input_ids=ids[None]).logits[0, start - 1 : -1]
        written = ids[start:]  # (written,)
        # (written, vocabulary) -> (written, 1): log P(token | text before it)
        mean = float(logits.log_softmax(-1).gather(1, written[:, None]).mean())
        # The continuation is decoded with its prompt, because spaces depend on the token before.
        text, shown = (self.tokenizer.decode(row, skip_special_tokens=True) for row in (ids, prompt[0]))
        return Continuation(text.removeprefix(shown), mean, len(written) / seconds)


def load_decoder(folder: Path) -> Decoder:
    """Loads the model saved in `folder` and keeps it in memory until its files change.

    Raises:
        UserError: If its weight file is missing, truncated, or a pickle.
    """
    return loaded(Decoder, folder)


def race(folder: RunFolder, prompt: str, tokens: int) -> Iterator[dict[str, float]]:
    """Writes `tokens` tokens after `prompt` with each form of a run's model, one form after another.

    Yields:
        The tokens per second of each form so far, by name; every 8 tokens, and at the end of a form.
    """
    ids, student = load_decoder(folder.model_dir).encode(prompt, tokens), folder.model("student")
    # The forms stay in memory under their arguments, which must therefore be strings.
    forms = loaded(_forms, folder.model_dir, str(folder.onnx_dir), str(student) if student.is_dir() else "")
    tokens_per_second: dict[str, float] = {}
    for name, form in forms.items():
        for _ in form.write(ids, 4):  # warms up the form, which is not timed
            pass
        began = time.perf_counter()
        for count, _ in enumerate(form.write(ids, tokens), 1):
            if count % 8 == 0 or count == tokens:
                tokens_per_second[name] = count / (time.perf_counter() - began)
                yield dict(tokens_per_second)


def _forms(onnx_dir: str, student: str, folder: Path) -> dict[str, Form]:
    small = load_model("AutoModelForCausalLM", student) if student else None
    # Beam search has 4 beams; the results of the checks are dropped.
    return build_forms(folder, Path(onnx_dir), 4, small)[0]

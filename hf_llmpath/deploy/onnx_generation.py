"""Generates text with an ONNX decoder in onnxruntime.

    writer = OnnxDecoder("runs/14-inference/onnx/model.onnx", "runs/14-inference/model")
    for tokens in writer.stream(input_ids, max_new_tokens=100, sampling=Sampling(temperature=0.8)):
        ...

The cache stays in onnxruntime's memory and passes from step to step without a copy.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..decoding.generation import Stops, _check
from ..decoding.sampling import GREEDY, Sampling
from ..errors import UserError
from .onnx_export import HASH, HEAD_SIZE, HEADS, KIND, LAYERS, cache_names, hash_of_weights

# Bytes of a file below which a step ends before a second thread has woken up. With 0.9, 5, and 26 M weights,
# one thread writes 1.29, 1.22, and 0.82 times as fast as two.
SMALL = 50e6


class OnnxDecoder:
    """A decoder exported with its cache.

    Args:
        path: path of the ONNX file.
        folder: folder of the model that the file was made from; the file is refused if the weights there
            differ. If None, they are not compared.
        threads: number of threads of onnxruntime, by default one for a file below `SMALL` and otherwise as
            many as torch uses.

    Raises:
        UserError: the file does not exist, is not a decoder, or was made from different weights.
    """

    def __init__(self, path: Path | str, folder: Path | str | None = None, threads: int | None = None):
        import onnxruntime

        path = Path(path)
        if not path.is_file():
            raise UserError(f"no file {path}; make it with: llmpath export STAGE")
        options = onnxruntime.SessionOptions()
        few = 1 if path.stat().st_size < SMALL else torch.get_num_threads()
        options.intra_op_num_threads = threads or few
        # Threads that wait by spinning would keep the cores from others.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3  # errors
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the type depends on what is wrong with the file
            raise UserError(
                f"{path} is no ONNX file that can be read ({str(error).splitlines()[0][:120]})"
            ) from None
        notes = self.session.get_modelmeta().custom_metadata_map
        if notes.get(KIND) != "decoder":
            raise UserError(f"{path} is no decoder exported by llmpath: it has no cache to generate with")
        if folder is not None and notes.get(HASH) != hash_of_weights(Path(folder)):
            raise UserError(
                f"{path} was made from other weights than those now in {folder}; make it again with: "
                f"llmpath export STAGE"
            )
        layers, self.heads, self.head_size = (int(notes[name]) for name in (LAYERS, HEADS, HEAD_SIZE))
        self.past, self.present = cache_names(layers)
        self.stops = Stops(None, 0)  # without a model folder, nothing says which token ends a text
        if folder is not None:
            from transformers import GenerationConfig

            config = GenerationConfig.from_pretrained(folder)
            ids = config.eos_token_id
            eos = None if ids is None else torch.tensor([ids] if isinstance(ids, int) else ids)
            self.stops = Stops(eos, config.pad_token_id or 0)

    def logits(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Computes the logits `(batch, length, vocab_size)` of whole texts."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return torch.from_numpy(self._step(input_ids, mask, self._empty(len(input_ids)))[0].numpy())

    def stream(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        sampling: Sampling = GREEDY,
        max_new_tokens: int = 100,
        eos_token_id: int | list[int] | None = None,
        generator: torch.Generator | None = None,
    ) -> Iterator[Tensor]:
        """Yields one token `(batch,)` per step, like `decoding.generation.stream`."""
        _check(input_ids, max_new_tokens)
        stops, choose = self.stops, sampling.chooser(generator)
        if eos_token_id is not None:
            stops = Stops(
                torch.tensor([eos_token_id] if isinstance(eos_token_id, int) else eos_token_id), stops.pad
            )
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        writes = torch.ones(len(input_ids), dtype=torch.bool)  # (batch,): rows that have not ended
        unread, cache = input_ids, self._empty(len(input_ids))
        for step in range(max_new_tokens):
            logits, *cache = self._step(unread, mask, cache)
            # The last position chooses: (batch, length, vocabulary) -> (batch, vocabulary) -> (batch,).
            tokens = choose(torch.from_numpy(logits.numpy()[:, -1])).where(writes, stops.pad)
            yield tokens
            writes = writes & ~stops.ends(tokens)
            if step + 1 == max_new_tokens or not writes.any():
                return
            unread = tokens[:, None]  # (batch, 1)
            # (batch, length) -> (batch, length + 1)
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)

    def generate(self, input_ids: Tensor, attention_mask: Tensor | None = None, **options: Any) -> Tensor:
        """Returns token ids `(batch, length + written)`, including the prompt; `options` as in `stream`."""
        written = list(self.stream(input_ids, attention_mask, **options))
        # steps x (batch,) -> (batch, steps) -> (batch, length + steps)
        return torch.cat([input_ids, torch.stack(written, dim=1)], dim=1)

    def _empty(self, batch: int) -> list[Any]:
        from onnxruntime import OrtValue

        # (batch, heads, past, head_size) with a past of 0 tokens
        nothing = np.zeros((batch, self.heads, 0, self.head_size), dtype=np.float32)
        return [OrtValue.ortvalue_from_numpy(nothing) for _ in self.past]

    def _step(self, input_ids: Tensor, mask: Tensor, cache: list[Any]) -> list[Any]:
        from onnxruntime import OrtValue

        feeds = {
            "input_ids": OrtValue.ortvalue_from_numpy(input_ids.contiguous().numpy()),
            "attention_mask": OrtValue.ortvalue_from_numpy(mask.contiguous().numpy()),
            **dict(zip(self.past, cache, strict=True)),
        }
        # Unlike `run`, this returns OrtValues: the cache is not copied to NumPy between the steps.
        return self.session.run_with_ort_values(["logits", *self.present], feeds)

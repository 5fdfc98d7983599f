"""Stage 14: a trained language model writes by several ways of decoding, and in several smaller and
faster forms.
"""

from dataclasses import dataclass, replace

from ...settings import Settings, setting
from ..stage import Concept, Stage


@dataclass(frozen=True)
class InferenceSettings(Settings):
    text_column: str | None = setting(None, "column that holds the text; found by its usual names if none")
    vocab_size: int = setting(2000, "most words of the tokenizer", minimum=20)
    hidden_size: int = setting(128, "width of teacher and student", minimum=4)
    num_hidden_layers: int = setting(4, "layers of the teacher; the student has half", minimum=2)
    num_attention_heads: int = setting(4, "attention heads of a layer", minimum=1)
    context: int = setting(128, "tokens of a training window, and most that the model reads", minimum=8)
    max_steps: int = setting(120, "optimizer steps of the teacher", minimum=1)
    batch_size: int = setting(16, "windows per step", minimum=1)
    learning_rate: float = setting(0.02, "Muon's rate, for the hidden matrices of the teacher", minimum=0)
    student_steps: int = setting(90, "optimizer steps of the student", minimum=1)
    student_learning_rate: float = setting(0.02, "the same for the student", minimum=0)
    adam_learning_rate: float = setting(1e-2, "AdamW's rate, for embeddings and norms of both", minimum=0)
    decay: float = setting(
        0.5, "last share of the steps, in which the rates fall linearly", minimum=0, maximum=1
    )
    alpha: float = setting(
        0.5, "weight of the teacher's probabilities in the student's loss", minimum=0, maximum=1
    )
    temperature: float = setting(1.0, "by which both are softened", minimum=0.01)
    hidden: float = setting(0.3, "weight of the distance between the layers' states", minimum=0)
    alone: bool = setting(False, "also train the student as long without its teacher")
    num_beams: int = setting(4, "beginnings that beam search keeps", minimum=1)
    tokens: int = setting(48, "tokens written in each measurement of speed", minimum=2)
    repeats: int = setting(9, "measurements of speed, whose median counts", minimum=1)
    seeds: int = setting(1, "students, each with an order of the batches of its own", minimum=1)

    @classmethod
    def full(cls) -> "InferenceSettings":
        return replace(
            cls(), num_hidden_layers=6, max_steps=700, student_steps=500, repeats=15, seeds=3, hidden=0.1
        )


STAGE = Stage(
    number=14,
    slug="inference",
    title="Inference optimization",
    phase="Building and using LLMs",
    summary="One model, decoded in several ways and brought into smaller and faster forms: cached, few bits, ONNX, distilled.",
    model_type="llmpath-gpt",
    auto_class="AutoModelForCausalLM",
    main="onnx/speedup",
    concepts=(
        Concept("greedy decoding", "hf_llmpath.decoding.generation.greedy"),
        Concept("beam search", "hf_llmpath.decoding.beam_search.beam_search"),
        Concept("sampling", "hf_llmpath.decoding.sampling.Sampling"),
        Concept("temperature", "hf_llmpath.decoding.sampling.with_temperature"),
        Concept("top-k", "hf_llmpath.decoding.sampling.keep_top_k"),
        Concept("top-p", "hf_llmpath.decoding.sampling.keep_top_p"),
        Concept("KV cache", "hf_llmpath.decoding.generation.Stepper"),
        Concept("the overhead of modules", "hf_llmpath.decoding.bare_steps.BareStepper"),
        Concept("quantization", "hf_llmpath.deploy.quantization.quantized"),
        Concept("distillation", "hf_llmpath.stages.s14_inference.distillation.DistillationTrainer"),
        Concept("ONNX Runtime", "hf_llmpath.deploy.onnx_generation.OnnxDecoder"),
    ),
    settings=InferenceSettings,
    package=__name__,
    prompt="Once upon a time",
)

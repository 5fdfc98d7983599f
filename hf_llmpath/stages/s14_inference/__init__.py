"""Stage 14: a trained language model decodes in several ways and takes on smaller and faster forms."""

from dataclasses import dataclass
from typing import ClassVar

from ...settings import Group, Settings, group, setting
from ...training.recipe import Recipe
from ..stage import Concept, Stage


@dataclass(frozen=True)
class StudentSettings(Group):
    """Holds what differs between the student's training and the teacher's."""

    steps: int = setting(90, "optimizer steps", minimum=1)
    learning_rate: float = setting(0.02, "learning rate of Muon for the hidden matrices", minimum=0)
    alpha: float = setting(0.5, "weight of the teacher's probabilities in the loss", minimum=0, maximum=1)
    temperature: float = setting(
        1.0, "temperature that softens the probabilities of teacher and student", minimum=0.01
    )
    hidden: float = setting(0.3, "weight of the distance between the layers' states", minimum=0)
    alone: bool = setting(False, "whether another student is trained as long without the teacher")


@dataclass(frozen=True)
class InferenceSettings(Settings):
    text_column: str | None = setting(None, "column with the text; none: found by its usual names")
    vocab_size: int = setting(2000, "most words of the tokenizer", minimum=20)
    hidden_size: int = setting(128, "width of teacher and student", minimum=4)
    num_hidden_layers: int = setting(4, "layers of the teacher; the student has half", minimum=2)
    num_attention_heads: int = setting(4, "attention heads per layer", minimum=1)
    context: int = setting(128, "tokens of a training window; the model reads twice as many", minimum=8)
    teacher: Recipe = group(
        Recipe(
            steps=120,
            batch_size=16,
            learning_rate=0.02,
            weight_decay=0.1,
            warmup=0.0,
            decay=0.5,
            adam_learning_rate=1e-2,
        ),
        "training of the teacher, by Muon",
    )
    student: StudentSettings = group(StudentSettings(), "distillation of the student")
    num_beams: int = setting(4, "number of beams of beam search", minimum=1)
    tokens: int = setting(48, "tokens written in each measurement of speed", minimum=2)
    repeats: int = setting(9, "measurements of speed, of which the median counts", minimum=1)
    seeds: int = setting(1, "number of students, each with its own order of batches", minimum=1)

    renamed: ClassVar = {
        "max_steps": "teacher.steps",
        "batch_size": "teacher.batch_size",
        "learning_rate": "teacher.learning_rate",
        "adam_learning_rate": "teacher.adam_learning_rate",
        "decay": "teacher.decay",
        "student_steps": "student.steps",
        "student_learning_rate": "student.learning_rate",
        "alpha": "student.alpha",
        "temperature": "student.temperature",
        "hidden": "student.hidden",
        "alone": "student.alone",
    }

    @classmethod
    def full(cls) -> "InferenceSettings":
        changes = {"teacher.steps": 700, "student.steps": 500, "student.hidden": 0.1}
        return cls().updated(**changes, num_hidden_layers=6, repeats=15, seeds=3)


STAGE = Stage(
    number=14,
    slug="inference",
    title="Inference optimization",
    phase="Building and using LLMs",
    summary="One model, decoded in several ways, and made smaller and faster: few bits, ONNX, distillation.",
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

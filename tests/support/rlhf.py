"""Stage 16, which is not on the path yet, trained in seconds."""

from pathlib import Path
from typing import Any

from hf_llmpath.runs import Run, RunFolder
from hf_llmpath.stages.s16_rlhf import STAGE

TINY = {
    "conversations": 80,
    "pairs": 80,
    "hidden_size": 16,
    "sft_steps": 12,
    "reward_steps": 6,
    "steps": 3,
    "prompts": 4,
    "dpo_steps": 4,
    "examined": 8,
}


def train_rlhf(root: Path, **changes: Any) -> RunFolder:
    """A complete run of the stage, without a card."""
    settings = STAGE.settings.quick().updated(**TINY | changes)
    identity = {"stage": 16, "slug": "rlhf", "preset": "quick", "settings": settings.as_dict(), "command": "llmpath"}
    run = Run.start(root / STAGE.folder_name, identity)
    STAGE.train(settings, run)
    run.write_report()
    STAGE.draw(RunFolder(run.new))
    return run.commit()

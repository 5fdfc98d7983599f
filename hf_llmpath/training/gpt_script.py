"""The former name of `hf_llmpath.training.distributed.script`, kept for one release."""

import runpy
import warnings

if __name__ == "__main__":
    warnings.warn(
        "hf_llmpath.training.gpt_script is now hf_llmpath.training.distributed.script",
        DeprecationWarning,
        stacklevel=1,
    )
    runpy.run_module("hf_llmpath.training.distributed.script", run_name="__main__")

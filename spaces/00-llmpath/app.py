"""All stages in one app, as a Hugging Face Space; it also runs on its own: python app.py"""

from hf_llmpath.ui.app import launch_stage

launch_stage(None)

"""The demo of stage 17 as a Hugging Face Space; it also runs on its own: python app.py"""

from pathlib import Path

from hf_llmpath.hub.space import shown_model
from hf_llmpath.ui.app import launch_stage

launch_stage("architectures", model_id=shown_model(Path(__file__).parent))

"""Makes `python -m hf_llmpath` the same as `llmpath`."""

import sys

from .cli.main import main

sys.exit(main())

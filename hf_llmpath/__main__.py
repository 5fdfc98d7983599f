"""`python -m hf_llmpath`: the same as `llmpath`."""

import sys

from .cli import main

sys.exit(main())

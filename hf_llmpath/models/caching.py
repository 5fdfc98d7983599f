"""The cache that `generate()` hands from step to step, under the name that the installed transformers gives it.

Since 5.24 it is `cache`, before that it was `past_key_values`. Our models take both, so a pushed model works with either,
and hand it back under the name that is current.
"""

from dataclasses import fields

from transformers.modeling_outputs import BaseModelOutputWithPast

CACHE_NAME = "cache" if "cache" in {field.name for field in fields(BaseModelOutputWithPast)} else "past_key_values"

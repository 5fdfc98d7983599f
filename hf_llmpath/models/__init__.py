"""Holds the models, in one flat folder from which any file can be uploaded to the Hub with a model.

The modules import only the standard library, torch, transformers, huggingface_hub, and each other, as
`from .sibling import name`. Their prefixes say what they contain:

    configuration_X, modeling_X     one model
    layers_X                        readable building blocks
    ops_X                           hand-written backward passes and fast products, next to their plain forms
"""

"""The models, in one flat folder of which any file can travel to the Hub with a model.

Its modules import only the standard library, torch, transformers, huggingface_hub, and each other, as
`from .sibling import name`. They are ordered by prefix:

    configuration_X, modeling_X     one model
    layers_X                        the readable building blocks
    ops_X                           hand-written backward passes and fast products, next to their plain forms
"""

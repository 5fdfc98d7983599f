"""Makes transformers' Auto classes know our models, whichever of the two is imported first.

Importing this module loads neither torch nor transformers: the work waits (wrapt's post-import hooks) until the modules
that it concerns are imported by whoever needs them.
"""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import wrapt

from .models.table import MODELS, ModelRow

_AUTO_CONFIG = "transformers.models.auto.configuration_auto"
_AUTO_MODEL = "transformers.models.auto.modeling_auto"
_MODELS = __package__ + ".models."


def _complete(module: ModuleType | None) -> bool:
    return module is not None and not getattr(module.__spec__, "_initializing", False)


def _register_config(row: ModelRow, own: ModuleType) -> None:
    """Our configuration module is loaded: its class learns its Auto classes; AutoConfig learns it, if it is there."""
    config = getattr(own, row.config.partition(".")[2])
    config.auto_classes = row.auto_map
    config.register_for_auto_class()
    auto = sys.modules.get(_AUTO_CONFIG)
    if auto is not None and hasattr(auto, "AutoConfig"):
        auto.AutoConfig.register(row.model_type, config, exist_ok=True)


def _register_classes(row: ModelRow, own: ModuleType) -> None:
    """Our modeling module is loaded: the Auto classes learn its classes, if they are there."""
    auto = sys.modules.get(_AUTO_MODEL)
    for auto_class, path in row.classes.items():
        model = getattr(own, path.partition(".")[2])
        model.register_for_auto_class(auto_class)
        if auto is not None and hasattr(auto, auto_class):
            getattr(auto, auto_class).register(model.config_class, model, exist_ok=True)


_waiting: list[str] = []  # our modules to import as soon as none of ours is half way through its own import


def _load(name: str, then) -> None:
    """Imports our module `name`; one that is being imported already registers itself when it is complete."""
    module = sys.modules.get(_MODELS + name)
    if module is None:
        _waiting.append(name)
        _load_waiting()
    elif _complete(module):
        then(module)


def _load_waiting(just_loaded: ModuleType | None = None) -> None:
    """Imports what waits. A building block that is imported first, and whose imports bring in the Auto classes, has
    to be complete before a modeling module can import from it in turn."""
    ours = [module for name, module in sys.modules.items() if name.startswith(_MODELS)]
    if any(module is not just_loaded and not _complete(module) for module in ours):
        return
    while _waiting:
        importlib.import_module(_MODELS + _waiting.pop())


def install() -> None:
    """Sets the hooks; a module that is loaded already is dealt with at once."""
    for path in Path(__file__).parent.glob("models/*.py"):
        if path.stem not in ("__init__", "table"):
            wrapt.register_post_import_hook(_load_waiting, _MODELS + path.stem)
    for row in MODELS:
        config_module = row.config.partition(".")[0]
        on_config = lambda module, row=row: _register_config(row, module)  # noqa: E731
        on_model = lambda module, row=row: _register_classes(row, module)  # noqa: E731
        wrapt.register_post_import_hook(on_config, _MODELS + config_module)
        wrapt.register_post_import_hook(on_model, _MODELS + row.modeling_module)
        wrapt.register_post_import_hook(lambda _, name=config_module, then=on_config: _load(name, then), _AUTO_CONFIG)
        wrapt.register_post_import_hook(
            lambda _, name=row.modeling_module, then=on_model: _load(name, then), _AUTO_MODEL
        )

"""Registers our models with transformers' Auto classes, whichever of the two packages is imported first.

Importing this module loads neither torch nor transformers. wrapt's post-import hooks delay the registration
until the modules concerned are imported.
"""

import importlib
import pkgutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import wrapt

from .models.model_table import MODELS, ModelRow

_AUTO_CONFIG = "transformers.models.auto.configuration_auto"
_AUTO_MODEL = "transformers.models.auto.modeling_auto"
# Auto class of a processor -> the module that defines it, and the arguments that register our class there.
_AUTO_PROCESSORS: dict[str, tuple[str, Callable[[type], dict]]] = {
    "AutoImageProcessor": (
        "transformers.models.auto.image_processing_auto",
        lambda processor: {"image_processor_classes": {"pil": processor}},
    )
}
# Our models import this module, and it imports the Auto classes while it is itself only half loaded.
_LAYERS = "transformers.modeling_layers"
_PIPELINES = "transformers.pipelines"
_MODELS = __package__ + ".models."

# Name of a module of ours whose Auto class is loaded -> the function that registers the module there.
_waiting: dict[str, Callable[[ModuleType], None]] = {}


def _complete(module: ModuleType | None) -> bool:
    # importlib sets _initializing on the spec of a module while it executes the module.
    return module is not None and not getattr(module.__spec__, "_initializing", False)


def _class(module: ModuleType, path: str) -> Any:
    return getattr(module, path.partition(".")[2])


def _register_config(row: ModelRow, module: ModuleType) -> None:
    """Registers a configuration class that has just been loaded with AutoConfig.

    If AutoConfig is not loaded yet, its own hook registers the class later.
    """
    config = _class(module, row.config)
    config.auto_classes = row.auto_map
    config.register_for_auto_class()
    auto: Any = sys.modules.get(_AUTO_CONFIG)
    if hasattr(auto, "AutoConfig"):
        auto.AutoConfig.register(row.model_type, config, exist_ok=True)


def _register_classes(row: ModelRow, module: ModuleType) -> None:
    """Registers the classes of a modeling module that has just been loaded with their Auto classes."""
    auto = sys.modules.get(_AUTO_MODEL)
    for auto_class, path in row.classes.items():
        model = _class(module, path)
        model.register_for_auto_class(auto_class)
        if hasattr(auto, auto_class):
            getattr(auto, auto_class).register(model.config_class, model, exist_ok=True)


def _register_processor(row: ModelRow, auto_class: str, module: ModuleType) -> None:
    """Registers a processor whose module has just been loaded with its Auto class."""
    processor = _class(module, row.processors[auto_class])
    processor.register_for_auto_class(auto_class)
    auto_module, arguments = _AUTO_PROCESSORS[auto_class]
    auto = sys.modules.get(auto_module)
    if hasattr(auto, auto_class):
        config = _class(importlib.import_module(_MODELS + row.config.partition(".")[0]), row.config)
        getattr(auto, auto_class).register(config, **arguments(processor), exist_ok=True)


def _settle(done: str) -> None:
    """Registers the modules that wait, and imports them if need be, now that the module `done` is loaded.

    Does nothing while another module of ours, or `_LAYERS`, is half loaded: that module may have started this
    chain of imports, and the waiting modules may need it. Once it is complete, its own hook calls `_settle`
    again.
    """
    for name, module in list(sys.modules.items()):
        # `done` still counts as half loaded: its hooks run before importlib has finished with it.
        concerns = name == _LAYERS or name.startswith(_MODELS)
        if concerns and name != done and not _complete(module):
            return
    while _waiting:  # an import below may add to it, or empty it from within
        name, register = _waiting.popitem()
        if _MODELS + name in sys.modules:
            register(sys.modules[_MODELS + name])
        else:
            importlib.import_module(_MODELS + name)  # its own hook registers it


def _hook(path: str, auto: str, register: Callable[[ModuleType], None]) -> None:
    """Registers the module of our class `path` when it is loaded, and loads it once `auto` is loaded."""
    name = path.partition(".")[0]

    def when_auto_is_loaded(_: ModuleType) -> None:
        _waiting[name] = register
        _settle(auto)

    wrapt.register_post_import_hook(register, _MODELS + name)
    wrapt.register_post_import_hook(when_auto_is_loaded, auto)


def install() -> None:
    """Sets the hooks. A module that is already loaded is registered at once."""
    for row in MODELS:
        _hook(row.config, _AUTO_CONFIG, partial(_register_config, row))
        _hook(row.modeling_module, _AUTO_MODEL, partial(_register_classes, row))
        for auto_class, path in row.processors.items():
            register = partial(_register_processor, row, auto_class)
            _hook(path, _AUTO_PROCESSORS[auto_class][0], register)
    modules = pkgutil.iter_modules([str(Path(__file__).with_name("models"))])
    # Any of these may be the half-loaded module that `_settle` waits for, so each calls it in the end.
    for name in (_LAYERS, *(_MODELS + module.name for module in modules)):
        wrapt.register_post_import_hook(lambda module: _settle(module.__name__), name)
    # The first hook registers our pipelines once they are complete; the second loads them with transformers'.
    ours = f"{__package__}.pipelines"
    wrapt.register_post_import_hook(lambda module: module.register(sys.modules[_PIPELINES]), ours)
    wrapt.register_post_import_hook(lambda _: importlib.import_module(ours), _PIPELINES)

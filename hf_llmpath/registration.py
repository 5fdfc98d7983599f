"""Registers our models with transformers' Auto classes, whichever of the two is imported first.

Importing this module loads neither torch nor transformers. wrapt's post-import hooks delay the work until
somebody imports the modules concerned.
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
# Our models build on this module, which imports the Auto classes while it is only half loaded.
_LAYERS = "transformers.modeling_layers"
_PIPELINES = "transformers.pipelines"
_MODELS = __package__ + ".models."

# The name of a module of ours -> the function that registers it with its Auto class.
_waiting: dict[str, Callable[[ModuleType], None]] = {}


def _complete(module: ModuleType | None) -> bool:
    return module is not None and not getattr(module.__spec__, "_initializing", False)


def _class(module: ModuleType, path: str) -> Any:
    return getattr(module, path.partition(".")[2])


def _register_config(row: ModelRow, module: ModuleType) -> None:
    """Our configuration module is loaded: it learns its Auto classes, and AutoConfig learns its class."""
    config = _class(module, row.config)
    config.auto_classes = row.auto_map
    config.register_for_auto_class()
    auto: Any = sys.modules.get(_AUTO_CONFIG)
    if hasattr(auto, "AutoConfig"):
        auto.AutoConfig.register(row.model_type, config, exist_ok=True)


def _register_classes(row: ModelRow, module: ModuleType) -> None:
    """Our modeling module is loaded: the Auto classes learn its classes."""
    auto = sys.modules.get(_AUTO_MODEL)
    for auto_class, path in row.classes.items():
        model = _class(module, path)
        model.register_for_auto_class(auto_class)
        if hasattr(auto, auto_class):
            getattr(auto, auto_class).register(model.config_class, model, exist_ok=True)


def _register_processor(row: ModelRow, auto_class: str, module: ModuleType) -> None:
    """The module of our processor is loaded: its Auto class learns the processor."""
    processor = _class(module, row.processors[auto_class])
    processor.register_for_auto_class(auto_class)
    auto_module, arguments = _AUTO_PROCESSORS[auto_class]
    auto = sys.modules.get(auto_module)
    if hasattr(auto, auto_class):
        config = _class(importlib.import_module(_MODELS + row.config.partition(".")[0]), row.config)
        getattr(auto, auto_class).register(config, **arguments(processor), exist_ok=True)


def _settle(done: str) -> None:
    """Imports our modules that wait to be registered, now that the module `done` is loaded.

    It does nothing while another module of ours, or what they build on, is half loaded: that module may have
    started all this, and those that wait may need it. Once it is complete, its own hook calls this again.
    """
    for name, module in list(sys.modules.items()):
        concerns = name == _LAYERS or name.startswith(_MODELS)
        if concerns and name != done and not _complete(module):
            return
    while _waiting:
        name, register = _waiting.popitem()
        if _MODELS + name in sys.modules:
            register(sys.modules[_MODELS + name])
        else:
            importlib.import_module(_MODELS + name)  # its own hook registers it


def _hook(path: str, auto: str, register: Callable[[ModuleType], None]) -> None:
    """Registers our module of the class `path` when it is loaded, and loads it when the module `auto` is."""
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
    for name in (_LAYERS, *(_MODELS + module.name for module in modules)):
        wrapt.register_post_import_hook(lambda module: _settle(module.__name__), name)
    # Our pipelines are registered when they are complete, whichever of the two modules was imported first.
    ours = f"{__package__}.pipelines"
    wrapt.register_post_import_hook(lambda module: module.register(sys.modules[_PIPELINES]), ours)
    wrapt.register_post_import_hook(lambda _: importlib.import_module(ours), _PIPELINES)

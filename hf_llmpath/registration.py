"""Makes transformers' Auto classes know our models, whichever of the two is imported first.

Importing this module loads neither torch nor transformers: the work waits (wrapt's post-import hooks)
until the modules that it concerns are imported by whoever needs them.
"""

import importlib
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import wrapt

from .models.model_table import MODELS, ModelRow

_AUTO_CONFIG = "transformers.models.auto.configuration_auto"
_AUTO_MODEL = "transformers.models.auto.modeling_auto"
# Auto class of a processor -> the module that defines it, and the arguments that register our class there.
_AUTO_PROCESSORS: dict[str, tuple[str, Callable[[type], dict]]] = {
    "AutoImageProcessor": (
        "transformers.models.auto.image_processing_auto",
        lambda own: {"image_processor_classes": {"pil": own}},
    )
}
_LAYERS = "transformers.modeling_layers"  # what our models build on; it imports the Auto classes while it is half done
_PIPELINES = "transformers.pipelines"
_MODELS = __package__ + ".models."

_waiting: dict[
    str, Callable[[ModuleType], None]
] = {}  # name of our module -> what registers it with its Auto class


def _complete(module: ModuleType | None) -> bool:
    return module is not None and not getattr(module.__spec__, "_initializing", False)


def _register_config(row: ModelRow, own: ModuleType) -> None:
    """Our configuration module is loaded: its class learns its Auto classes; AutoConfig learns it, if it
    is there.
    """
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


def _register_processor(row: ModelRow, auto_class: str, own: ModuleType) -> None:
    """Our processor's module is loaded: its Auto class learns the processor, if it is there."""
    processor = getattr(own, row.processors[auto_class].partition(".")[2])
    processor.register_for_auto_class(auto_class)
    module, arguments = _AUTO_PROCESSORS[auto_class]
    auto = sys.modules.get(module)
    if auto is not None and hasattr(auto, auto_class):
        config_module, _, config = row.config.partition(".")
        config = getattr(importlib.import_module(_MODELS + config_module), config)
        getattr(auto, auto_class).register(config, **arguments(processor), exist_ok=True)


def _settle(done: str) -> None:
    """Imports our modules that wait to be registered, now that the module `done` has been imported.

    Not while another of ours, or what they build on, is half imported: it may be the one that set this
    off, and those that wait may need it. Its own completion comes here again.
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


def _hook(name: str, auto: str, register: Callable[[ModuleType], None]) -> None:
    """Calls `register` with our module `name` when it is loaded, and sees to it that it is when `auto` is."""

    def when_auto_is_there(_: ModuleType) -> None:
        _waiting[name] = register
        _settle(auto)

    wrapt.register_post_import_hook(register, _MODELS + name)
    wrapt.register_post_import_hook(when_auto_is_there, auto)


def install() -> None:
    """Sets the hooks; a module that is loaded already is dealt with at once."""
    for row in MODELS:
        _hook(
            row.config.partition(".")[0], _AUTO_CONFIG, lambda module, row=row: _register_config(row, module)
        )
        _hook(row.modeling_module, _AUTO_MODEL, lambda module, row=row: _register_classes(row, module))
        for auto_class, path in row.processors.items():
            _hook(
                path.partition(".")[0],
                _AUTO_PROCESSORS[auto_class][0],
                lambda module, row=row, auto_class=auto_class: _register_processor(row, auto_class, module),
            )
    own = [
        _MODELS + module.name for module in pkgutil.iter_modules([str(Path(__file__).with_name("models"))])
    ]
    for name in (_LAYERS, *own):
        wrapt.register_post_import_hook(lambda _, name=name: _settle(name), name)
    # Ours are registered when they are complete, whichever of the two modules was imported first.
    wrapt.register_post_import_hook(
        lambda ours: ours.register(sys.modules[_PIPELINES]), f"{__package__}.pipelines"
    )
    wrapt.register_post_import_hook(lambda _: importlib.import_module(f"{__package__}.pipelines"), _PIPELINES)

"""The old address of `loaded`."""

from ..hub.model_folder import loaded

__all__ = ["loaded"]

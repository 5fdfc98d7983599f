"""The old address of the character writer."""

from ..decoding.character_writer import CharacterWriter as CharacterModel
from ..decoding.character_writer import Trace, Writing
from ..decoding.character_writer import load_character_writer as load_character_model

__all__ = ["CharacterModel", "Trace", "Writing", "load_character_model"]

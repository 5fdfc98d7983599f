"""Using trained models: writing text."""

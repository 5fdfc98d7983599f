"""Converts other libraries' weights to our models and back."""

"""Turns a trained model's outputs into answers: texts, replies, and spans."""

"""Trains models: loops, the Trainer's setup, optimizers, checkpoints, and evaluation."""

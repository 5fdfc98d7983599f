"""Learning from preferences: reward model, policy gradients from scratch, and TRL's trainers for the same
models.
"""

"""How models learn: the Trainer set-up, callbacks and evaluation."""

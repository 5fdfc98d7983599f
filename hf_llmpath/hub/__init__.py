"""To and from the Hugging Face Hub: model cards, pushing a run, Space folders, fetching a pushed run."""

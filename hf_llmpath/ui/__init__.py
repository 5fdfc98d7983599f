"""The Gradio kit: one page anatomy for every stage, live training, and the app that shows the whole path."""

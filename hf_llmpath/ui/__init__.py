"""The Gradio kit: one page layout for every stage, live training, and the app that shows the whole path."""

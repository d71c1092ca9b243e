"""The generative body: its file, its pose prior, its layer."""

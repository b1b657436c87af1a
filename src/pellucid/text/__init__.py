"""Text in, a model of its characters out; and new text from the model.

Knows how text is cut into windows, what to compare a model with, and how text is
written a character at a time; one file holds the model and its characters.
"""

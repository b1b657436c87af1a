"""One training from data to a file: settings, report, model, source, replay.

What tables and images have in common here. A run is a pure function of its data, its
settings and its seed, so whoever has the three can have any step of it again.
"""

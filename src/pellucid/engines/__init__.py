"""Engines: each compiles a graph to a program. `numpy_` defines every gate."""

"""The same numbers as PyTorch: layers, functions, losses and optimisers side by side.

`python -m benchmarks.conformance` prints the table; docs/benchmarks.md says what is
compared. Each row is drawn many times at random, from fixed seeds, in float64.
"""

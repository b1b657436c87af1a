"""The chain rule: a table of rules, and the transform that applies it backwards.

Rules build graph, never numbers: so gradients have gradients, and every engine gets
the backward pass for nothing.
"""

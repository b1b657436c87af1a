"""Training: the epoch as one graph, the loop around it, and replay of any step."""

"""Small programs that a fresh process runs from start to end, one for each peer.

Each reads `x`, `y` from the NumPy archive that it is given, trains 20-64-64-2 for one
epoch with Adam in batches of 32, and prints the epoch's mean loss. Each is what a user
of the library would write first.
"""

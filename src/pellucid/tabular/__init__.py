"""A table in, a trained network and an honest report out; one file holds the model.

Knows the whole way from a column's name to a prediction in the column's unit. Draws
nothing: the command line and the estimators show what comes out of it.
"""

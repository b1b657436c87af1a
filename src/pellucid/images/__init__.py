"""Labelled images in, a trained convolutional network and an honest report out.

Knows the whole way from pixels as bytes to a class by its name; one file holds the
model. Draws nothing: the command line shows what comes out of it.
"""

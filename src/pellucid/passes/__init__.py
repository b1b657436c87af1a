"""Passes: a graph goes in, a graph that computes the same bits comes out."""

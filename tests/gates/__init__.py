"""The gates' samples, edges and oracles: one table for every suite and every engine."""

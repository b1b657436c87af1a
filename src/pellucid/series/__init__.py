"""A series in, a forecast and an honest backtest out; one file holds the model.

Knows what a network sees of a series, how it is trained on windows, and how it fares
from every origin of a part that it never saw, beside forecasts that cost nothing.
"""

"""What a program is: types, gates, graphs, their text and their check.

It knows shapes and dtypes. It knows no number, no gradient and no engine.
"""

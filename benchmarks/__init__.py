"""Speed beside other libraries: the same training, in turn, in one run.

`python -m benchmarks --help` says how to run it; docs/benchmarks.md says how it is
measured. Nothing here is needed to use Pellucid.
"""

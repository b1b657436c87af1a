"""Networks that are more than linear layers: what each is, in each library.

`sizes` says what goes in and how much arithmetic it is; `ours` makes the module whose
first weights everyone starts from, under PyTorch's names; `torch_` and `jax_` compute
the same.
"""

"""The xla engine: the same graphs on GPU, TPU, several devices and several hosts."""

"""Readable reference implementations of live music diffusion, in plain PyTorch."""

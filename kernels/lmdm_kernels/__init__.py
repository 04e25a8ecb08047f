"""Attention kernels shared by the streaming schemes."""

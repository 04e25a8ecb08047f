"""Attention kernels shared by the streaming schemes; none in this version."""

from lmdm_kernels.availability import why_unavailable

__all__ = ["why_unavailable"]

"""Attention kernels shared by the streaming schemes (Triton); importing them needs no Triton."""

from lmdm_kernels.api import Attend, attend, attend_with, prologue
from lmdm_kernels.launch import (
    LAUNCHES,
    Card,
    Launch,
    LaunchKey,
    LaunchTable,
    Work,
    launch_for,
    load_launches,
    save_launches,
    tuning_candidates,
)
from lmdm_kernels.support import Support, card_of, supports, why_unavailable
from lmdm_kernels.tables import MovingPlan

__all__ = [
    "LAUNCHES",
    "Attend",
    "Card",
    "Launch",
    "LaunchKey",
    "LaunchTable",
    "MovingPlan",
    "Support",
    "Work",
    "attend",
    "attend_with",
    "card_of",
    "launch_for",
    "load_launches",
    "prologue",
    "save_launches",
    "supports",
    "tuning_candidates",
    "why_unavailable",
]

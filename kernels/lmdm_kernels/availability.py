"""What of this package can run here."""


def why_unavailable() -> str | None:
    """Why there is no kernel to use, or None where there is one."""
    return "this version of lmdm_kernels has no kernels yet"

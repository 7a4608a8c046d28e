"""This machine's clock: what decides by time is given it, and asks it nowhere else."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The time now, with its zone."""
    return datetime.now(UTC)

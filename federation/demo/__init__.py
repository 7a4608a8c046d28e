"""The lab and the demo: hosts as network namespaces, sample programs, and calls between two clusters."""

from federation.demo.show import DemoSettings, run

__all__ = ["DemoSettings", "run"]

"""`fedgate demo`: two clusters that call each other, on one machine."""

from pathlib import Path

import click

from federation.commands.options import STATE


@click.command()
@click.option("--once", is_flag=True, help="Run it, check it, report, clean up; exits with 0 or 1.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to print.",
)
@click.option(
    "--scenario",
    type=click.Choice(
        [
            "calls",
            "failover",
            "hub-loss",
            "hub-failover",
            "gateway-restart",
            "evict",
            "partition",
            "mass-loss",
            "rotation",
            "root-rollover",
        ]
    ),
    default="calls",
    show_default=True,
    help="What to show: calls, or what becomes of a load of calls when something goes away.",
)
@click.option("--state", type=STATE, help="Keep the state here instead of throwing it away.")
def demo(once: bool, output: str, scenario: str, state: Path | None) -> int:
    """Watch two clusters call each other, on this machine.

    Runs a hub, the clusters onprem and cloud, a gateway and sample services in each, and ordinary
    clients that call across by name. Then it stays up, with lines to paste; Ctrl-C leaves nothing.
    """
    from federation.demo import DemoSettings, run

    return run(DemoSettings(once=once, output_json=output == "json", state=state, scenario=scenario))

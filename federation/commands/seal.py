"""`fedgate seal`: another passphrase for the keys in a state folder, or one for the first time."""

from pathlib import Path

import click

from federation.commands.options import FILE, STATE


@click.command()
@click.option(
    "--state", type=STATE, required=True, help="The state folder of a hub or agent that does not run."
)
@click.option("--passphrase-file", type=FILE, help="The passphrase that the keys are sealed with now.")
@click.option("--new-passphrase-file", type=FILE, help="The passphrase to seal them with.")
@click.option("--without", is_flag=True, help="Use no passphrase of yours from now on.")
def seal(state: Path, passphrase_file: Path | None, new_passphrase_file: Path | None, without: bool) -> None:
    """Seal the keys in a state folder with another passphrase.

    All of them or none are changed, also if this is interrupted. The old passphrase may come as it
    does for `fedgate hub`. Without one of yours an agent's key lies open in its 0600 file, and a
    hub's keys are sealed with one that lies beside them.
    """
    if without == (new_passphrase_file is not None):
        raise click.UsageError("say either --new-passphrase-file or --without")
    from federation.passphrases import given
    from federation.resealing import sealed_anew
    from pki import keystore

    new = keystore.read(new_passphrase_file).strip() if new_passphrase_file else None
    for name in sealed_anew(state, given(passphrase_file), new):
        click.echo(name)

"""A federation in one file: all that a hub needs to go on from there."""

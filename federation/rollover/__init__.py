"""One root takes over from another, in steps that can be taken again, and back before the switch."""

"""The commands, a module each: read arguments, call one function, print what it says."""

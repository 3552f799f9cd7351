"""The suite: the same work in every library, a process for each, rounds in turn. See docs/speed.md."""

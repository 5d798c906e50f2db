"""What tests of several experiments hold of stored results."""

# What every result says, at least, of how it was made.
PROVENANCE = {"seconds", "metasgd", "commit", "torch", "device", "threads"}

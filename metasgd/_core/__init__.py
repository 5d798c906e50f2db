"""What nearly every part of the package needs, and nothing that needs another part."""

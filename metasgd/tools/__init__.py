"""Programs that make what lies in ``metasgd/assets`` and in the book's static files."""

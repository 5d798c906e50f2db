"""Programs that make the files in ``metasgd/assets`` and the static files of the book.

Each is run as ``python -m metasgd.tools.NAME``, and says with ``--help`` what it makes.
"""

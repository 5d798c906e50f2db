"""Tests of the extension for the book's website."""

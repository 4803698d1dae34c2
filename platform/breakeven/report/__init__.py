"""The report's parts: results, sentences, tables, plots, and what they are written as. Computes nothing but sentences."""

PAGE = "index.html"
"""Name of the page, the last of a report's files to be written."""

"""The report's parts: results, sentences, tables, plots, and what they are written as. Computes nothing but sentences."""

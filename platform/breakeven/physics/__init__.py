"""From the name of a process to reconstructed objects and truth. Knows nothing of files at rest, models or studies."""

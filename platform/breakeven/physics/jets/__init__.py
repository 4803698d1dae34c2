"""Large-radius jets with their constituents: from a process to events of jets, truth included. Knows no isolated objects."""

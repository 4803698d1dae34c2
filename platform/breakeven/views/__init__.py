"""What people look at in the terminal: a plan, a study under way, two studies compared. Changes nothing."""

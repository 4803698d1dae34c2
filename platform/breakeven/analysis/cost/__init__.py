"""Device time: hours, who is charged for them, convergence, break-even, accounts."""

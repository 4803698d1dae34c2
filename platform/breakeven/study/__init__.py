"""What is to be run, and what has been: specification, plan, provenance, ledger. Knows neither physics nor models."""

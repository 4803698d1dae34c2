"""Numbers and pictures from the ledger frame. Never trains, never talks to Ray or MLflow."""

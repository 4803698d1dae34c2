"""What a worker does, without Ray: trials, a pretraining, time limits; and what is handed to it as plain values."""

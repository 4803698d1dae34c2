"""The only rooms that import ray: session, generation, pretraining, finetuning."""

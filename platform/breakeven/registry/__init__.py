"""The winning backbone for other people: a model card, an entry in MLflow's model registry, files to take away.

Stands on training (to read weights), analysis (to say what they are worth) and tracking (to register them). It never
trains and never chooses on test events.
"""

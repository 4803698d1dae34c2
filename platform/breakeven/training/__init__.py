"""One model on one device, from tensors of events to a curve and weights; knows of no cluster and no tracking server.

Start reading at `loop.train`. `workers.py` is the only door to data-parallel training, `checkpoint.py` the only
one to files. Nothing heavy is imported here.
"""

TRAINING_VERSION = 1
"""Part of every trial's identity: raise it whenever the same recipe on the same events gives another result."""
TREES_VERSION = 1
"""Part of the identity of every trial with trees: raise it when the same variables give other trees."""

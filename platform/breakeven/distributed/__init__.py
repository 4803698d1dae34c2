"""The only room that imports ray: session, generation, pretraining, finetuning.

Ray reads its settings when it is imported, by whichever module comes first, so they are set here.
"""

from breakeven.distributed import internals

internals.set_environment()

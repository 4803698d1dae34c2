"""breakeven: does pretraining pay in high-energy physics, for which tasks, from how much data, from how many tasks on?

Data flow: processes -> generation -> dataset -> pretraining -> backbone -> plan -> packs -> ledger -> analysis -> report.
Start reading at `breakeven.run`, the only place where these meet.
"""

__version__ = "0.1.0"

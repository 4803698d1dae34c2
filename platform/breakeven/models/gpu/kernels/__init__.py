"""The kernels themselves, in Triton: what runs on the card. Imports nothing of this house."""

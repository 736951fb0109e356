"""Training: pretraining and fine-tuning of pocket encoders, from a recipe to a folder in the transformers format.

`recipe`, `speech` and `batches` (what is heard), `objectives` (the families' tasks), `loop` (steps, checkpoints),
`pretraining` and `finetuning` (what a caller starts).
"""

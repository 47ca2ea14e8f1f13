"""The three training steps: supervised fine-tuning, reward training, preference optimisation. They share one DeepSpeed engine and one
checkpoint format. No Ray here.
"""

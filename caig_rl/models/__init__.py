"""The models of the loop: policy, its log-probs, and the reward model. Model folders are Hugging Face layout, safetensors only."""

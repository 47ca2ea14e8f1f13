"""Stage A, supervised fine-tuning of the policy on instruction, picture and answer."""

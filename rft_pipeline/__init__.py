"""Reinforcement fine-tuning with LLM judges, as a pipeline of versioned, cacheable stages.

prompts → rollouts → judge_scores → reward_batches → checkpoints → eval_reports → promotion
"""

__version__ = "0.1.0"

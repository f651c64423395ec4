"""The engine and the trainer on one accelerator, with random Llamas: `python -m benchmarks.gpu`.

It runs the project's own engine and training code, and needs only `pip install 'transformers[torch]'`.
"""

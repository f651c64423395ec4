"""What runs vLLM; `make test-vllm` makes an environment that has it."""

from importlib.util import find_spec

import pytest

NEEDS_VLLM = [
    pytest.mark.vllm,
    pytest.mark.skipif(find_spec("vllm") is None, reason="vllm is not installed here; `make test-vllm` runs this"),
]

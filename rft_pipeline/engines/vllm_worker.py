"""What vLLM's worker processes do for the engine in addition to vLLM's own methods. Imported in the workers only."""

from typing import Any

from vllm.config import set_current_vllm_config
from vllm.model_executor.layers.vocab_parallel_embedding import VocabParallelEmbedding


class TakesWeights:
    """A worker extension (`worker_extension_cls`): its methods become the worker's."""

    vllm_config: Any
    model_runner: Any

    def take_weights(self, folder: str) -> None:
        """Replace the model's weights by those of the checkpoint in `folder`.

        vLLM 0.32 repacks on a CPU only the layers that it loads, and a head that is tied to the embedding is not
        loaded: it would keep a packed copy of the old weights.
        """
        with set_current_vllm_config(self.vllm_config):
            self.model_runner.reload_weights(weights_path=folder)
            for layer in self.model_runner.get_model().modules():
                if isinstance(layer, VocabParallelEmbedding):
                    layer.quant_method.process_weights_after_loading(layer)

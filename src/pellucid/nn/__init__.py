"""Layers, losses and models, under PyTorch's names and with its weight layouts."""

from pellucid import functional
from pellucid.nn import (
    activations,
    augment,
    autoencoders,
    conv,
    init,
    losses,
    models,
    norm,
    pooling,
)
from pellucid.nn.activations import *  # noqa: F403
from pellucid.nn.attention import MultiheadAttention
from pellucid.nn.augment import *  # noqa: F403
from pellucid.nn.autoencoders import *  # noqa: F403
from pellucid.nn.cells import GRUCell, LSTMCell, RNNCell
from pellucid.nn.containers import MLP, Sequential
from pellucid.nn.conv import *  # noqa: F403
from pellucid.nn.embedding import Embedding
from pellucid.nn.encoder_decoder import Attention, EncoderDecoder
from pellucid.nn.language import (
    LanguageModel,
    RecurrentLanguageModel,
    TransformerLanguageModel,
)
from pellucid.nn.linear import Linear, Maxout, Neuron
from pellucid.nn.loading import load
from pellucid.nn.losses import *  # noqa: F403
from pellucid.nn.models import *  # noqa: F403
from pellucid.nn.module import Module, buffer_updates, update_buffer
from pellucid.nn.multitask import Heads, UncertaintyWeights
from pellucid.nn.norm import *  # noqa: F403
from pellucid.nn.perceptron import Perceptron, PerceptronFit
from pellucid.nn.pooling import *  # noqa: F403
from pellucid.nn.positions import (
    LearnedPositions,
    RotaryPositions,
    SinusoidalPositions,
)
from pellucid.nn.reading import shift_right
from pellucid.nn.recurrent import GRU, LSTM, RNN
from pellucid.nn.scaling import Standardize, StandardizeChannels, Unstandardize
from pellucid.nn.sequences import (
    SequenceToSequence,
    SequenceToVector,
    VectorToSequence,
)
from pellucid.nn.simple import Dropout, Flatten, Identity, Unflatten
from pellucid.nn.spec import from_spec, register, to_spec
from pellucid.nn.transformer import (
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)
from pellucid.nn.translation import Transformer
from pellucid.nn.upsampling import Upsample
from pellucid.tensors import Buffer, Parameter

__all__ = [
    "GRU",
    "LSTM",
    "MLP",
    "RNN",
    "Attention",
    "Buffer",
    "Dropout",
    "Embedding",
    "EncoderDecoder",
    "Flatten",
    "GRUCell",
    "Heads",
    "Identity",
    "LSTMCell",
    "LanguageModel",
    "LearnedPositions",
    "Linear",
    "Maxout",
    "Module",
    "MultiheadAttention",
    "Neuron",
    "Parameter",
    "Perceptron",
    "PerceptronFit",
    "RNNCell",
    "RecurrentLanguageModel",
    "RotaryPositions",
    "SequenceToSequence",
    "SequenceToVector",
    "Sequential",
    "SinusoidalPositions",
    "Standardize",
    "StandardizeChannels",
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "TransformerLanguageModel",
    "UncertaintyWeights",
    "Unflatten",
    "Unstandardize",
    "Upsample",
    "VectorToSequence",
    "buffer_updates",
    "from_spec",
    "functional",
    "init",
    "load",
    "register",
    "shift_right",
    "to_spec",
    "update_buffer",
]
__all__ += activations.__all__
__all__ += augment.__all__
__all__ += autoencoders.__all__
__all__ += conv.__all__
__all__ += losses.__all__
__all__ += models.__all__
__all__ += norm.__all__
__all__ += pooling.__all__

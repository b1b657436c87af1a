"""Functions of tensors, all composed of gates: none has a chain rule of its own."""

from pellucid.functional.activations import *  # noqa: F403
from pellucid.functional.array import *  # noqa: F403
from pellucid.functional.attention import *  # noqa: F403
from pellucid.functional.augment import *  # noqa: F403
from pellucid.functional.control import *  # noqa: F403
from pellucid.functional.conv import *  # noqa: F403
from pellucid.functional.dropout import *  # noqa: F403
from pellucid.functional.layout import *  # noqa: F403
from pellucid.functional.losses import *  # noqa: F403
from pellucid.functional.norm import *  # noqa: F403
from pellucid.functional.padding import *  # noqa: F403
from pellucid.functional.pooling import *  # noqa: F403
from pellucid.functional.recurrent import *  # noqa: F403
from pellucid.functional.upsampling import *  # noqa: F403

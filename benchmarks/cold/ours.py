"""Pellucid: one epoch."""

import sys

import numpy as np

from pellucid import Trainer, nn, optim

data = np.load(sys.argv[1])
model = nn.Sequential(
    nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2)
)
trainer = Trainer(model, nn.CrossEntropyLoss(), optim.Adam(lr=1e-3), engine="llvm")
history = trainer.fit(data["x"], data["y"], epochs=1, batch_size=32, verbose=0)
print(history["loss"][-1])

"""PyTorch: one epoch, eager."""

import sys

import numpy as np
import torch
from torch import nn

data = np.load(sys.argv[1])
x, y = torch.from_numpy(data["x"]), torch.from_numpy(data["y"]).long()
model = nn.Sequential(
    nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2)
)
measure = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
losses = []
for rows in torch.randperm(len(x)).split(32):
    optimizer.zero_grad()
    loss = measure(model(x[rows]), y[rows])
    loss.backward()
    optimizer.step()
    losses.append(loss.detach())
print(float(torch.stack(losses).mean()))

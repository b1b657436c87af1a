"""The textbook loop: every step of training by hand, on a real data set.

    1. initialise parameters from the layer sizes
    2. forward propagation: the output and the caches
    3. cost
    4. backward propagation: from the caches to named gradients
    5. update of the parameters

Each layer's forward returns its cache, and its backward is the chain rule through
that layer alone. The whole is what `Trainer.fit` does in one compiled program.
Run it:  python examples/textbook_loop.py
"""

from itertools import pairwise

import numpy as np
from sklearn.datasets import load_breast_cancer

import pellucid as pel
from pellucid import functional as F


def initialize_parameters(layer_sizes, seed=0):
    """Weights by He's rule, biases zero: W1, b1, W2, b2, …"""
    rng = np.random.default_rng(seed)
    parameters = {}
    for i, (before, here) in enumerate(pairwise(layer_sizes), start=1):
        parameters[f"W{i}"] = rng.standard_normal((here, before)) * np.sqrt(2 / before)
        parameters[f"b{i}"] = np.zeros(here)
    return parameters


def layer(activation):
    """One layer: a = activation(a_before · Wᵀ + b)."""
    return lambda a, W, b: activation(a @ W.T + b)


def forward_propagation(X, parameters):
    """Return the output for every row, and a cache for every layer."""
    depth = len(parameters) // 2
    a, caches = X, []
    for i in range(1, depth + 1):
        activation = F.sigmoid if i == depth else F.relu
        W, b = parameters[f"W{i}"], parameters[f"b{i}"]
        a, cache = pel.forward(layer(activation), a, W, b)
        caches.append(cache)
    return a, caches


def compute_cost(output, y):
    """Binary cross-entropy, and its gradient with respect to the output."""
    cost, cache = pel.forward(lambda p: F.binary_cross_entropy(p, y), output)
    (d_output,) = cache.backward(1.0)
    return float(cost), d_output


def backward_propagation(d_output, caches):
    """Return the gradients by name: dW1, db1, dW2, …"""
    gradients, da = {}, d_output
    for i in range(len(caches), 0, -1):
        da, gradients[f"dW{i}"], gradients[f"db{i}"] = caches[i - 1].backward(da)
    return gradients


def update_parameters(parameters, gradients, learning_rate):
    """One step downhill."""
    return {
        name: value - learning_rate * gradients[f"d{name}"]
        for name, value in parameters.items()
    }


def train(X, y, layer_sizes, iterations=500, learning_rate=0.1, report=None):
    """Batch gradient descent. Return the parameters and the costs."""
    parameters = initialize_parameters(layer_sizes)
    costs = []
    for i in range(iterations):
        output, caches = forward_propagation(X, parameters)
        cost, d_output = compute_cost(output, y)
        gradients = backward_propagation(d_output, caches)
        parameters = update_parameters(parameters, gradients, learning_rate)
        costs.append(cost)
        if report and i % 100 == 0:
            report(f"iteration {i:4d}  cost {cost:.4f}")
    return parameters, costs


def main():
    data = load_breast_cancer()
    X = (data.data - data.data.mean(0)) / data.data.std(0)
    y = data.target.reshape(-1, 1).astype(float)
    parameters, costs = train(X, y, [30, 16, 1], report=print)
    output, caches = forward_propagation(X, parameters)
    print(f"cost {costs[0]:.4f} → {costs[-1]:.4f}")
    print(f"accuracy on the training rows {np.mean((output > 0.5) == y):.3f}")
    print("the wires of the first layer:")
    for name, value in caches[0].wires():
        print(f"  {name:<10} {value.shape!s:<12} mean {value.mean():+.3f}")


if __name__ == "__main__":
    main()

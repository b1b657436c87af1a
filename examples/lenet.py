"""LeNet-5 learns handwritten digits.

    python examples/lenet.py                   scikit-learn's digits, 8 × 8
    python examples/lenet.py IMAGES LABELS     MNIST's IDX files, packed or not

Bytes go in as they are: the network standardises them itself, and in training it moves
each image by a pixel at random. A fifth of the images is held out; the learning rate
falls to 0 along half a cosine.
"""

import sys
import time

import numpy as np
from sklearn.datasets import load_digits

import pellucid as pel
from pellucid import nn, optim
from pellucid.data.idx import read_idx


def load(paths=()):
    """Return images [n, 1, height, width] and labels [n]."""
    if paths:
        images, labels = (read_idx(path) for path in paths)
    else:
        data = load_digits()
        images, labels = data.images.astype(np.uint8), data.target
        images = images.repeat(2, axis=1).repeat(2, axis=2)  # LeNet needs 12 or more
        order = np.random.default_rng(0).permutation(len(labels))
        images, labels = images[order], labels[order]
    return images[:, None], labels.astype(np.int32)


def train(images, labels, epochs=12, batch_size=64, lr=4e-3, seed=0, verbose=1):
    """Train on the first four fifths; return the trainer and the held-out accuracy."""
    pel.random.seed(seed)
    model = nn.Sequential(
        nn.StandardizeChannels(1),
        nn.RandomShift(1),
        nn.LeNet(image_size=images.shape[2:]),
    )
    rows = len(images) * 4 // 5
    steps = epochs * -(-rows // batch_size)
    trainer = pel.Trainer(
        model,
        nn.CrossEntropyLoss(),
        optim.Adam(optim.Cosine(lr, steps)),
        metrics=["accuracy"],
        seed=seed,
    )
    history = trainer.fit(
        images[:rows],
        labels[:rows],
        epochs=epochs,
        batch_size=batch_size,
        validation=(images[rows:], labels[rows:]),
        restore_best=False,
        verbose=verbose,
    )
    return trainer, history["validation_accuracy"][-1]


def main(paths):
    images, labels = load(paths)
    start = time.perf_counter()
    trainer, accuracy = train(images, labels)
    seconds = time.perf_counter() - start
    print(trainer.model.summary((64, *images.shape[1:])))
    print(f"held-out accuracy {accuracy:.4f} after {seconds:.1f} s")


if __name__ == "__main__":
    if len(sys.argv) not in (1, 3):
        sys.exit("usage: python examples/lenet.py [IMAGES LABELS]")
    main(sys.argv[1:])

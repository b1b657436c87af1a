"""An encoder-decoder learns to write strings backwards.

    python examples/reverse_strings.py [LONGEST] [EPOCHS]

Strings of random letters, 1 to 20 long by default. Targets are the same letters from
the last to the first and an end token; behind them both are padded. What training
never saw is decoded, greedily and by beam search, and must be right letter by letter:
of the strings of up to 20 letters 99.6 % are, after 6,000 updates.
"""

import string
import sys
import time

import numpy as np

import pellucid as pel
from pellucid import nn, optim

LETTERS = np.array(list(string.ascii_lowercase))
PADDING, START, END, FIRST = 0, 1, 2, 3
SIZE = FIRST + len(LETTERS)


def strings(rows, longest, seed):
    """Return sources [rows, longest] and targets [rows, longest + 1], padded."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, longest + 1, rows)[:, None]
    places = np.arange(longest)
    letters = rng.integers(FIRST, SIZE, (rows, longest))
    source = np.where(places < lengths, letters, PADDING)
    turned = np.take_along_axis(source, (lengths - 1 - places) % longest, 1)
    target = np.full((rows, longest + 1), PADDING)
    target[:, :-1] = np.where(places < lengths, turned, PADDING)
    np.put_along_axis(target, lengths, END, 1)
    return source, target


def train(longest=20, epochs=12, rows=32_000, batch_size=64, lr=4e-3, verbose=1):
    """Train on new random strings in each epoch; return the trainer."""
    pel.random.seed(0)
    model = nn.EncoderDecoder(
        SIZE, SIZE, 128, 64, "gru", attention="dot", bidirectional=True
    )
    trainer = pel.Trainer(
        model,
        nn.CrossEntropyLoss(axis=-1),
        optim.Adam(optim.Cosine(lr, epochs * -(-rows // batch_size))),
        metrics=["accuracy"],
        missing="mask",
    )
    for epoch in range(1, epochs + 1):
        source, target = strings(rows, longest, seed=epoch)
        wanted = np.where(target == PADDING, -1, target)  # below 0: not in the loss
        trainer.fit(
            (source, nn.shift_right(target, START)),
            wanted,
            epochs=1,
            batch_size=batch_size,
            verbose=verbose,
        )
    return trainer


def exact(model, source, target, **options):
    """Return the share of sources whose every letter is written as wanted."""
    found = model.decode(source, max_length=target.shape[1], **options)
    return (found == target).all(1).mean()


def text(tokens):
    return "".join(LETTERS[token - FIRST] for token in tokens if token >= FIRST)


def main(longest=20, epochs=12):
    start = time.perf_counter()
    trainer = train(longest, epochs)
    seconds = time.perf_counter() - start
    print(f"{trainer.history.iterations} updates in {seconds:.1f} s")
    source, target = strings(2000, longest, seed=0)
    for beam in (1, 4):
        start = time.perf_counter()
        share = exact(trainer.model, source, target, beam=beam)
        seconds = time.perf_counter() - start
        print(f"beam {beam}: {share:.2%} of 2000 new strings exact, in {seconds:.1f} s")
    written = trainer.model.decode(source[:3], max_length=longest + 1)
    for given, found in zip(source, written):
        print(f"{text(given)} -> {text(found)}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

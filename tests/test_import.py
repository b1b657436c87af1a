"""Importing the package is cheap; nothing heavy is loaded before it is used."""

import subprocess
import sys

HEAVY = ("sklearn", "polars", "jax", "rich", "typer", "scipy", "narwhals", "torch")


def loaded_by(code):
    script = (
        f"import sys, time\n{code}\n"
        f"print(sorted(set(sys.modules) & set({(*HEAVY, 'numpy', 'llvmlite')!r})))\n"
        "print(time.process_time())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    modules, seconds = done.stdout.splitlines()[-2:]
    return eval(modules), float(seconds)


def test_importing_pellucid_loads_nothing_that_computes():
    modules, seconds = min((loaded_by("import pellucid") for _ in range(3)),
                           key=lambda found: found[1])  # fmt: skip
    assert modules == []
    assert seconds < 0.3


def test_training_loads_no_table_library_and_no_interface():
    modules, _ = loaded_by(
        "import numpy as np, pellucid as pel\n"
        "from pellucid import nn\n"
        "X = np.zeros((8, 2), np.float32)\n"
        "pel.Trainer(nn.Linear(2, 2), nn.MSELoss()).fit(X, X, epochs=1, verbose=0)"
    )
    assert modules == ["llvmlite", "numpy"]


def test_every_public_name_is_there():
    import pellucid

    for name in dir(pellucid):
        assert getattr(pellucid, name) is not None
    # A module must not hide the function of its name, however often it is asked for.
    assert callable(pellucid.tensor)
    assert callable(pellucid.config)
    assert callable(pellucid.gradcheck)

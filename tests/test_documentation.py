"""What the documentation shows runs as it is shown."""

import re
import runpy
from pathlib import Path

import pytest

from pellucid import random

ROOT = Path(__file__).parent.parent


def test_the_readme_s_ten_lines_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    random.seed(0)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    names: dict = {}
    exec(code, names)
    printed = capsys.readouterr().out
    assert "step 123" in printed
    assert "right" in printed
    assert names["history"]["validation_accuracy"][-1] > 0.9
    assert (tmp_path / "digits.safetensors").exists()


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_the_readme_opens_with_the_commands(command):
    opening = (ROOT / "README.md").read_text().split("##")[0]
    assert command in opening
    assert f"{command.split()[1]}:" in (ROOT / "Makefile").read_text()


def test_links_of_the_documentation_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


@pytest.mark.slow
def test_the_textbook_loop_learns(capsys):
    names = runpy.run_path(str(ROOT / "examples" / "textbook_loop.py"))
    names["main"]()
    printed = capsys.readouterr().out
    accuracy = float(re.search(r"training rows ([\d.]+)", printed)[1])
    assert accuracy > 0.95
    assert "maximum" in printed


def test_the_textbook_gradients_are_the_formulas():
    import numpy as np

    names = runpy.run_path(str(ROOT / "examples" / "textbook_loop.py"))
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((7, 3)), rng.integers(0, 2, (7, 1)).astype(float)
    parameters = names["initialize_parameters"]([3, 4, 1])
    output, caches = names["forward_propagation"](X, parameters)
    _, d_output = names["compute_cost"](output, y)
    found = names["backward_propagation"](d_output, caches)
    hidden = np.maximum(X @ parameters["W1"].T + parameters["b1"], 0)
    dZ2 = (output - y) / len(X)
    np.testing.assert_allclose(found["dW2"], dZ2.T @ hidden, rtol=1e-6)
    np.testing.assert_allclose(found["db2"], dZ2.sum(0), rtol=1e-6)
    dZ1 = dZ2 @ parameters["W2"] * (hidden > 0)
    np.testing.assert_allclose(found["dW1"], dZ1.T @ X, rtol=1e-6)
    np.testing.assert_allclose(found["db1"], dZ1.sum(0), rtol=1e-6)


@pytest.mark.slow
def test_the_page_on_tasks_runs(capsys):
    random.seed(0)
    page = (ROOT / "docs" / "tasks.md").read_text()
    names: dict = {}
    for code in re.findall(r"```python\n(.*?)```", page, re.S):
        exec(code, names)
    assert names["history"]["kind.accuracy"][-1] > 0.9
    assert names["model"].sample(3).shape == (3, 4)
    assert "separated after" in capsys.readouterr().out

"""From labelled images to a model and a report: what is chosen, measured, refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from images.conftest import CLASSES, make_images
from pellucid import nn
from pellucid.data.labelled import ImageParts
from pellucid.data.split import split_rows
from pellucid.errors import ArgumentError, DataError
from pellucid.images.preparing import prepare_images, trainer_for
from pellucid.images.report import ImageReport
from pellucid.images.settings import AUGMENTATIONS, ImageSettings
from pellucid.images.training import TrainedImages, ends_well, train_images
from pellucid.train.events import Event

SHORT: dict[str, Any] = {
    "epochs": 2, "channels": (2,), "hidden": (), "engine": "numpy", "augment": (),
}  # fmt: skip


def tensors(trained: TrainedImages) -> dict[str, bytes]:
    state = trained.model.module.state_dict()
    return {name: value.tobytes() for name, value in state.items()}


@pytest.fixture(scope="module")
def trained() -> TrainedImages:
    settings = {"epochs": 25, "channels": (4,), "hidden": (8,), "lr": 0.02, "seed": 3}
    return train_images(ImageParts(make_images()), settings)


def test_a_shape_is_learned_that_no_linear_model_sees(trained: TrainedImages) -> None:
    report = trained.report
    assert report.metrics["accuracy"] >= 0.9
    assert report.linear["accuracy"] < 0.9
    assert report.baseline["accuracy"] == pytest.approx(1 / 3)
    assert report.metrics.keys() == report.linear.keys() == report.baseline.keys()


def test_the_report_says_what_the_images_are(trained: TrainedImages) -> None:
    report = trained.report
    assert (report.task, report.rows) == ("classification", 90)
    rows = (report.train_rows, report.validation_rows, report.test_rows)
    assert rows == (65, 7, 18)
    assert (report.height, report.width, report.channels) == (8, 8, 1)
    assert report.labels == CLASSES
    assert report.stopped in ("finished", "early_stop")
    assert report.iterations == 3 * report.epochs
    plain = json.loads(json.dumps(report.to_json()))
    assert ImageReport.from_json(plain) == report


def test_the_metrics_are_those_of_predictions_on_images_not_trained_on(
    trained: TrainedImages,
) -> None:
    images = make_images()
    _, held = split_rows(90, 0.2, 3, images.labels)
    part = images.part(held)
    guess = trained.model.predict(part.pixels)
    shares = trained.model.predict_proba(part.pixels)
    truth = np.asarray(CLASSES)[part.labels]
    report = trained.report
    assert report.metrics["accuracy"] == metrics.accuracy_score(truth, guess)
    loss = metrics.log_loss(truth, shares, labels=list(CLASSES))
    assert report.metrics["log_loss"] == pytest.approx(loss, rel=1e-4)
    found = metrics.confusion_matrix(truth, guess, labels=list(CLASSES))
    assert report.confusion == tuple(map(tuple, found.tolist()))
    assert trained.truth.tolist() == truth.tolist()
    assert trained.predicted.tolist() == guess.tolist()


@pytest.mark.parametrize(
    ("accuracies", "images", "well"),
    [
        ([0.8, 0.9, 0.9], 20, True),
        ([0.8, 0.9, 0.8], 20, False),
        ([0.8, 0.9, 0.85], 20, True),  # the standard error of 0.9 is 0.067
        ([0.8, 0.9, 0.85], 200, False),
        ([0.8, 1.0, 0.95], 20, True),  # one image is no difference
        ([0.8, 1.0, 0.9], 20, False),
    ],
)
def test_the_end_is_kept_unless_others_were_right_more_often_than_by_chance(
    accuracies: list[float], images: int, well: bool
) -> None:
    assert ends_well(accuracies, 2, images) == well


def test_the_weights_of_the_end_are_those_that_predict(trained: TrainedImages) -> None:
    assert trained.report.best_epoch == trained.report.epochs
    assert trained.trainer.progress is not None
    for name, value in trained.trainer.progress.state.params.items():
        np.testing.assert_array_equal(trained.model.module.state_dict()[name], value)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(
    stripes: ImageParts,
) -> None:
    first, again, other = (
        tensors(train_images(stripes, {**SHORT, "seed": seed})) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


@pytest.mark.slow
def test_images_kept_apart_are_what_the_report_is_on_and_teach_nothing(
    stripes: ImageParts,
) -> None:
    near = replace(stripes, test=make_images(30, seed=8))
    far = replace(stripes, test=make_images(30, seed=9))
    one, two = (train_images(each, SHORT) for each in (near, far))
    assert tensors(one) == tensors(two)
    assert (one.report.train_rows, one.report.validation_rows) == (81, 9)
    assert (one.report.test_rows, one.model.settings.test_size) == (30, 0.0)
    assert one.report.metrics != two.report.metrics
    third = train_images(near, SHORT, test=make_images(30, seed=9))
    assert third.report.metrics == two.report.metrics


@pytest.mark.slow
def test_a_validation_part_judges_when_to_stop(stripes: ImageParts) -> None:
    parts = replace(stripes, validation=make_images(21, seed=5))
    report = train_images(parts, SHORT).report
    rows = (report.train_rows, report.validation_rows, report.test_rows)
    assert rows == (72, 21, 18)


def test_augmentation_stands_in_the_network_and_ends_with_training(
    stripes: ImageParts,
) -> None:
    prepared = prepare_images(stripes, {**SHORT, "augment": tuple(AUGMENTATIONS)})
    network = trainer_for(prepared).model
    assert isinstance(network, nn.Sequential)
    assert [type(each) for each in network[:6]] == [
        nn.StandardizeChannels,
        nn.RandomHorizontalFlip,
        nn.RandomVerticalFlip,
        nn.RandomShift,
        nn.RandomRotation,
        nn.RandomErasing,
    ]
    network[0].fit(prepared.fitting.pixels)
    plain = nn.Sequential(network[0], *network[6:])
    few = prepared.held.pixels[:4]
    np.testing.assert_array_equal(network.eval()(few).value, plain(few).value)


@pytest.mark.parametrize(
    ("size", "count"),
    [((28, 28), 2), ((64, 48), 3), ((8, 8), 1), ((4, 9), 0), ((2, 2), 0)],
)
def test_the_size_chooses_how_many_convolutions(
    size: tuple[int, int], count: int
) -> None:
    assert len(ImageSettings.suggest(1000, size).channels) == count


def test_the_network_in_words() -> None:
    settings = ImageSettings.suggest(1000, (28, 28), augment=("flip",), hidden=())
    assert settings.network == (
        "convolutions 16-32, hidden layers none, relu, images changed by flip"
    )
    plain = json.loads(json.dumps(settings.to_dict()))
    assert ImageSettings.from_dict(plain) == settings


def test_an_interruption_keeps_the_best_so_far(stripes: ImageParts) -> None:
    def press(event: Event) -> None:
        if event.kind == "epoch" and event.data["epoch"] == 2:
            raise KeyboardInterrupt

    found = train_images(stripes, {**SHORT, "epochs": 5}, subscribers=[press])
    assert (found.report.stopped, found.report.epochs) == ("interrupted", 1)


# --- what nothing can be learned from ---


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0] * 12, "the class 'down' has no image · expected at least 2"),
        ([0, 1, 2, 0, 1, 2], "6 images are too few to learn from · expected at least"),
        (
            [0, 1] * 6 + [2],
            "the class 'plain' has a single image · expected at least 2",
        ),
    ],
)
def test_too_few_images_are_refused(labels: list[int], words: str) -> None:
    images = replace(make_images(len(labels)), labels=np.array(labels))
    with pytest.raises(DataError) as caught:
        train_images(ImageParts(images), SHORT)
    assert str(caught.value).startswith(words)


def test_one_class_alone_is_refused() -> None:
    one = replace(make_images(12), labels=np.zeros(12, int), classes=("a",))
    with pytest.raises(DataError, match="there is one class only: 'a' · expected imag"):
        train_images(ImageParts(one), SHORT)


def test_a_share_to_test_on_beside_test_images_is_refused(stripes: ImageParts) -> None:
    with pytest.raises(
        ArgumentError, match=r"test_size=0\.3, and test images are kept"
    ):
        train_images(stripes, {**SHORT, "test_size": 0.3}, test=make_images(9))
    with pytest.raises(DataError, match="no images are held out for the report"):
        train_images(stripes, {**SHORT, "test_size": 0.0})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("augment", ("flipp",), "no augmentation 'flipp' · did you mean 'flip'?"),
        ("channels", (0,), "channels=(0,) · expected a whole number from 1 for each"),
        ("hidden", 8, "hidden=8 · expected a whole number from 1 for each layer"),
        ("epochs", 0, "epochs=0 · expected a whole number from 1"),
        ("drop", ("x",), "no setting named 'drop' · did you mean 'dropout'?"),
    ],
)
def test_a_wrong_setting_is_refused_in_words(name: str, value: Any, words: str) -> None:
    with pytest.raises(ArgumentError) as found:
        ImageSettings.suggest(50, (8, 8), **{name: value})
    assert str(found.value).startswith(words)

"""The reliability diagram, drawn."""

import numpy as np

from tokengym.algorithms.reward_models import reliability
from tokengym.experiments.report import accuracy_by_flips, reliability_diagram, style


def test_the_diagram_has_a_line_a_model_through_its_bins(tmp_path):
    odds = np.linspace(-3, 3, 200)
    right = 1 / (1 + np.exp(-odds))
    exact = reliability(np.concatenate([odds, -odds]), np.concatenate([right, 1 - right]))
    sure = reliability(3 * np.concatenate([odds, -odds]), np.concatenate([right, 1 - right]))
    assert exact.error < 1e-12 < 0.05 < sure.error
    with style():
        figure = reliability_diagram({"exact": exact, "too sure": sure})
        figure.savefig(tmp_path / "reliability.png")
    _, *lines = figure.axes[0].lines
    assert [line.get_label() for line in lines] == ["exact: error 0.000", f"too sure: error {sure.error:.3f}"]
    assert np.allclose(lines[0].get_xdata(), lines[0].get_ydata())
    assert (np.asarray(lines[1].get_xdata()) > np.asarray(lines[1].get_ydata())).any()
    assert (tmp_path / "reliability.png").stat().st_size > 1000


def test_accuracy_has_a_line_for_each_number_of_labels():
    with style():
        figure = accuracy_by_flips([0.0, 0.2], {"50 labels": np.array([[0.7, 0.8], [0.6, 0.6]])}, 0.9)
    drawn, allowed = figure.axes[0].lines
    assert np.allclose(drawn.get_ydata(), [0.75, 0.6]) and np.allclose(allowed.get_ydata(), 0.9)

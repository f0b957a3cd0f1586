"""What a reward model reaches, beside what its labels allow."""

from tokengym.experiments.reward_accuracy import reached, table


def test_with_5000_labels_accuracy_is_within_two_hundredths_of_what_they_allow():
    clean = reached(5000, 0.0, seed=0)
    assert 0 < clean.allowed - clean.accuracy < 0.02
    assert clean.correlation > 0.95 and clean.calibration.error < 0.05
    noisy = reached(200, 0.25, seed=0)
    assert noisy.allowed == clean.allowed and noisy.accuracy < clean.accuracy - 0.05
    rows = table([clean, noisy]).splitlines()
    assert rows[0] == "| labels | 0% flipped | 25% flipped | labels allow |"
    assert rows[-1] == f"| 5,000 | {clean.accuracy:.3f} | – | {clean.allowed:.3f} |"

"""A report for a terminal has every number, how sure it is, and what it was measured with."""

from __future__ import annotations

from sanakit.evaluation.metrics.bootstrap import Estimate
from sanakit.evaluation.reports.report import NetworkUse, Report, measured, report_table


def test_the_table_says_everything() -> None:
    found = Estimate(mean=0.51234, low=0.25, high=1234.56, num_samples=7)
    report = Report(
        title="A title",
        protocol="How it was done.",
        measurements=(
            *(measured(f"row {number}", found, interval="one way") for number in range(5)),
            measured("PSNR", found, unit="dB", interval="another way", better="lower"),
        ),
        seed=3,
        inputs={"pictures": {"path": "here", "sha256": "0123456789" + "a" * 54, "left_out": None}, "scenes": 4},
        settings={"steps": 20, "size": None},
        networks=(NetworkUse(name="net", weights_hash="abcdefghijkl", resize_rule="as it is"),),
        warnings=("too few",),
        missing={"FID": "no features"},
        versions={"torch": "1"},
    )
    lines = report_table(report).splitlines()
    assert lines[0] == "A title"
    assert lines[2].split() == ["row", "0", "0.5123", "[0.25,", "1234.6]", "7", "higher"]
    assert lines[7].split() == ["PSNR", "(dB)", "0.5123", "[0.25,", "1234.6]", "7", "lower"]
    assert lines[8].split() == ["FID", "-", "no", "features"]
    assert lines[9:] == [
        "pictures: path here, sha256 0123456789",
        "scenes: 4",
        "net: weights abcdefghij, float32, as it is",
        "seed 3, steps 20",
        "interval of row 0 to row 4: one way",
        "interval of PSNR: another way",
        "How it was done.",
        "torch 1",
        "warning: too few",
    ]

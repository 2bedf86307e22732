"""FID says no more than its samples can, and KID comes first where it is the better number."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sanakit.evaluation.metrics.kernel_distance import subset_kernel_distance
from sanakit.evaluation.reports.distances import fid_report, frechet_distances, kid_report
from sanakit.evaluation.reports.picture_features import FeatureSet
from sanakit.evaluation.reports.report import report_table

EXTRACTOR: Any = SimpleNamespace(name="numbers", weights_hash="none", resize_rule="none")


def features(num: int, num_features: int, seed: int) -> FeatureSet:
    values = np.random.default_rng(seed).normal(size=(num, num_features))
    return FeatureSet(features=values, facts={"path": str(seed)})


def test_too_few_pictures_have_no_distance_without_bias_and_kid_first() -> None:
    sets = features(11, 12, 0), features(30, 12, 1)
    report = fid_report(*sets, EXTRACTOR, num_halves=8)
    assert [each.name for each in report.measurements] == ["KID", "FID"]
    assert report["KID"] == kid_report(*sets, EXTRACTOR, num_halves=8)["KID"]
    (missing,) = (each for each in report.to_json()["measurements"] if each["name"] == "FID without bias")
    assert (missing["value"], missing["low"], missing["high"]) == (None, None, None)
    assert "11 pictures are fewer than the 12 features" in missing["reason"]
    assert missing["reason"] in report_table(report)
    assert report.warnings


def test_as_many_pictures_as_features_have_all_numbers() -> None:
    report = fid_report(features(12, 12, 0), features(12, 12, 1), EXTRACTOR, num_halves=8)
    assert [each.name for each in report.measurements] == ["FID", "FID without bias"]
    assert "reason" not in str(report.to_json()["measurements"])
    assert report["FID without bias"].value < report["FID"].value
    assert not report.warnings


@pytest.mark.parametrize("num", [8, 20])
def test_pairs_are_named_so_and_have_no_kid(num: int) -> None:
    real = features(num, 12, 0).features
    found = frechet_distances("rFID", real, real + 0.5, seed=0, num_halves=8, paired=True)
    assert next(each.name for each in found.measurements) == "rFID"
    assert list(found.missing) == (["rFID without bias"] if num < 12 else [])
    assert all("of the pairs" in each.interval for each in found.measurements)


def test_subsets_are_a_hundred_of_the_smaller_set_real_ones_first() -> None:
    real, fake = features(9, 3, 0), features(7, 3, 1)
    found = kid_report(real, fake, EXTRACTOR, seed=4, num_halves=3)
    expected = subset_kernel_distance(real.features, fake.features, num_subsets=100, subset_size=7, seed=4)
    assert found["KID of subsets"].value == expected.mean
    assert found.settings["subset_deviation"] == expected.deviation
    assert (found.settings["subsets"], found.settings["subset_size"], found.settings["halves"]) == (100, 7, 3)

"""The library: rows, pooled blocks, intervals, distances and comparisons."""

from __future__ import annotations

import numpy as np
import pytest

from evaluate.clips import Absolute, Colors, Windows, clip, noisy
from magicanimate.errors import InputError
from magicanimate.evaluate import Evaluation, EvaluationSettings, Result, compare
from magicanimate.evaluate.frechet import frechet_distance_of_sets
from magicanimate.evaluate.intervals import bootstrap, deal, jackknife, resample_counts

SMALL = EvaluationSettings(size=32, resamples=300)


def evaluated(sigma: float, order=range(6), settings: EvaluationSettings = SMALL, **options) -> Result:
    """Six videos of three people, as noisy as asked."""
    evaluation = Evaluation([Colors(), Windows()], [Absolute()], settings, **options)
    for seed in order:
        target, parts = clip(seed)
        evaluation.add(f"v{seed}", noisy(target, sigma * (1 + seed / 6), seed), target, parts, parts, f"p{seed // 2}")
    return evaluation.result()


@pytest.fixture(scope="module")
def good() -> Result:
    return evaluated(5)


@pytest.fixture(scope="module")
def bad() -> Result:
    return evaluated(25)


def test_blocks_and_what_they_were_measured_on(good):
    assert list(good.blocks) == ["correct", "disco-compat", "consistency"]
    assert list(good.blocks["correct"]) == ["L1", "PSNR", "SSIM", "LPIPS (none)", "frame distance", "clip distance"]
    assert "PSNR" not in good.blocks["disco-compat"]
    assert good.blocks["disco-compat"]["PSNR (wrapped uint8)"].value > good.blocks["correct"]["PSNR"].value
    assert (good.videos, good.groups, good.frames, good.size) == (6, 3, 6 * 7, (32, 32))
    figures = good.figures()
    assert (figures["PSNR"].videos, figures["PSNR"].frames, figures["PSNR"].windows) == (6, 42, None)
    assert (figures["frame distance"].windows, figures["clip distance"].windows) == (42, 6 * 4)
    assert figures["LPIPS (none), inputs in [0,1]"].value == pytest.approx(figures["LPIPS (none)"].value / 2)
    assert figures["Pose IoU"].value == 1
    assert [note.metric for note in good.networks] == ["frame distance", "clip distance", "LPIPS (none)"]
    assert all(figure.low <= figure.value <= figure.high for figure in figures.values())


def test_a_result_survives_json(good):
    assert Result.model_validate_json(good.model_dump_json()) == good


def test_the_order_of_the_videos_does_not_matter(good):
    other = evaluated(5, order=[3, 0, 5, 1, 4, 2])
    for name, figure in good.figures().items():
        mine = other.figures()[name]
        assert (mine.value, mine.low, mine.high) == pytest.approx((figure.value, figure.low, figure.high), rel=1e-9)


def test_the_reference_frame_is_not_counted():
    target, _ = clip(0)
    output = target.copy()
    output[0] = 0
    row = Evaluation(settings=SMALL).add("v", output, target)
    assert (row.frames, row.values["L1"]) == (7, 0)
    everything = SMALL.model_copy(update={"reference": "none"})
    assert Evaluation(settings=everything).add("v", output, target).values["L1"] > 0


def test_center_square_at_256():
    target = np.zeros((3, 40, 64, 3), np.uint8)
    target[:, :, :12] = 255  # beside the center square of 40 columns
    row = Evaluation().add("v", np.zeros_like(target), target)
    assert row.size == (256, 256)
    assert row.values["L1"] == 0
    as_it_is = Evaluation(settings=EvaluationSettings(size=None)).add("v", np.zeros_like(target), target)
    assert as_it_is.size == (40, 64)
    assert as_it_is.values["L1"] == pytest.approx(12 / 64)


def test_the_distance_is_of_all_windows_together(good):
    sides: list[list[np.ndarray]] = [[], []]
    for seed in range(6):
        target, _ = clip(seed)
        output = noisy(target, 5 * (1 + seed / 6), seed)
        for side, frames in zip(sides, (output, target), strict=True):
            side.append(Windows().features(np.stack([frames[i : i + 4] for i in range(1, 5)])))
    expected = frechet_distance_of_sets(np.concatenate(sides[0]), np.concatenate(sides[1]))
    assert good.figures()["clip distance"].value == pytest.approx(expected, rel=1e-6)
    assert good.left_out["clip distance"].buckets == [["v0", "v1"], ["v2", "v3"], ["v4", "v5"]]


def test_a_network_computes_the_same_frames_once(tmp_path):
    class Counting(Colors):
        calls = 0

        def features(self, pictures):
            Counting.calls += 1
            return super().features(pictures)

    target, _ = clip(0)
    for output in (noisy(target, 5), noisy(target, 9)):
        Evaluation([Counting()], settings=SMALL, spool=tmp_path).add("v", output, target)
    assert Counting.calls == 3  # two outputs, one target


def test_compare(good, bad):
    found = compare(good, bad)
    assert {name for name, figure in found.items() if figure.better != "none"} >= {"PSNR", "clip distance", "dtSSD"}
    psnr = found["PSNR"]
    assert psnr.ahead == "a"
    assert psnr.difference == pytest.approx(good.figures()["PSNR"].value - bad.figures()["PSNR"].value)
    assert psnr.low <= psnr.difference <= psnr.high
    assert psnr.intervals_overlap is False
    assert compare(bad, good)["L1"].ahead == "b"
    assert found["Background flicker of target"].ahead == "undecided"
    same = compare(good, good)
    assert all(figure.ahead == "undecided" and figure.difference == 0 for figure in same.values())
    assert all(figure.intervals_overlap for figure in same.values())


def test_paired_intervals_see_what_unpaired_ones_do_not(good):
    slightly = evaluated(5.4)
    psnr = compare(good, slightly)["PSNR"]
    assert psnr.intervals_overlap is True
    assert psnr.ahead == "a"


def test_only_the_same_videos_are_compared(good):
    with pytest.raises(InputError, match="same videos"):
        compare(good, evaluated(5, order=range(5)))


def test_bad_videos():
    target, parts = clip(0)
    evaluation = Evaluation(settings=SMALL)
    with pytest.raises(InputError, match="7 frames but the target has 8"):
        evaluation.add("v", target[1:], target)
    with pytest.raises(InputError, match="16x32 but the target is 32x32"):
        evaluation.add("v", target[:, :, ::2], target)
    with pytest.raises(InputError, match="float64; frames are uint8"):
        evaluation.add("v", target / 255, target)
    broken = target / 255
    broken[2, 3, 4] = np.nan
    with pytest.raises(InputError, match="output holds NaN or infinite values in frame 3"):
        evaluation.add("v", broken, target)
    with pytest.raises(InputError, match="part maps has 7 frames"):
        evaluation.add("v", target, target, parts[1:])
    with pytest.raises(InputError, match="not part indices 0 to 24"):
        evaluation.add("v", target, target, parts + 1)
    with pytest.raises(InputError, match="none is left"):
        evaluation.add("v", target[:1], target[:1])
    with pytest.raises(InputError, match="Nothing was evaluated"):
        evaluation.result()
    evaluation.add("v", target, target)
    with pytest.raises(InputError, match="added twice"):
        evaluation.add("v", target, target)


def test_videos_shorter_than_a_window():
    target, _ = clip(0)
    evaluation = Evaluation([Windows()], settings=SMALL)
    evaluation.add("long", noisy(target, 5), target)
    evaluation.add("short", noisy(target[:3], 5), target[:3])
    result = evaluation.result()
    assert (result.figures()["clip distance"].videos, result.figures()["clip distance"].windows) == (1, 4)
    assert any("leaves out 1 of 2 videos" in note for note in result.notes)
    alone = Evaluation([Windows()], settings=SMALL)
    alone.add("short", target[:3], target[:3])
    result = alone.result()
    assert "clip distance" not in result.figures()
    assert any("no video has 4 frames" in note for note in result.notes)
    strict = Evaluation([Windows()], settings=SMALL.model_copy(update={"short_videos": "refuse"}))
    with pytest.raises(InputError, match="fewer than a window of 4"):
        strict.add("short", target[:3], target[:3])


def test_two_networks_of_one_name_are_refused():
    with pytest.raises(InputError, match="one name"):
        Evaluation([Colors(), Colors()])


def test_draws_are_of_whole_groups():
    groups = ["a", "a", "b", "c", "c", "c"]
    counts_RV = resample_counts(groups, 500, 0)
    assert (counts_RV[:, :2].sum(1) % 2 == 0).all()
    assert (counts_RV[:, 3:].sum(1) % 3 == 0).all()
    assert not (counts_RV[:, 0] == counts_RV[:, 1]).all()  # within a group, videos are drawn too
    assert np.array_equal(counts_RV, resample_counts(groups, 500, 0))
    assert not np.array_equal(counts_RV, resample_counts(groups, 500, 1))
    assert resample_counts(list("abcd"), 400, 0).sum(1).tolist() == [4] * 400


def test_intervals_cover():
    """About 95 in 100 intervals of 200 samples of a known distribution hold the true mean."""
    rng = np.random.default_rng(0)
    held = jackknifed = 0
    for trial in range(200):
        values_V = rng.normal(3, 1, 40)
        low, high = bootstrap(values_V, np.ones(40), resample_counts([str(i) for i in range(40)], 400, trial))
        held += low <= 3 <= high
        dealt = [np.delete(values_V, bucket).mean() for bucket in deal([str(i) for i in range(40)], 20)]
        low, high = jackknife(float(values_V.mean()), dealt)
        jackknifed += low <= 3 <= high
    assert 178 <= held <= 198
    assert 178 <= jackknifed <= 198


def test_undefined_values_are_left_out_of_means():
    values_V = np.array([1.0, np.nan, 3.0])
    counts_RV = resample_counts(list("abc"), 200, 0)
    low, high = bootstrap(values_V, np.ones(3), counts_RV)
    assert 1 <= low < high <= 3
    assert bootstrap(np.array([1.0, np.nan]), np.ones(2), counts_RV[:, :2]) is None
    assert jackknife(1.0, [1.0]) is None

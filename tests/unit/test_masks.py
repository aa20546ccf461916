"""Masks: what they hide is neither learnt nor measured, wherever it comes from."""

import json

import numpy as np
import pytest
import torch
from captures import SmallCapture
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from core.base.config import knobs, resolve
from core.capture.capture import resized
from core.capture.check import check_capture
from core.capture.masks import MaskConfig, Transparency
from core.nn.masked import compared, counted, parts_of, share_of
from core.nn.ssim import l1_ssim_loss, psnr, ssim

HIDDEN = np.s_[40:120, 60:200]  # rows and columns that the masks hide


@pytest.fixture
def small(tmp_path):
    return SmallCapture(tmp_path / "capture", 4)


def mask_of(value: int = 255, hidden: int = 0, size=(240, 320)) -> Image.Image:
    mask = np.full(size, value, np.uint8)
    mask[HIDDEN] = hidden
    return Image.fromarray(mask)


def put(small, name: str, mask: Image.Image) -> None:
    path = small.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    mask.save(path)


def weights(photo) -> np.ndarray | None:
    sample = photo.sample()
    return sample[..., 3] if sample.shape[2] == 4 else None


# ---- where they come from -----------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "masks/001.png",
        "masks/001.jpg.png",
        "masks/images/001.png",
        "mask/001.PNG",
        "images/masks/001.png",
    ],
)
def test_a_mask_beside_the_pictures_is_found(small, name):
    put(small, name, mask_of())
    photos = small.open(seeds="random").photos
    assert (weights(photos[1])[HIDDEN] == 0).all()
    assert (weights(photos[1]) == 255).sum() == 240 * 320 - 80 * 140
    assert weights(photos[0]) is None
    # what is looked at is not cut out
    assert photos[1].image().shape == (240, 320, 3)


def test_masks_of_pictures_in_subfolders_are_told_apart(small):
    for side in ("left", "right"):
        (small.images / side).mkdir()
    for index, frame in enumerate(small.frames):
        place = f"images/{'left' if index % 2 else 'right'}/{index // 2}.jpg"
        small.picture(index).rename(small.folder / place)
        frame["file_path"] = place
    put(small, "masks/left/0.png", mask_of())
    put(small, "masks/right/0.png", mask_of(0, 255))
    found = {photo.name: weights(photo) for photo in small.open(seeds="random").photos}
    assert (found["images/left/0"][HIDDEN] == 0).all()
    assert (found["images/right/0"][HIDDEN] == 255).all()
    assert found["images/left/1"] is None


def test_a_mask_named_by_the_camera_file_is_used_and_a_missing_one_is_told(small):
    put(small, "elsewhere/m.png", mask_of())
    small.frames[1]["mask_path"] = "./elsewhere/m.png"
    small.frames[2]["mask_path"] = "elsewhere/none.png"
    capture = small.open(seeds="random")
    assert (weights(capture.photos[1])[HIDDEN] == 0).all()
    assert "1 of 4 frames name a mask that does not exist: images/002.jpg." in capture.notices


def test_bright_pixels_of_instant_ngps_dynamic_masks_do_not_count(small):
    put(small, "images/dynamic_mask_001.png", mask_of(0, 255))
    assert (weights(small.open(seeds="random").photos[1])[HIDDEN] == 0).all()


def test_masks_of_numbers_of_colour_and_of_half_the_size_mean_the_same(small):
    put(small, "masks/000.png", mask_of(1))
    put(small, "masks/001.png", mask_of().convert("RGB"))
    put(small, "masks/002.png", mask_of().resize((160, 120), Image.Resampling.NEAREST))
    put(small, "masks/003.png", mask_of().convert("1"))
    for photo in small.open(seeds="random").photos:
        weight = weights(photo)
        assert (weight[HIDDEN][2:-2, 2:-2] == 0).all()
        assert (weight[:36] == 255).all()


def test_a_mask_that_cannot_be_used_leaves_its_picture_out(small):
    put(small, "masks/001.png", mask_of())
    path = small.folder / "masks" / "001.png"
    path.write_bytes(path.read_bytes()[:60])
    put(small, "masks/002.png", Image.new("L", (100, 240)))
    capture = small.open(seeds="random")
    assert [photo.name for photo in capture.photos] == ["000", "003"]
    told = " ".join(capture.notices)
    assert "images/001.jpg has a mask that does not decode" in told
    assert "images/002.jpg has a mask that is 100x240 pixels" in told
    rows = {row.file: row for row in check_capture(small.folder).problems}
    assert rows["images/002.jpg"].severity.value == "left out"


def test_pictures_without_a_mask_beside_masked_ones_are_told(small):
    put(small, "masks/001.png", mask_of())
    assert any(
        text.startswith("3 of 4 frames have no mask, all their pixels count: images/000.jpg")
        for text in small.open(seeds="random").notices
    )


def test_a_mask_is_undistorted_with_its_picture(small):
    """A picture that is its own mask stays that."""
    small.values |= {"k1": 0.2, "k2": -0.05}
    for index in range(4):
        grey = Image.open(small.picture(index)).convert("L")
        grey.point(lambda level: 255 * (level > 127)).save(small.picture(index).with_suffix(".png"))
        small.picture(index).unlink()
        small.frames[index]["file_path"] = f"images/{index:03}.png"
        put(small, f"masks/{index:03}.png", Image.open(small.folder / f"images/{index:03}.png"))
    for photo in small.open(seeds="random").photos:
        np.testing.assert_array_equal(photo.image()[..., 0], weights(photo))


@pytest.mark.parametrize("as_shown", [True, False])
def test_a_mask_of_a_turned_picture_lies_over_it_however_it_was_painted(small, as_shown):
    sideways = Image.Transpose.ROTATE_90
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.open(small.picture(1)).transpose(sideways)
    image.save(small.picture(1), exif=exif)
    put(small, "masks/001.png", mask_of() if as_shown else mask_of().transpose(sideways))
    weight = weights(small.open(seeds="random").photos[1])
    np.testing.assert_array_equal(weight, np.array(mask_of()))


def test_masks_are_told_by_the_check(small):
    for index in range(4):
        put(small, f"masks/{index:03}.png", mask_of())
    put(small, "masks/003.png", Image.new("L", (320, 240)))
    text = " ".join(row.text for row in check_capture(small.folder).problems)
    # a quarter is hidden altogether, and 80 x 140 pixels of each other picture
    assert "4 of 4 pictures have a mask that hides 36% of their pixels on average" in text
    assert "003 is masked on 100.0% of its pixels" in text


# ---- how they are used ------------------------------------------------------------------


def test_masks_can_be_inverted_or_left_unused(small):
    put(small, "masks/001.png", mask_of())
    capture = small.open(seeds="random")
    inverted = weights(capture.masked(MaskConfig(is_inverted=True)).photos[1])
    assert (inverted[HIDDEN] == 255).all()
    assert inverted[0, 0] == 0
    assert weights(capture.masked(MaskConfig(is_used=False)).photos[1]) is None


@pytest.mark.parametrize(("choice", "level"), [("white", 255), ("black", 0), ("mask", None)])
def test_transparent_parts_are_what_is_chosen(small, choice, level):
    image = Image.open(small.picture(1))
    image.putalpha(mask_of())
    small.picture(1).unlink()
    image.save(small.images / "001.png")
    small.frames[1]["file_path"] = "images/001.png"
    capture = small.open(seeds="random").masked(MaskConfig(transparency=Transparency(choice)))
    sample = capture.photos[1].sample()
    if level is None:
        assert (sample[..., 3][HIDDEN] == 0).all()
        np.testing.assert_array_equal(sample[:40], np.array(image)[:40])
    else:
        assert sample.shape[2] == 3
        assert (sample[HIDDEN] == level).all()
    # a picture without transparency in the same capture is as it was
    assert capture.photos[0].sample().shape[2] == 3


def test_transparency_and_a_mask_beside_it_both_hide(small):
    image = Image.open(small.picture(1))
    image.putalpha(mask_of())
    small.picture(1).unlink()
    image.save(small.images / "001.png")
    small.frames[1]["file_path"] = "images/001.png"
    other = np.full((240, 320), 255, np.uint8)
    other[200:] = 0
    put(small, "masks/001.png", Image.fromarray(other))
    capture = small.open(seeds="random").masked(MaskConfig(transparency=Transparency.MASK))
    weight = weights(capture.photos[1])
    assert (weight[HIDDEN] == 0).all()
    assert (weight[200:] == 0).all()
    assert (weight == 255).sum() == 240 * 320 - 80 * 140 - 40 * 320


def test_the_settings_are_in_every_photo_model_and_on_the_command_line():
    from core.studies.radiance.splats_3dgs import Config

    shown = {knob.key: knob for knob in knobs(Config())}
    assert shown["masks.transparency"].choices == ("white", "black", "mask")
    assert {"masks.is_used", "masks.is_inverted"} <= shown.keys()
    config = resolve(Config, None, {"masks.transparency": "mask", "masks.is_inverted": "true"})
    assert (config.masks.transparency, config.masks.is_inverted) == (Transparency.MASK, True)


def test_made_smaller_hidden_pixels_give_no_colour_to_their_neighbours():
    picture = np.full((60, 60, 4), (0, 0, 0, 0), np.uint8)
    picture[:, :31] = (200, 100, 50, 255)
    small = resized(picture, 20, 20)
    counts = small[..., 3] > 0
    assert counts[:, :11].all()
    assert not counts[:, 11:].any()
    np.testing.assert_array_equal(np.unique(small[counts][:, :3], axis=0), [[200, 100, 50]])
    assert small[0, 10, 3] == 85  # a third of the eleventh pixel


# ---- loss and metrics --------------------------------------------------------------------


def pictures(seed: int, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=rng), torch.rand(*shape, generator=rng)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 2**31), st.floats(0.05, 0.95))
def test_what_is_hidden_changes_neither_loss_nor_gradient_nor_metrics(seed, share):
    rendered, target = pictures(seed, 24, 30, 3)
    weight = (torch.rand(24, 30, 1, generator=torch.Generator().manual_seed(seed)) > share).float()
    found = []
    for content in (target, torch.where(weight > 0, target, torch.zeros(()))):
        leaf = rendered.clone().requires_grad_(True)
        loss = share_of(weight) * l1_ssim_loss(*counted(leaf, content, weight))
        loss.backward()
        found.append((float(loss.detach()), leaf.grad, compared(rendered, content, weight)))
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1], found[1][1])
    assert found[0][2] == found[1][2]
    assert (found[0][1][weight[..., 0] == 0] == 0).all()


def test_without_a_mask_loss_and_metrics_are_the_usual_ones():
    rendered, target = pictures(1, 20, 20, 3)
    assert counted(rendered, target, None) == (rendered, target)
    assert compared(rendered, target, None) == {
        "psnr": float(psnr(rendered, target)),
        "ssim": pytest.approx(float(ssim(rendered, target)), abs=1e-7),
    }
    everything = torch.ones(20, 20, 1)
    assert compared(rendered, target, everything) == pytest.approx(
        compared(rendered, target, None), abs=1e-5
    )


def test_metrics_are_the_mean_over_what_counts():
    rendered, target = pictures(2, 40, 40, 3)
    weight = torch.zeros(40, 40, 1)
    weight[:20] = 1
    found = compared(rendered, target, weight)
    assert found["psnr"] == pytest.approx(float(psnr(rendered[:20], target[:20])), abs=1e-4)
    l1 = share_of(weight) * l1_ssim_loss(*counted(rendered, target, weight), 0.0)
    assert float(l1) == pytest.approx(float((rendered - target)[:20].abs().mean()), abs=1e-6)


def test_a_sample_falls_into_picture_and_weight():
    picture, weight = parts_of(torch.rand(4, 5, 4))
    assert (picture.shape, weight.shape) == ((4, 5, 3), (4, 5, 1))
    assert parts_of(torch.rand(4, 5, 3))[1] is None
    assert share_of(torch.zeros(4, 5, 1)) == 0.0


def test_training_and_evaluation_never_see_what_is_hidden(small, tmp_path):
    """Two captures differ only where masks hide them: models, metrics and gradients are the same."""
    from core.studies.radiance.splats_3dgs import STUDY
    from core.study import Setup

    results = []
    for content in (0, 90):
        copy = SmallCapture(tmp_path / f"copy{content}", 4)
        for index in range(4):
            image = np.array(Image.open(copy.picture(index)))
            image[HIDDEN] = content
            copy.picture(index).unlink()
            Image.fromarray(image).save(copy.images / f"{index:03}.png")
            copy.frames[index]["file_path"] = f"images/{index:03}.png"
            put(copy, f"masks/{index:03}.png", mask_of())
        capture = copy.open().limited(80)
        study = STUDY(STUDY.Config(steps=8), Setup(variant="", seed=3, capture=capture))
        study.prepare()
        metrics = [study.step() for _ in range(4)]
        results.append((study.model.explicit, metrics, study.evaluate_pictures()))
    for name, values in results[0][0].items():
        assert torch.equal(values, results[1][0][name]), name
    assert json.dumps(results[0][1:]) == json.dumps(results[1][1:])

"""Ways to spoil a small capture, each on a picture of its own so that they combine, and what is to be said."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from captures import SmallCapture
from PIL import Image

PICTURES = 20
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


@dataclass(frozen=True)
class Damage:
    """`said` is part of the row's text; an empty one means that nothing is to be found."""

    spoil: Callable[[SmallCapture], None]
    severity: str
    said: str


def write(small: SmallCapture) -> Path:
    """Write the JSON without opening the folder."""
    path = small.folder / "transforms.json"
    path.write_text(json.dumps(small.values, ensure_ascii=False), "utf-8")
    return small.folder


def truncated(small):
    path = small.picture(3)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.4)])


def missing(small):
    small.picture(4).unlink()


def all_missing(small):
    small.images.rename(small.folder / "elsewhere")


def not_finite(small):
    small.frames[5]["transform_matrix"][1][2] = float("nan")


def flat(small):
    matrix = np.array(small.frames[6]["transform_matrix"])
    matrix[:3, 0] = 0
    small.frames[6]["transform_matrix"] = matrix.tolist()


def mirrored(small):
    matrix = np.array(small.frames[10]["transform_matrix"])
    matrix[:3, 0] *= -1
    small.frames[10]["transform_matrix"] = matrix.tolist()


def no_frames(small):
    small.values["frames"] = []


def half_size(small):
    Image.open(small.picture(7)).resize((160, 120)).save(small.picture(7))


def other_shape(small):
    Image.open(small.picture(7)).crop((0, 0, 200, 240)).save(small.picture(7))


def sixteen_bits(small):
    deep = np.array(Image.open(small.picture(11))).astype(np.uint16) * 257
    stored_as(small, 11, ".png", lambda path: cv2.imwrite(str(path), deep[..., ::-1]))


def alpha(small):
    image = Image.open(small.picture(8))
    mask = np.full((240, 320), 255, np.uint8)
    mask[50:100, 50:100] = 0
    image.putalpha(Image.fromarray(mask))
    stored_as(small, 8, ".png", image.save)


def turned(small):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.open(small.picture(9)).transpose(Image.Transpose.ROTATE_90)
    image.save(small.picture(9), quality=97, exif=exif)


def awkward_name(small):
    frame = small.frames[12]
    small.picture(12).rename(small.images / "über 照片🦊.JPG")
    frame["file_path"] = "images/über 照片🦊.JPG"


def no_focal_length(small):
    for key in ("fl_x", "fl_y"):
        small.values.pop(key, None)


def listed_twice(small):
    small.frames.append(dict(small.frames[0]))


def two_poses(small):
    other = small.frames[1]["transform_matrix"]
    small.frames.append({**small.frames[0], "transform_matrix": other})


def copied(small):
    shutil.copy(small.picture(13), small.images / "copy.jpg")
    small.frames.append({**small.frames[13], "file_path": "images/copy.jpg"})


def pointer_picture(small):
    small.picture(2).write_bytes(LFS)


def pointer_points(small):
    (small.folder / "points.ply").write_bytes(LFS)


def boastful_points(small):
    path = small.folder / "points.ply"
    path.write_bytes(path.read_bytes().replace(b"vertex 3000", b"vertex 9000000000"))


def mask_cut(small):
    mask(small, 14, Image.new("L", (320, 240), 255))
    path = small.folder / "masks" / "014.png"
    path.write_bytes(path.read_bytes()[:50])


def mask_of_another_shape(small):
    mask(small, 15, Image.new("L", (240, 240), 255))


def masked(small):
    mask(small, 16, Image.new("L", (320, 240), 255))


def mask(small, index: int, image: Image.Image) -> None:
    (small.folder / "masks").mkdir(exist_ok=True)
    image.save(small.folder / "masks" / f"{index:03}.png")


def tagged(small):
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.open(small.picture(17)).save(small.picture(17), quality=97, exif=exif)


def skewed(small):
    matrix = np.array(small.frames[18]["transform_matrix"])
    matrix[:3, 0] *= 1.5
    small.frames[18]["transform_matrix"] = matrix.tolist()


def no_focal_length_of_one(small):
    small.frames[19]["fl_x"] = -3.0


def panorama(small):
    small.values["latlong"] = True


def no_pose(small):
    del small.frames[19]["transform_matrix"]


def infinite_point(small):
    path = small.folder / "points.ply"
    data = bytearray(path.read_bytes())
    at = data.index(b"end_header\n") + len(b"end_header\n")
    data[at : at + 4] = np.float32(np.inf).tobytes()
    path.write_bytes(bytes(data))


def stored_as(small, index: int, suffix: str, save) -> None:
    old = small.picture(index)
    old.unlink()
    save(old.with_suffix(suffix))
    small.frames[index]["file_path"] = f"images/{old.stem}{suffix}"


LEFT_OUT, STOPS, NOTE = "left out", "stops", "worth knowing"
# those that take away every frame come last: the others need their pictures
DAMAGES = {
    "truncated": Damage(truncated, LEFT_OUT, "images/003.jpg does not decode"),
    "missing": Damage(missing, LEFT_OUT, "have no picture: images/004.jpg"),
    "not finite": Damage(not_finite, LEFT_OUT, "pose not finite: images/005.jpg"),
    "flat": Damage(flat, LEFT_OUT, "determinant 0"),
    "mirrored": Damage(mirrored, STOPS, "images/010.jpg is a mirror image"),
    "half size": Damage(half_size, NOTE, "another size than declared"),
    "other shape": Damage(other_shape, STOPS, "007.jpg is 200x240 pixels"),
    "sixteen bits": Damage(sixteen_bits, "", ""),
    "alpha": Damage(alpha, NOTE, "have transparent parts"),
    "turned": Damage(turned, NOTE, "turned by their orientation tag: images/009.jpg"),
    "awkward name": Damage(awkward_name, "", ""),
    "no focal length": Damage(no_focal_length, STOPS, "neither a focal length"),
    "listed twice": Damage(listed_twice, NOTE, "listed twice, kept once: images/000.jpg"),
    "two poses": Damage(two_poses, STOPS, "000.jpg is listed twice with different poses"),
    "copied": Damage(copied, LEFT_OUT, "copies and left out"),
    "pointer picture": Damage(pointer_picture, LEFT_OUT, "images/002.jpg is a Git LFS pointer"),
    "infinite point": Damage(infinite_point, LEFT_OUT, "1 seed points are not finite"),
    "pointer points": Damage(pointer_points, STOPS, "points.ply is a Git LFS pointer"),
    "boastful points": Damage(boastful_points, STOPS, "promises 9000000000 points"),
    "mask cut": Damage(mask_cut, LEFT_OUT, "images/014.jpg has a mask that does not decode"),
    "mask of another shape": Damage(mask_of_another_shape, LEFT_OUT, "015.jpg has a mask that is"),
    "masked": Damage(masked, NOTE, "have no mask, all their pixels count"),
    "tagged": Damage(tagged, NOTE, "cameras that fit the stored pixels"),
    "skewed": Damage(skewed, LEFT_OUT, "pose skewed: images/018.jpg"),
    "no pose": Damage(no_pose, LEFT_OUT, "images/019.jpg"),
    "focal length of one": Damage(no_focal_length_of_one, STOPS, "focal length (-3"),
    "panorama": Damage(panorama, STOPS, "latlong describes a panorama"),
    "all missing": Damage(all_missing, STOPS, "has a picture. Searched"),
    "no frames": Damage(no_frames, STOPS, "none of the 0 frames"),
}

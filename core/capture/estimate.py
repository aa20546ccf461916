"""Estimate the cameras of pictures that bring none (structure from motion), in a process of its own.

    python -m core.capture.estimate JOB

JOB is a folder with job.json and the pictures it names; the result is JOB/found.npz with

    points  [P, 3] float64   in the cameras' coordinates, whose scale and axes are arbitrary
    colors  [P, 3] uint8
    facts   JSON as bytes    {"lenses": [...], "pictures": [...], "error": pixels}

Each stage leaves a file when it is complete and is not done again; features and matches are also
kept one by one, in COLMAP's database, whose transactions survive a process that is killed.
SIFT, matching, verification and incremental mapping are pycolmap's.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from core.capture.child import end_with_parent
from core.capture.pairs import choose_pairs, pairs_text

MODEL = "SIMPLE_RADIAL"
FOCAL_GUESS = 1.2  # of the longer side, where nothing is known
LEAST_GROUP = 3  # pictures that make a model
LOOKED_AT = 1500  # descriptors of a picture, to find those that look alike
PAIRS_AT_ONCE = 10  # between two reports of progress


def main(job: Path) -> None:
    """Do every stage that is not complete yet."""
    settings = json.loads((job / "job.json").read_text("utf-8"))
    for stage in (register, find_features, match, place):
        done = job / f"{stage.__name__}.done"
        if not done.exists():
            stage(job, settings)
            done.touch()


def register(job: Path, settings: dict[str, Any]) -> None:
    """Write the pictures into a new database: one camera for all that were taken with the same lens."""
    import pycolmap

    for old in job.glob("database.db*"):
        old.unlink()
    database = job / "database.db"
    pycolmap.Database.open(database).close()
    for index, lens in enumerate(settings["lenses"]):
        names = [entry["file"] for entry in settings["pictures"] if entry["lens"] == index]
        reader = pycolmap.ImageReaderOptions()
        reader.camera_model, reader.default_focal_length_factor = MODEL, FOCAL_GUESS
        if lens["focal"]:
            start = (lens["focal"], lens["width"] / 2, lens["height"] / 2, 0.0)
            reader.camera_params = ",".join(map(str, start))
        pycolmap.import_images(database, job, pycolmap.CameraMode.SINGLE, names, reader)


def find_features(job: Path, settings: dict[str, Any]) -> None:
    """Extract SIFT features of every picture that has none yet."""
    import pycolmap

    options = pycolmap.FeatureExtractionOptions()
    options.num_threads, options.use_gpu = settings["threads"], False
    options.sift.max_num_features = settings["features"]
    names = [entry["file"] for entry in settings["pictures"]]
    pycolmap.extract_features(
        job / "database.db",
        job,
        names,
        extraction_options=options,
        device=pycolmap.Device.cpu,
    )


def match(job: Path, settings: dict[str, Any]) -> None:
    """Match and verify the pairs that were not compared yet."""
    import pycolmap

    names = [entry["file"] for entry in settings["pictures"]]
    with pycolmap.Database.open(job / "database.db") as table:
        ids = [table.read_image_with_name(name).image_id for name in names]
        descriptors = [_some(table.read_descriptors(image_id).data) for image_id in ids]
    pairing = pycolmap.ImportedPairingOptions()
    pairing.match_list_path = str(job / "pairs.txt")
    pairing.block_size = PAIRS_AT_ONCE
    pairs = choose_pairs(descriptors)
    print(f"Comparing {len(pairs)} pairs", flush=True)
    (job / "pairs.txt").write_text(pairs_text(names, pairs), "utf-8")
    matching = pycolmap.FeatureMatchingOptions()
    matching.num_threads, matching.use_gpu = settings["threads"], False
    pycolmap.match_image_pairs(job / "database.db", matching, pairing, device=pycolmap.Device.cpu)


def _some(descriptors: np.ndarray) -> np.ndarray:
    """Return about LOOKED_AT of the descriptors [F, D], enough to tell what a picture shows."""
    return np.array(descriptors[:: max(1, len(descriptors) // LOOKED_AT)])


def place(job: Path, settings: dict[str, Any]) -> None:
    """Find cameras and points together, picture by picture, and write found.npz."""
    import pycolmap

    pycolmap.set_random_seed(0)
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads, options.random_seed = settings["threads"], 0
    options.min_model_size = LEAST_GROUP
    total, placed = len(settings["pictures"]), [0]

    def tell(count: int) -> None:
        placed[0] = count
        print(f"Placed picture [{min(count, total)}/{total}]", flush=True)

    shutil.rmtree(job / "models", ignore_errors=True)
    (job / "models").mkdir()
    models = pycolmap.incremental_mapping(
        job / "database.db",
        job,
        job / "models",
        options,
        initial_image_pair_callback=lambda: tell(2),
        next_image_callback=lambda: tell(placed[0] + 1),
    )
    largest_first = sorted(models.values(), key=lambda model: -model.num_reg_images())
    write_found(job, settings, largest_first)


def write_found(job: Path, settings: dict[str, Any], models: list[Any]) -> None:
    """Write the first model, and what is known about the pictures that it does not hold."""
    groups = [
        {model.images[image_id].name for image_id in model.reg_image_ids()} for model in models
    ]
    model = models[0] if models else None
    facts: dict[str, Any] = {"lenses": [], "error": 0.0}
    facts["pictures"] = _pictures(job, settings, groups)
    points, colors = np.zeros((0, 3)), np.zeros((0, 3), np.uint8)
    if model is not None:
        facts["error"] = float(model.compute_mean_reprojection_error())
        _add_cameras(facts, settings, model)
        found = [point for _, point in sorted(model.points3D.items())]
        points = np.array([point.xyz for point in found]).reshape(-1, 3)
        colors = np.array([point.color for point in found], np.uint8).reshape(-1, 3)
    unfinished = job / "found.part.npz"
    packed = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    np.savez(unfinished, points=points, colors=colors, facts=packed)
    unfinished.replace(job / "found.npz")


def _add_cameras(facts: dict[str, Any], settings: dict[str, Any], model: Any) -> None:
    """Add the poses [4, 4] of the placed pictures, and the lenses they were taken with."""
    lens_of = {entry["file"]: entry["lens"] for entry in settings["pictures"]}
    by_name = {entry["file"]: entry for entry in facts["pictures"]}
    facts["lenses"] = [None] * len(settings["lenses"])
    for image_id in model.reg_image_ids():
        image = model.images[image_id]
        pose = np.eye(4)
        pose[:3] = image.cam_from_world().inverse().matrix()
        by_name[image.name]["camera_to_world"] = pose.tolist()
        camera = model.cameras[image.camera_id]
        facts["lenses"][lens_of[image.name]] = [float(value) for value in camera.params]


def _pictures(job: Path, settings: dict[str, Any], groups: list[set[str]]) -> list[dict[str, Any]]:
    """Return per picture its features, its most verified matches with a picture, and with a placed one."""
    import pycolmap

    names = [entry["file"] for entry in settings["pictures"]]
    placed = groups[0] if groups else set()
    found = {name: {"file": name, "lens": 0, "matches": 0, "placed_matches": 0} for name in names}
    with pycolmap.Database.open(job / "database.db") as table:
        name_of = {image.image_id: image.name for image in table.read_all_images()}
        for image_id, name in name_of.items():
            found[name]["features"] = table.num_keypoints_for_image(image_id)
        pair_ids, counts = table.read_two_view_geometry_num_inliers()
        for pair_id, count in zip(pair_ids, counts, strict=True):
            one, other = (name_of[i] for i in pycolmap.pair_id_to_image_pair(pair_id))
            for name, partner in ((one, other), (other, one)):
                entry = found[name]
                entry["matches"] = max(entry["matches"], int(count))
                if partner in placed:
                    entry["placed_matches"] = max(entry["placed_matches"], int(count))
    for entry, given in zip(found.values(), settings["pictures"], strict=True):
        entry["lens"] = given["lens"]
        entry["group"] = next(
            (number for number, group in enumerate(groups) if entry["file"] in group), None
        )
    return list(found.values())


if __name__ == "__main__":
    end_with_parent()
    main(Path(sys.argv[1]))

"""Triangulate seed points from pictures whose cameras are known, in a process of its own.

    python -m core.capture.triangulate JOB

JOB is a folder with job.json and the pictures it names; the result is JOB/points.npz with

    points  [P, 3] float64   the cameras' coordinates
    colors  [P, 3] uint8
    errors  [P]    float64   mean reprojection error, pixels of these pictures
    tracks  [P]    int64     pictures that see the point

A process can be stopped at any moment, and a crash of the native code stays inside it. SIFT and
triangulation with fixed poses are pycolmap's; poses also choose which pictures are compared.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from core.capture.child import end_with_parent

ALL_PAIRS_BELOW = 30  # pictures; from here on each is compared with its nearest ones only
NEIGHBOURS = 16
MAX_TURN_COSINE = 0.5  # pictures that look more than 60 degrees apart share no SIFT matches


def main(job: Path) -> None:
    """Extract features, match neighbours, triangulate, write points.npz."""
    import pycolmap

    settings = json.loads((job / "job.json").read_text("utf-8"))
    names = [entry["file"] for entry in settings["pictures"]]
    threads = int(settings["threads"])
    database = job / "database.db"

    extraction = pycolmap.FeatureExtractionOptions()
    extraction.num_threads, extraction.use_gpu = threads, False
    extraction.sift.max_num_features = int(settings["features"])
    pycolmap.extract_features(
        database,
        job,
        names,
        camera_mode=pycolmap.CameraMode.PER_IMAGE,
        extraction_options=extraction,
        device=pycolmap.Device.cpu,
    )
    model = _known_model(pycolmap, database, settings["pictures"])

    pairs = choose_pairs(np.array([entry["camera_to_world"] for entry in settings["pictures"]]))
    (job / "pairs.txt").write_text("".join(f"{names[a]} {names[b]}\n" for a, b in pairs), "utf-8")
    pairing = pycolmap.ImportedPairingOptions()
    pairing.match_list_path = str(job / "pairs.txt")
    pairing.block_size = max(1, len(pairs) // 20)
    matching = pycolmap.FeatureMatchingOptions()
    matching.num_threads, matching.use_gpu = threads, False
    pycolmap.match_image_pairs(database, matching, pairing, device=pycolmap.Device.cpu)

    pipeline = pycolmap.IncrementalPipelineOptions()
    pipeline.num_threads = threads
    (job / "model").mkdir(exist_ok=True)
    model = pycolmap.triangulate_points(model, database, job, job / "model", options=pipeline)
    found = list(model.points3D.values())
    np.savez(
        job / "points.npz",
        points=np.array([point.xyz for point in found]).reshape(-1, 3),
        colors=np.array([point.color for point in found], np.uint8).reshape(-1, 3),
        errors=np.array([point.error for point in found]),
        tracks=np.array([point.track.length() for point in found], np.int64),
    )


def choose_pairs(poses: np.ndarray) -> list[tuple[int, int]]:
    """Return index pairs of poses [C, 4, 4] worth comparing: all, or each picture's nearest that look the same way."""
    count = len(poses)
    if count < ALL_PAIRS_BELOW:
        return [(a, b) for a in range(count) for b in range(a + 1, count)]
    centers, forwards = poses[:, :3, 3], poses[:, :3, 2]
    distance = np.linalg.norm(centers[:, None] - centers[None], axis=-1)  # [C, C]
    cosine = forwards @ forwards.T
    distance[(cosine < MAX_TURN_COSINE) | np.eye(count, dtype=bool)] = np.inf
    # a large turn costs as much as standing a typical distance apart
    typical = np.median(distance[np.isfinite(distance)]) if np.isfinite(distance).any() else 1.0
    cost = distance + typical * (1 - cosine)
    pairs = set()
    for a in range(count):
        for b in np.argsort(cost[a])[:NEIGHBOURS]:
            if np.isfinite(cost[a, b]):
                pairs.add((min(a, int(b)), max(a, int(b))))
    return sorted(pairs)


def _known_model(pycolmap: Any, database: Path, pictures: list[dict[str, Any]]) -> Any:
    """Build a model of the known cameras, with the ids the database gave, and put the lenses into the database."""
    model = pycolmap.Reconstruction()
    with pycolmap.Database.open(database) as table:
        for entry in pictures:
            stored = table.read_image_with_name(entry["file"])
            camera = pycolmap.Camera(
                camera_id=stored.camera_id,
                model="PINHOLE",
                width=entry["width"],
                height=entry["height"],
                params=[entry[key] for key in ("fx", "fy", "cx", "cy")],
            )
            camera.has_prior_focal_length = True
            table.update_camera(camera)
            world_to_camera = np.linalg.inv(np.array(entry["camera_to_world"]))
            model.add_camera_with_trivial_rig(camera)
            model.add_image_with_trivial_frame(
                pycolmap.Image(
                    name=entry["file"],
                    keypoints=np.zeros((0, 2)),
                    camera_id=stored.camera_id,
                    image_id=stored.image_id,
                ),
                pycolmap.Rigid3d(world_to_camera[:3]),
            )
    return model


if __name__ == "__main__":
    end_with_parent()
    main(Path(sys.argv[1]))

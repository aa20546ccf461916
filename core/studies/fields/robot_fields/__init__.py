"""Neural fields in robotics: four kinds of field of one object behind one set of queries.

Paper: Irshad et al., "Neural Fields in Robotics: A Survey", 2024, arXiv 2410.20220

A survey proposes no system: this is its checklist. Occupancy, distance (from points or from pictures),
radiance and Gaussians are fitted to the same object (shapes.py) by the same trainer (fields.py,
gaussians.py) and answer the same questions: inside, distance, gradient, mesh (meshes.py), picture. On
them stand what robots ask: the pose of a camera (pose.py), a path without collision (planning.py), a
grasp and a contact (contact.py). The equations are those of the frameworks it names: Mescheder et al.
2019 (occupancy), Gropp et al. 2020 (eikonal term), Yariv et al. 2021 (density of a distance, eq. 2
and 3), Mildenhall et al. 2020 (volume rendering, eq. 3), Kerbl et al. 2023 (Gaussians, eq. 5 and 6),
Yen-Chen et al. 2021 (a pose by inversion) and Adamkiewicz et al. 2022 (planning in a field).

Scaled down: networks of 3 layers of 64, 24 pictures of 48 pixels of an object with exact distances
(`shapes`), or of any mesh (`mesh`), and Gaussians that start at surface points and are neither added
nor removed; 800 steps of 384 rays, and 150 of 96 pixels for a pose (the methods surveyed take 300 of
1024), so that the claims take 20 minutes of one core. Left out: SLAM, and the street with a moving
car that the survey's driving part needs.
"""

from core.studies.fields.robot_fields.study import RobotFields

STUDY = RobotFields

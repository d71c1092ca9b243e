"""Geometry of tensors alone: rotations, kinematics, skinning, camera, rasterizer."""

"""Writes the meshes of a photo's people into one GLB, OBJ or PLY file, whole or not at all.

Axes: the file is in metres, y up, the camera at the origin looking along -z (the axes of glTF), so
camera-frame points (x right, y down, z forward) are written as (x, -y, -z). Every person is an own
node (GLB) or object (OBJ), with vertex normals and a colour; a PLY holds all of them as one mesh
with coloured vertices.
"""

import io
import os

import numpy as np

from hund_tf.files import write_atomically
from hund_tf.visualization import overlay, renderer

GLTF_FROM_CAMERA = np.diag([1.0, -1.0, -1.0])
AXES = ("metres; y up; the camera is at the origin and looks along -z; "
        "a camera-frame point (x right, y down, z forward) is written as (x, -y, -z)")


def export_scene(path, meshes, names=None):
    """Writes by the ending of the path: `.glb`, `.obj` or `.ply`.

    Args:
        path: str, file to write; its folder must exist. An older file is replaced at once, and
            stays as it was if anything fails.
        meshes: sequence of `(vertices_camera [V, 3] in metres, faces [F, 3])`, one a person.
        names: sequence of distinct str. Defaults to person_0, person_1, ...

    Raises:
        ValueError: if the ending is another, there is no mesh, a shape is wrong, a coordinate is
            not finite, or the names do not fit.
    """
    writers = {".glb": write_glb, ".obj": write_obj, ".ply": write_ply}
    ending = os.path.splitext(path)[1].lower()
    if ending not in writers:
        raise ValueError(f"A mesh file must end in .glb, .obj or .ply. Received: {path!r}.")
    writers[ending](path, meshes, names)


def write_glb(path, meshes, names=None):
    """Writes one binary glTF scene with a named node per person; see `export_scene`.

    The asset's `extras` say units and axes in words.
    """
    scene = _scene(meshes, names)

    def tell_axes(tree):
        tree["asset"]["generator"] = "hund_tf"
        tree["asset"]["extras"] = {"units": "metres", "axes": AXES}

    _replace(path, scene.export(file_type="glb", include_normals=True, tree_postprocessor=tell_axes))


def write_obj(path, meshes, names=None):
    """Writes one Wavefront OBJ with an object per person; see `export_scene`."""
    lines, offset = io.StringIO(), 1
    lines.write(f"# hund_tf: {AXES}\n")
    for name, vertices, faces, normals, _ in _people(meshes, names):
        lines.write(f"o {name}\n")
        np.savetxt(lines, vertices, "v %.6f %.6f %.6f")
        np.savetxt(lines, normals, "vn %.4f %.4f %.4f")
        corners = np.repeat(faces + offset, 2, axis=1)
        np.savetxt(lines, corners, "f %d//%d %d//%d %d//%d")
        offset += len(vertices)
    _replace(path, lines.getvalue().encode("utf-8"))


def write_ply(path, meshes, names=None):
    """Writes one binary PLY: all people in one mesh, told apart by colour; see `export_scene`."""
    import trimesh

    mesh = trimesh.util.concatenate([mesh for _, mesh in _trimeshes(meshes, names)])
    content = trimesh.exchange.ply.export_ply(mesh, vertex_normal=True)
    _replace(path, content.replace(b"comment https://github.com/mikedh/trimesh", f"comment hund_tf: {AXES}".encode(), 1))


def _scene(meshes, names):
    import trimesh

    scene = trimesh.Scene()
    for name, mesh in _trimeshes(meshes, names):
        scene.add_geometry(mesh, node_name=name, geom_name=name)
    return scene


def _trimeshes(meshes, names):
    import trimesh

    for name, vertices, faces, normals, color in _people(meshes, names):
        colors = np.tile(np.append(color, 1.0), [len(vertices), 1])
        yield name, trimesh.Trimesh(
            vertices=vertices, faces=faces, vertex_normals=normals, process=False,
            vertex_colors=(colors * 255 + 0.5).astype(np.uint8), metadata={"name": name})


def _people(meshes, names):
    """Checked (name, vertices, faces, normals, colour) of everybody, in glTF axes."""
    if not len(meshes):
        raise ValueError("`meshes` must hold at least one mesh. Received: none.")
    names = [f"person_{number}" for number in range(len(meshes))] if names is None else list(names)
    if len(names) != len(meshes) or len(set(names)) != len(names):
        raise ValueError(f"`names` must be {len(meshes)} distinct names. Received: {names}.")
    people = []
    for number, (vertices, faces) in enumerate(meshes):
        vertices, faces = np.asarray(vertices, np.float64), np.asarray(faces)
        if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
            raise ValueError("A mesh must be vertices [V, 3] and faces [F, 3]. "
                             f"Received: {vertices.shape} and {faces.shape} for {names[number]}.")
        if not np.isfinite(vertices).all():
            raise ValueError(f"Vertices must be finite. Received: others in {names[number]}.")
        vertices = vertices @ GLTF_FROM_CAMERA
        people.append((names[number], vertices, faces, renderer.vertex_normals(vertices, faces),
                       overlay.person_color(number)))
    return people


def _replace(path, content):
    """Writes bytes as a whole file."""

    def save(temporary):
        with open(temporary, "wb") as file:
            file.write(content)

    write_atomically(path, save)

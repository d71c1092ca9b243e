"""Mesh files: reloaded with trimesh they hold the same people, in the stated axes."""

import json
import os
import struct

import numpy as np
import pytest
import trimesh

from hund_tf.visualization import mesh_export


def people():
    first, second = trimesh.creation.icosphere(1, 0.4), trimesh.creation.box([0.3, 1.7, 0.2])
    return [(first.vertices + [0.1, -0.2, 3.0], np.asarray(first.faces)),
            (second.vertices + [-1.0, 0.3, 5.0], np.asarray(second.faces))]


def test_glb_is_one_scene_with_a_node_per_person(tmp_path):
    path = str(tmp_path / "people.glb")
    mesh_export.write_glb(path, people(), ["anna", "ben"])
    scene = trimesh.load(path, process=False)
    assert set(scene.graph.nodes_geometry) == {"anna", "ben"}
    for name, (vertices, faces) in zip(("anna", "ben"), people()):
        transform, geometry = scene.graph[name]
        np.testing.assert_allclose(transform, np.eye(4))
        loaded = scene.geometry[geometry]
        np.testing.assert_allclose(loaded.vertices, vertices * [1, -1, -1], atol=1e-6)
        np.testing.assert_array_equal(loaded.faces, faces)


def glb_tree(path):
    with open(path, "rb") as file:
        content = file.read()
    length, kind = struct.unpack("<I4s", content[12:20])
    assert content[:4] == b"glTF" and kind == b"JSON"
    return json.loads(content[20:20 + length])


def test_glb_says_units_and_axes_and_holds_normals(tmp_path):
    path = str(tmp_path / "people.glb")
    mesh_export.export_scene(path, people())
    tree = glb_tree(path)
    assert tree["asset"]["extras"]["units"] == "metres" and "y up" in tree["asset"]["extras"]["axes"]
    assert len(tree["scenes"]) == 1 and len(tree["meshes"]) == 2
    for mesh in tree["meshes"]:
        assert {"POSITION", "NORMAL"} <= set(mesh["primitives"][0]["attributes"])


def test_faces_stay_counter_clockwise_from_outside(tmp_path):
    path = str(tmp_path / "ball.glb")
    mesh_export.write_glb(path, people()[:1])
    mesh = next(iter(trimesh.load(path, process=False).geometry.values()))
    assert mesh.volume > 0  # the change of axes is a rotation, not a mirror
    outward = mesh.vertices - mesh.vertices.mean(axis=0)
    assert (np.sum(mesh.vertex_normals * outward, axis=1) > 0).all()


@pytest.mark.parametrize("ending", ["obj", "ply"])
def test_obj_and_ply_reload_to_the_same_points(tmp_path, ending):
    path = str(tmp_path / f"people.{ending}")
    mesh_export.export_scene(path, people())
    loaded = trimesh.load(path, process=False, force="mesh")
    expected = np.concatenate([vertices for vertices, _ in people()]) * [1, -1, -1]
    np.testing.assert_allclose(np.sort(loaded.triangles.reshape(-1, 3), axis=0), np.sort(
        np.concatenate([(v * [1, -1, -1])[f].reshape(-1, 3) for v, f in people()]), axis=0), atol=1e-5)
    assert len(loaded.vertices) == len(expected)


def test_obj_names_its_objects_and_holds_normals(tmp_path):
    path = tmp_path / "people.obj"
    mesh_export.write_obj(str(path), people())
    text = path.read_text()
    assert "o person_0\n" in text and "o person_1\n" in text and "\nvn " in text and "y up" in text


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = str(tmp_path / "people.glb")
    mesh_export.write_glb(path, people())
    with open(path, "rb") as file:
        before = file.read()

    def refuse(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        mesh_export.write_glb(path, people()[:1])
    with open(path, "rb") as file:
        assert file.read() == before
    assert os.listdir(tmp_path) == ["people.glb"]


def test_errors_say_the_rule_and_what_came(tmp_path):
    path = str(tmp_path / "people.glb")
    (vertices, faces), _ = people()
    with pytest.raises(ValueError, match="must end in .glb, .obj or .ply. Received: 'x.stl'"):
        mesh_export.export_scene("x.stl", people())
    with pytest.raises(ValueError, match="at least one mesh"):
        mesh_export.write_glb(path, [])
    with pytest.raises(ValueError, match="2 distinct names. Received: .'a', 'a'"):
        mesh_export.write_glb(path, people(), ["a", "a"])
    with pytest.raises(ValueError, match=r"vertices \[V, 3\] and faces \[F, 3\]"):
        mesh_export.write_obj(path, [(vertices[:, :2], faces)])
    with pytest.raises(ValueError, match="must be finite.*person_0"):
        mesh_export.write_ply(path, [(vertices * np.nan, faces)])
    assert not os.path.exists(path)

"""Models in the layouts of SMPL-X, SMPL-H and SMPL, made here from the packaged body, imported and posed."""

import os
import subprocess
import sys
import tempfile

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.body import npz, rules, smpl_import, template
from hund_tf.body.generative_body import GenerativeBody

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
UPRIGHT = [[1.0, 0, 0, 0, 1, 0]]
SIDES = ("left", "right")
MODEL_FINGERS = [f"{side}_{finger}{i}" for side in SIDES for finger in ("index", "middle", "pinky", "ring", "thumb")
                 for i in (1, 2, 3)]
NAMES = {"smplx": [*rules.BODY_JOINTS, "jaw", "left_eye", "right_eye", *MODEL_FINGERS],
         "smplh": [*rules.BODY_JOINTS, *MODEL_FINGERS], "smpl": [*rules.BODY_JOINTS, "left_hand", "right_hand"]}
DIRECTIONS = {"smplx": (16, 20), "smplh": (16, 0), "smpl": (10, 0)}
with np.load(template.find_body(), allow_pickle=False) as _packaged:
    V, F = len(_packaged["low_vertices"]), len(_packaged["low_faces"])  # of the models' mesh
FACE_POINTS = slice(25 + 17, 25 + 68)  # the 51 points of SMPL-X files among the 137 keypoints


@pytest.fixture(scope="module")
def body():
    return GenerativeBody.from_asset(codes="linear")  # as those of the imported models are


@pytest.fixture(scope="module")
def t_poses(body):
    """The packaged body's coarse mesh in the T-pose: the mean, then one unit of each shape and expression code."""
    codes = np.concatenate([np.zeros((1, 36)), np.eye(36)])
    return pose(body, np.tile(np.eye(3), (37, 63, 1, 1)), codes[:, :16], codes[:, 16:], "low")


@pytest.fixture(scope="module")
def models(body, t_poses):
    return {kind: make_model(kind, body, t_poses) for kind in NAMES}


@pytest.fixture(scope="module")
def imported(models, tmp_path_factory):
    """Each model imported from its file, and the body that loads it."""
    folder, bodies = tmp_path_factory.mktemp("bodies"), {}
    for kind, arrays in models.items():
        np.savez(folder / f"{kind}_model.npz", **arrays)
        smpl_import.import_body(str(folder / f"{kind}_model.npz"), str(folder / f"{kind}.npz"),
                                shape_count=DIRECTIONS[kind][0])
        bodies[kind] = GenerativeBody.from_asset(folder / f"{kind}.npz")
    return bodies


def pose(body, local, shape, expression, mesh="full"):
    count = len(local)
    return body.pose_from_rotations(*(tf.constant(np.asarray(x), tf.float32) for x in (
        local, shape, expression, np.tile(UPRIGHT, (count, 1)), np.zeros((count, 3)))), mesh=mesh)


def make_model(kind, body, t_poses, mesh="low"):
    """Arrays of a model file whose rest pose is the packaged body's T-pose."""
    names, (shapes, expressions) = NAMES[kind], DIRECTIONS[kind]
    ours = list(body.joint_names)
    vertices, joints = t_poses.vertices.numpy().astype(float), t_poses.joints.numpy().astype(float)
    kept = np.r_[0, 1:1 + shapes, 17:17 + expressions]
    vertices, joints = vertices[kept], joints[kept]
    own = [ours.index(name.replace("_hand", "_middle1")) for name in names]
    parents = [-1] + [names.index(_above(name, names)) for name in names[1:]]
    skin = body._template.meshes[mesh].skin_weights
    weights = np.zeros((vertices.shape[1], len(names)))
    for column, name in enumerate(ours + [ours[j] for j in body._template.twist_joints[:, 0]]):
        weights[:, names.index(_joint_of(name, names))] += skin[:, column]
    columns = [np.ones(vertices.shape[1]), *vertices[0].T]  # a regressor gives each joint for every code
    for offsets in vertices[1:] - vertices[0]:
        columns += list(offsets.T)
    moved = joints[1:, own] - joints[0, own]
    wanted = np.concatenate([np.ones((1, len(own))), joints[0, own].T, *moved.transpose(0, 2, 1)])
    regressor = np.linalg.lstsq(np.array(columns), wanted, rcond=1e-9)[0].T
    kintree = np.stack([np.array(parents) % 2 ** 32, np.arange(len(names))]).astype(np.uint32)
    lift = np.array([0.1, 1.0, 0.05])  # official models do not have the pelvis at the origin, for no shape
    drift = np.zeros((shapes + expressions, 1, 3))
    drift[:shapes] = np.random.default_rng(0).normal(0, 0.02, (shapes, 1, 3))
    return {"v_template": vertices[0] + lift, "f": body.faces(mesh).astype(np.uint32),
            "shapedirs": (vertices[1:] - vertices[0] + drift).transpose(1, 2, 0), "J_regressor": regressor,
            "weights": weights, "kintree_table": kintree, "posedirs": np.zeros((vertices.shape[1], 3, 9 * (len(names) - 1)), np.float32)}


def _above(name, names):
    side, _, part = name.partition("_")
    if name in ("jaw", "left_eye", "right_eye"):
        return "head"
    if name in rules.BODY_JOINTS:
        return rules.BODY_JOINTS[rules.BODY_PARENTS[rules.BODY_JOINTS.index(name)]]
    return f"{side}_wrist" if part == "hand" or part[-1] == "1" else f"{name[:-1]}{int(name[-1]) - 1}"


def _joint_of(name, names):
    """The joint of a model that moves the skin of one of ours."""
    if name in names:
        return name
    if "metacarpal" in name:
        return f"{name.split('_')[0]}_wrist"
    return "head" if name == "jaw" or name.endswith("eye") else f"{name.split('_')[0]}_hand"


def linear_blend_skinning(model, local, shape, expression=()):
    """Vertices `[V, 3]` of a model file, pelvis at the origin, by the models' own formula in float64."""
    codes = np.concatenate([shape, expression])
    vertices = model["v_template"] + model["shapedirs"][:, :, :len(codes)] @ codes
    joints = model["J_regressor"] @ (model["v_template"] + model["shapedirs"][:, :, :len(shape)] @ shape)
    parents = model["kintree_table"][0].astype(np.int64)
    turns, places = [local[0]], [np.zeros(3)]
    for j in range(1, len(parents)):
        parent = parents[j]
        turns.append(turns[parent] @ local[j])
        places.append(places[parent] + turns[parent] @ (joints[j] - joints[parent]))
    moved = np.einsum("jac,vjc->vja", np.array(turns), vertices[:, None] - joints) + np.array(places)
    return np.einsum("vj,vja->va", model["weights"], moved)


def random_turns(names, seed, angle=0.4):
    """Local rotations by name, `[J, 3, 3]`; face and metacarpals stay at rest."""
    turns, rng = {}, np.random.default_rng(seed)
    for name in (*rules.BODY_JOINTS, *rules.FINGER_JOINTS):
        axis = rng.normal(0, angle / 3 if name.startswith("spine") else angle, 3)
        size = np.linalg.norm(axis)
        x, y, z = axis / size
        skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        turns[name] = np.eye(3) + np.sin(size) * skew + (1 - np.cos(size)) * skew @ skew
    return np.stack([turns.get(name, np.eye(3)) for name in names])


@pytest.mark.parametrize("kind", NAMES)
def test_posed_import_equals_the_models_own_skinning(imported, models, kind):
    body, rng = imported[kind], np.random.default_rng(1)
    local = random_turns(body.joint_names, 0)
    shape, expression = rng.normal(size=16), rng.normal(size=20)
    shapes, expressions = DIRECTIONS[kind]
    posed = pose(body, local[None], [shape], [expression])
    theirs = [list(body.joint_names).index(name) for name in NAMES[kind]]
    wanted = linear_blend_skinning(models[kind], local[theirs], shape[:shapes], expression[:expressions])
    np.testing.assert_allclose(posed.vertices[0], wanted, atol=1e-5)


def test_smplx_import_moves_as_the_packaged_body_does(body, imported):
    local = random_turns(body.joint_names, 2)
    codes = np.random.default_rng(3).normal(size=(1, 16)), np.zeros((1, 20))
    ours = pose(body, local[None], *codes, mesh="low")
    theirs = pose(imported["smplx"], random_turns(imported["smplx"].joint_names, 2)[None], *codes)
    for j, name in enumerate(imported["smplx"].joint_names):
        np.testing.assert_allclose(theirs.joints[0, j], ours.joints[0, body.joint_names.index(name)], atol=1e-5)
    apart = np.linalg.norm(theirs.vertices[0] - ours.vertices[0], axis=-1)
    assert apart.mean() < 0.004 and np.quantile(apart, 0.99) < 0.03  # no twist bones; blended twice


@pytest.mark.parametrize("kind, mean_mm, worst_mm", [("smplx", 2.5, 20), ("smplh", 2.5, 20), ("smpl", 4, 21)])
def test_keypoints_lie_near_those_of_the_packaged_body(body, t_poses, imported, kind, mean_mm, worst_mm):
    count = len(imported[kind].joint_names)
    still = np.tile(np.eye(3), (1, count, 1, 1))
    points = pose(imported[kind], still, np.zeros((1, 16)), np.zeros((1, 20)), None).keypoints[0]
    apart = np.linalg.norm(points - t_poses.keypoints[0], axis=-1) * 1000
    assert apart.mean() < mean_mm and apart.max() < worst_mm, body.keypoint_names[apart.argmax()]


def test_named_joints_stay_keypoints_of_all_bodies(imported):
    for body in imported.values():
        local = random_turns(body.joint_names, 4)
        posed = pose(body, local[None], np.zeros((1, 16)), np.zeros((1, 20)), None)
        at = dict(zip(body.joint_names, posed.joints[0].numpy()))
        points = dict(zip(body.keypoint_names, posed.keypoints[0].numpy()))
        for name in ("left_shoulder", "right_knee", "left_ankle", "right_wrist"):
            np.testing.assert_allclose(points[name], at[name], atol=1e-6)
        np.testing.assert_allclose(points["mid_hip"], (at["left_hip"] + at["right_hip"]) / 2, atol=1e-6)


def test_layout_of_the_imported_bodies(imported):
    for kind, joints in (("smplx", 55), ("smplh", 52), ("smpl", 54)):
        body = imported[kind]
        assert len(body.joint_names) == joints and body.joint_names[:22] == rules.BODY_JOINTS
        for mesh in template.MESHES:
            assert set(body.part_labels(mesh)) == set(range(1, 15))
        assert len(body._template.twist_joints) == 0


def test_fingers_that_smpl_lacks_are_at_the_hand_and_move_nothing(imported):
    body = imported["smpl"]
    still = np.tile(np.eye(3), (1, 54, 1, 1))
    moved = still.copy()
    moved[0, [body.joint_names.index(name) for name in rules.FINGER_JOINTS]] = random_turns(["left_knee"], 0)
    codes = np.random.default_rng(5).normal(size=(1, 16)), np.zeros((1, 20))
    before, after = (pose(body, local, *codes) for local in (still, moved))
    np.testing.assert_array_equal(before.vertices, after.vertices)
    np.testing.assert_allclose(before.joints[0, body.joint_names.index("left_pinky3")],
                               before.joints[0, body.joint_names.index("left_hand")], atol=1e-6)


def test_codes_that_the_model_lacks_do_nothing(imported):
    template_of_smpl = imported["smpl"]._template
    assert np.all(template_of_smpl.meshes["full"].shape[10:] == 0) and np.all(template_of_smpl.joints_shape[10:] == 0)
    assert np.any(template_of_smpl.meshes["low"].shape[9] != 0)
    assert np.all(template_of_smpl.meshes["full"].expression == 0)


@pytest.mark.slow
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("kind", ["smplx", "smpl"])
def test_imported_bodies_take_the_networks_codes_in_a_graph(imported, kind, compiled):
    body, rng = imported[kind], np.random.default_rng(6)
    sizes = {"theta": 306, "shape": 16, "expression": 20, "rotation": 6, "translation": 3}
    specs = {name: tf.TensorSpec([None, size]) for name, size in sizes.items()}
    posed = tf.function(lambda state: body(state, mesh="low")[:3], input_signature=[specs], jit_compile=compiled)
    state = {name: tf.constant(rng.normal(size=(2, size)), tf.float32) for name, size in sizes.items()}
    for array, same in zip(posed(state), body(state, mesh="low")):
        np.testing.assert_allclose(array, same, atol=2e-5)
    local = body.rotations_from_theta(state["theta"])
    np.testing.assert_allclose(body.rotations_from_theta(body.theta_from_rotations(local)), local, atol=1e-5)


@pytest.mark.slow
def test_landmarks_of_smplx_files_are_the_face_points(models, tmp_path):
    rng = np.random.default_rng(7)
    faces, weights = rng.integers(0, F, 51), rng.dirichlet([1, 1, 1], 51)
    body = imported_from(tmp_path, {**models["smplx"], "lmk_faces_idx": faces, "lmk_bary_coords": weights})
    at_rest = pose(body, np.tile(np.eye(3), (1, 55, 1, 1)), np.zeros((1, 16)), np.zeros((1, 20)))
    corners = at_rest.vertices[0].numpy()[models["smplx"]["f"][faces].astype(int)]
    np.testing.assert_allclose(at_rest.keypoints[0, FACE_POINTS], (corners * weights[..., None]).sum(1), atol=1e-6)


def test_usual_numbers_of_directions_are_shared_out(models):
    model = models["smplx"]
    for count, shapes in ((400, 300), (20, 10)):
        directions = np.arange(count) * np.ones((V, 3, 1))
        read = read_arrays_of({**model, "shapedirs": directions})
        assert len(read["shape"]) == shapes and len(read["expression"]) == count - shapes
        assert read["expression"][0, 0, 0] == shapes
    for kind, count in (("smplh", 10), ("smpl", 300)):
        read = read_arrays_of({**models[kind], "shapedirs": np.ones((V, 3, count))})
        assert len(read["shape"]) == count and len(read["expression"]) == 0


def read_arrays_of(arrays, **options):
    """`read_model` of these arrays as a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.npz")
        np.savez(path, **arrays)
        return smpl_import.read_model(path, **options)


def imported_from(folder, arrays, shape_count=16):
    np.savez(folder / "model.npz", **arrays)
    smpl_import.import_body(str(folder / "model.npz"), str(folder / "body.npz"), shape_count)
    return GenerativeBody.from_asset(folder / "body.npz")


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_objects_in_other_arrays_are_never_unpickled(models, tmp_path):
    trace = tmp_path / "trace"
    payload = np.array([Payload(str(trace))], object)
    body = imported_from(tmp_path, {**models["smplx"], "joint2num": payload, "posedirs": payload})
    assert len(body.joint_names) == 55 and not trace.exists()
    with np.load(tmp_path / "model.npz", allow_pickle=True) as data:
        data["joint2num"][0].close()
    assert trace.exists()  # the payload would have worked


def test_objects_in_needed_arrays_are_refused(models, tmp_path):
    trace = tmp_path / "trace"
    payload = np.array([Payload(str(trace))], object)
    with pytest.raises(ValueError, match="J_regressor must be a plain array.*Python objects"):
        read_arrays_of({**models["smpl"], "J_regressor": payload})
    assert not trace.exists()


@pytest.mark.parametrize("kind, key, change, message", [
    ("smplx", "v_template", lambda x: x[:, :2], rf"v_template must be \[{V}, 3\]"),
    ("smplx", "v_template", lambda x: x[:-1], rf"weights must be \[{V - 1}, 55\]"),
    ("smplx", "v_template", lambda x: spoiled(x), "v_template must be finite"),
    ("smplx", "f", lambda x: x + 1, f"f must hold vertex numbers below {V}"),
    ("smplx", "f", lambda x: x.astype(float), "f must hold whole numbers"),
    ("smplx", "f", lambda x: x[:, :2], rf"f must be \[{F}, 3\]"),
    ("smplx", "f", lambda x: x[:, [0, 2, 1]], "full_faces must run counter-clockwise"),
    ("smplx", "shapedirs", lambda x: x[..., 0], "shapedirs must have 3 dimension"),
    ("smplx", "shapedirs", lambda x: x[..., :0], "shapedirs must not be empty"),
    ("smplx", "shapedirs", lambda x: x[..., :17], "300 shape and 100 expression directions.*Received: 17"),
    ("smplx", "shapedirs", lambda x: spoiled(x), "shapedirs must be finite"),
    ("smplh", "shapedirs", lambda x: x[:100], rf"shapedirs must be \[{V}, 3, 16\]"),
    ("smplh", "J_regressor", lambda x: x.T, rf"J_regressor must be \[52, {V}\]"),
    ("smplh", "J_regressor", lambda x: x * 2, "rows of J_regressor must sum to 1"),
    ("smplh", "weights", lambda x: x[:, :40],
     r"must be 55 \(SMPL-X\), 52 \(SMPL-H\) or 24 \(SMPL\) joints. Received: 40"),
    ("smpl", "weights", lambda x: x / 2, "rows of weights must sum to 1"),
    ("smpl", "weights", lambda x: x * 3 - 2 / 24, "weights must not be negative"),
    ("smpl", "weights", lambda x: x > 0, "weights must hold real numbers"),
    ("smpl", "kintree_table", lambda x: x[0], "kintree_table must have 2 dimension"),
    ("smpl", "kintree_table", lambda x: x[:, ::-1], "must be the parents of SMPL's joints"),
    ("smplx", "kintree_table", lambda x: x[:1], r"kintree_table must be \[2, 55\]"),
    ("smplx", "kintree_table", lambda x: x[[0, 0]], "second row of kintree_table must count the joints"),
    ("smplx", "lmk_faces_idx", lambda x: np.arange(51), "must come together"),
    ("smpl", "v_template", lambda x: x * 100, "lengths must be metres"),
    ("smpl", "v_template", lambda x: x[:, [0, 2, 1]] * [1, 1, -1], "y must point up"),
])
def test_each_broken_rule_is_named(models, kind, key, change, message):
    arrays = {**models[kind], key: change(models[kind].get(key))}
    with pytest.raises(ValueError, match=message):
        share = None if "300" in message else min(DIRECTIONS[kind][0], arrays["shapedirs"].shape[-1])
        smpl_import.body_arrays(read_arrays_of(arrays, shape_count=share))


@pytest.mark.parametrize("faces, weights, message", [
    (np.arange(68), np.ones((68, 3)) / 3, r"lmk_faces_idx must be \[51\]"),
    (np.arange(51) + F - 1, np.ones((51, 3)) / 3, f"lmk_faces_idx must lie below {F}"),
    (np.arange(51), np.ones((51, 3)), "rows of lmk_bary_coords must sum to 1"),
])
def test_broken_landmarks_are_refused(models, faces, weights, message):
    with pytest.raises(ValueError, match=message):
        read_arrays_of({**models["smplx"], "lmk_faces_idx": faces, "lmk_bary_coords": weights}, shape_count=16)


@pytest.mark.parametrize("count", [0, 37])
def test_impossible_number_of_shape_directions_is_refused(models, count):
    with pytest.raises(ValueError, match=r"the number of shape directions must lie in 1\.\.36"):
        read_arrays_of(models["smplx"], shape_count=count)


def spoiled(array):
    array = array.copy()
    array.flat[5] = np.nan
    return array


def test_missing_arrays_are_listed(models):
    with pytest.raises(ValueError, match=r"Missing: \['J_regressor', 'kintree_table'\]"):
        read_arrays_of({key: models["smpl"][key] for key in ("v_template", "f", "shapedirs", "weights")})


@pytest.mark.parametrize("name, content", [("model.pkl", b"(dp0"), ("model.npz", b"\x80\x04.")])
def test_pickles_are_refused_with_a_way_out(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="a pickle can run any code.*np.savez.*J_regressor"):
        smpl_import.read_model(str(tmp_path / name))


def test_output_must_be_an_npz(tmp_path):
    with pytest.raises(ValueError, match="must be written to an .npz file"):
        smpl_import.import_body("model.npz", str(tmp_path / "body.obj"))


@pytest.mark.slow
def test_larger_meshes_need_the_package_that_makes_them_coarse(models, monkeypatch):
    monkeypatch.setitem(sys.modules, "fast_simplification", None)
    model = read_arrays_of(models["smpl"])
    with pytest.raises(ImportError, match=f"pip install fast-simplification.*{V} vertices"):
        smpl_import.body_arrays(model, low_vertices=500)


def test_low_mesh_is_coarse_and_keeps_every_part(models):
    pytest.importorskip("fast_simplification")
    arrays = smpl_import.body_arrays(read_arrays_of(models["smplx"], shape_count=16), low_vertices=500)
    assert 450 < len(arrays["low_vertices"]) < 550 and set(arrays["low_part_labels"]) == set(range(1, 15))
    height, low_height = (np.ptp(arrays[f"{mesh}_vertices"][:, 1]) for mesh in template.MESHES)
    assert abs(height - low_height) < 0.01


def test_pose_priors_are_those_of_the_packaged_body(imported, body):
    for part, prior in body._template.pose_priors.items():
        for array, same in zip(prior, imported["smplh"]._template.pose_priors[part]):
            np.testing.assert_array_equal(array, same)


def test_command_says_what_it_did_and_what_is_wrong(models, tmp_path):
    np.savez(tmp_path / "model.npz", **models["smpl"])
    command = [sys.executable, os.path.join(ROOT, "tools", "import_body.py")]
    environment = {**os.environ, "PYTHONPATH": ROOT}
    process = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
    done = subprocess.run([*command, "model.npz", "-o", "body.npz"], **process)
    assert done.returncode == 0 and f"body.npz: SMPL, {V} vertices" in done.stdout, done.stderr
    assert "joint_names" in npz.read_arrays(str(tmp_path / "body.npz"))
    (tmp_path / "model.npz").write_bytes(b"\x80")
    done = subprocess.run([*command, "model.npz"], **process)
    assert done.returncode == 2 and "a pickle can run any code" in done.stderr and "Traceback" not in done.stderr

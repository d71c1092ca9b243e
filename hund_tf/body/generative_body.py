"""The generative body: pose, shape and expression codes and a placement in, mesh, joints and keypoints out."""

from typing import NamedTuple, Optional

import keras
import numpy as np
import tensorflow as tf

from hund_tf.body import learned_priors
from hund_tf.body import template as templates
from hund_tf.body.code_vae import CodeVAE, LinearCodes
from hund_tf.body.pose_flow import AffinePoseFlow, PoseFlow, forward_hands
from hund_tf.geometry import kinematics, rotations, skinning

_FIELDS = ("theta", "shape", "expression", "rotation", "translation")
_FIRST_BODY, _LAST_BODY = 1, 22  # joints that theta_b poses


class BodyOutput(NamedTuple):
    """A posed body in the camera frame, metres.

    Attributes:
        vertices: `[B, V, 3]`, or None where no mesh was asked for.
        joints: `[B, 63, 3]`.
        keypoints: `[B, 137, 3]`, OpenPose order.
        joint_rotations: `[B, 63, 3, 3]`, local, identity in the T-pose.
    """

    vertices: Optional[tf.Tensor]
    joints: tf.Tensor
    keypoints: tf.Tensor
    joint_rotations: tf.Tensor


@keras.saving.register_keras_serializable("hund_tf")
class GenerativeBody(keras.layers.Layer):
    """Poses a body: `M(theta, beta, r, t)` of the paper.

    Joint j turns globally by `G_j = G_parent R_j`; a constant rotation `T_j` carries the template into the T-pose,
    so skin follows `G_j T_j`, and `p_j = p_parent + G_parent T_parent (h_j - h_parent)`.

    Args:
        asset: str, a packaged body's name or the path of an `.npz` file of the schema in `template.py`.
        pose_prior: "flow", a normalizing flow, or "gaussian", an affine map: how `theta` becomes rotations. None: the
            flow if the file has one.
        codes: "vae" or "linear" (PCA): how `shape` and `expression` become a mesh. None: the VAEs if the file has them.

    Call arguments:
        state: named tuple or dict of `theta` `[B, 306]`, `shape` `[B, 16]`, `expression` `[B, 20]`,
            `rotation` `[B, 6]` (camera from body) and `translation` `[B, 3]` (the pelvis, camera frame, metres).
        mesh: "full", "low" or None (joints and keypoints alone, several times faster).

    Returns:
        `BodyOutput`.

    Raises:
        ValueError: if a part of the state has another size, `mesh` is none of these, or the file has no such prior.
        FileNotFoundError: if there is no such asset.

    Source: paper, Sec. 2.1.
    """

    def __init__(self, asset=templates.DEFAULT_BODY, pose_prior=None, codes=None, **kwargs):
        super().__init__(autocast=False, **kwargs)  # metres keep their precision under any policy
        self.asset = str(asset)
        body = self._template = templates.load_template(templates.find_body(asset))
        self.pose_prior = _chosen("pose_prior", pose_prior, ("flow", "gaussian"), body.pose_flows, asset)
        self.codes = _chosen("codes", codes, ("vae", "linear"), body.vaes, asset)
        self.joint_names, self.keypoint_names = body.joint_names, body.keypoint_names
        self.parents = body.parents
        self.pose_flow_body, self.pose_flow_left_hand, self.pose_flow_right_hand = (
            self._pose_flow(part) for part in templates.POSE_PARTS)
        self.shape_codes, self.expression_codes = (self._mesh_codes(name) for name in learned_priors.VAES)
        self._steps = kinematics.ancestor_steps(body.parents)
        self._hands = [_finger_joints(body.joint_names, side) for side in ("left", "right")]
        self._order = np.argsort(np.concatenate(
            [np.arange(_FIRST_BODY, _LAST_BODY), *self._hands, self._still_joints()])).astype(np.int32)
        self._sizes = {"theta": sum(flow.dim for flow in self._flows()), "shape": self.shape_codes.num_codes,
                       "expression": self.expression_codes.num_codes, "rotation": 6, "translation": 3}
        with tf.init_scope():
            self._make_constants(body)

    @classmethod
    def from_asset(cls, name_or_path=None, **kwargs):
        """The packaged body, or another by name or path."""
        return cls(templates.DEFAULT_BODY if name_or_path is None else str(name_or_path), **kwargs)

    def call(self, state, mesh="full"):
        state = self._checked(state)
        return self.pose_from_rotations(self.rotations_from_theta(state["theta"]), state["shape"], state["expression"],
                                        state["rotation"], state["translation"], mesh)

    def pose_from_rotations(self, local_rotations, shape, expression, rotation, translation, mesh="full"):
        """As `call`, from local rotations `[B, 63, 3, 3]` instead of codes; that of the pelvis counts too."""
        local_rotations = self._checked_rotations(local_rotations)
        rest = (shape, expression, rotation, translation)
        shape, expression, rotation, translation = (self._checked_part(*part) for part in zip(_FIELDS[1:], rest))
        if mesh not in (None, *templates.MESHES):
            raise ValueError(f"mesh must be one of {templates.MESHES} or None. Received: {mesh!r}.")
        shape, expression = self.shape_codes.decode(shape), self.expression_codes.decode(expression)
        joint_count = len(self.parents)
        heads = tf.reshape(tf.matmul(shape, self._joint_basis), [-1, joint_count, 3]) + self._joint_template
        heads = tf.reshape(tf.transpose(tf.reshape(heads, [-1, 3])), [3, -1, joint_count])  # planes [3, B, J] from here on
        parents = np.maximum(self.parents, 0)
        offsets = rotations.rotate(kinematics.take_joints(self._rest_planes, parents),
                                   heads - kinematics.take_joints(heads, parents))
        offsets = tf.concat([tf.expand_dims(tf.transpose(translation), 2), offsets[..., 1:]], axis=2)
        local = rotations.planes_from_matrix(local_rotations)
        root = rotations.planes_from_matrix(tf.expand_dims(rotations.matrix_from_6d(rotation), 1))
        local = tf.concat([rotations.compose(root, local[..., :1]), local[..., 1:]], axis=-1)
        turns, places = kinematics.forward_kinematics(local, offsets, self._steps)
        joints = rotations.points_from_planes(places)
        transforms = self._skin_transforms(turns, places, heads)
        components = tf.concat([shape, expression], axis=-1)
        keypoints = tf.matmul(self._skins["keypoints"].planes(components, transforms), self._keypoint_vertex_weights)
        keypoints = tf.transpose(keypoints, [0, 2, 1]) + tf.matmul(self._keypoint_joints, joints)
        vertices = None if mesh is None else self._skins[mesh].points(components, transforms)
        return BodyOutput(vertices, joints, keypoints, local_rotations)

    def rotations_from_theta(self, theta):
        """Pose codes `[B, 306]` -> local rotations `[B, 63, 3, 3]`; metacarpals, jaw and eyes stay at rest."""
        theta = self._checked_part("theta", theta)
        codes = tf.split(theta, [flow.dim for flow in self._flows()], axis=-1)
        hands = forward_hands(self.pose_flow_left_hand, self.pose_flow_right_hand, *codes[1:])
        parts = [self.pose_flow_body.forward(codes[0]), *hands]
        moved = tf.reshape(tf.concat(parts, axis=-1), [-1, sum(flow.dim for flow in self._flows()) // 6, 6])
        moved = rotations.matrix_from_6d(moved)
        still = tf.tile(tf.eye(3)[None, None], [tf.shape(theta)[0], len(self._still_joints()), 1, 1])
        return tf.gather(tf.concat([moved, still], axis=1), self._order, axis=1)

    def theta_from_rotations(self, local_rotations):
        """Local rotations `[B, 63, 3, 3]` -> pose codes `[B, 306]` that give them back.

        Many codes give one pose, since 6D numbers are made orthonormal: codes that were drawn do not come back from
        their rotations, the pose does.
        """
        local_rotations = self._checked_rotations(local_rotations)
        joints = [np.arange(_FIRST_BODY, _LAST_BODY), *self._hands]
        codes = []
        for flow, moved in zip(self._flows(), joints):
            six = rotations.matrix_to_6d(tf.gather(local_rotations, moved.astype(np.int32), axis=1))
            codes.append(flow.inverse(tf.reshape(six, [-1, flow.dim])))
        return tf.concat(codes, axis=-1)

    def faces(self, mesh="full"):
        """int32 `[F, 3]`, counter-clockwise seen from outside."""
        return self._mesh(mesh).faces

    def finger_joints(self, side):
        """Indices `[15]` of the joints that theta_lh ("left") or theta_rh ("right") pose, in its order."""
        return self._hands[("left", "right").index(side)]

    def part_labels(self, mesh="full"):
        """int32 `[V]` in 1..14: torso, right hand, left hand, left foot, right foot, right and left upper leg, right and
        left lower leg, left and right upper arm, left and right lower arm, head."""
        return self._mesh(mesh).part_labels

    @property
    def coding(self):
        """What states of this body mean, in words: asset, pose prior and codes. Data made for another does not fit."""
        return f"{self.asset}, {self.pose_prior}, {self.codes}"

    def get_config(self):
        return {**super().get_config(), "asset": self.asset, "pose_prior": self.pose_prior, "codes": self.codes}

    def _pose_flow(self, part):
        affine = AffinePoseFlow(*self._template.pose_priors[part])
        return affine if self.pose_prior == "gaussian" else PoseFlow(affine, *self._template.pose_flows[part])

    def _mesh_codes(self, name):
        """What turns codes into components; linear codes are as many as the VAE's, or as there are components."""
        if self.codes == "vae":
            return CodeVAE(*self._template.vaes[name])
        if name in self._template.vaes:
            return LinearCodes(CodeVAE(*self._template.vaes[name]).num_codes)
        return LinearCodes(len(getattr(self._template.meshes["full"], name)))

    def _flows(self):
        return self.pose_flow_body, self.pose_flow_left_hand, self.pose_flow_right_hand

    def _still_joints(self):
        moved = np.concatenate([np.arange(_FIRST_BODY, _LAST_BODY), *self._hands])
        return np.setdiff1d(np.arange(len(self.parents)), moved)

    def _mesh(self, mesh):
        if mesh not in templates.MESHES:
            raise ValueError(f"mesh must be one of {templates.MESHES}. Received: {mesh!r}.")
        return self._template.meshes[mesh]

    def _checked(self, state):
        fields = state if isinstance(state, dict) else getattr(state, "_asdict", dict)()
        if set(fields) != set(_FIELDS):
            raise ValueError(f"A state must be a named tuple or dict of {_FIELDS}. Received: {sorted(fields) or type(state)}.")
        return {name: self._checked_part(name, fields[name]) for name in _FIELDS}

    def _checked_part(self, name, value):
        value = _as_float(value)
        if value.shape.rank != 2 or value.shape[-1] not in (None, self._sizes[name]):
            raise ValueError(f"{name} must be [B, {self._sizes[name]}]. Received: {tuple(value.shape)}.")
        return value

    def _checked_rotations(self, value):
        value, expected = _as_float(value), (len(self.parents), 3, 3)
        if value.shape.rank != 4 or tuple(value.shape[1:]) != expected:
            raise ValueError(f"local_rotations must be [B, {', '.join(map(str, expected))}]. Received: {tuple(value.shape)}.")
        return value

    def _make_constants(self, body):
        joints = len(body.parents)
        self._rest_planes = tf.constant(body.rest_rotations.transpose(1, 2, 0)[:, :, None])
        self._joint_template = tf.constant(body.joints_template)
        sizes = self.shape_codes.num_components, self.expression_codes.num_components
        self._joint_basis = tf.constant(body.joints_shape[:sizes[0]].reshape(-1, 3 * joints))
        self._twist_axes, self._twist_signs = tf.constant(body.twist_axes.T[:, None]), tf.constant(body.twist_signs)
        self._keypoint_joints = tf.constant(body.keypoint_joints)
        full = body.meshes["full"]
        corners, weights = body.keypoint_vertices, body.keypoint_vertex_weights
        used = np.unique(np.append(corners[weights != 0], 0))  # never none, also where joints make up all keypoints
        dense = np.zeros((len(used), len(corners)), np.float32)
        row, column = np.nonzero(weights)
        np.add.at(dense, (np.searchsorted(used, corners[row, column]), row), weights[row, column])
        self._keypoint_vertex_weights = tf.constant(dense)
        self._skins = {name: _skinned(mesh, *sizes) for name, mesh in body.meshes.items()}
        self._skins["keypoints"] = _skinned(full._replace(
            vertices=full.vertices[used], shape=full.shape[:, used], expression=full.expression[:, used],
            skin_weights=full.skin_weights[used]), *sizes)

    def _skin_transforms(self, turns, places, heads):
        """Transforms `[B, 12, J + K]` of joints and twist bones from planes."""
        turns = rotations.compose(turns, self._rest_planes)
        base, start, end = self._template.twist_joints.T
        take = kinematics.take_joints
        relative = rotations.compose(tf.transpose(take(turns, start), [1, 0, 2, 3]), take(turns, end))
        twisted = rotations.half_twist(relative, self._twist_axes, self._twist_signs)
        twisted = rotations.compose(take(turns, base), twisted)
        return skinning.bone_transforms(
            tf.concat([turns, twisted], axis=-1), *(tf.concat([x, take(x, base)], axis=-1) for x in (places, heads)))


def _as_float(value):
    return tf.cast(value if tf.is_tensor(value) or hasattr(value, "dtype") else np.asarray(value, np.float32), tf.float32)


def _finger_joints(names, side):
    fingers = ("index", "middle", "ring", "pinky", "thumb")
    return np.array([names.index(f"{side}_{finger}{i}") for finger in fingers for i in (1, 2, 3)])


def _chosen(name, value, choices, learned, asset):
    if value is None:
        return choices[0] if learned else choices[1]
    if value not in choices or (value == choices[0] and not learned):
        raise ValueError(f"{name} must be one of {choices if learned else choices[1:]} for body {asset}. Received: {value!r}.")
    return value


def _skinned(mesh, shape, expression):
    """The mesh with its first shape and expression components."""
    basis = np.concatenate([mesh.shape[:shape], mesh.expression[:expression]])
    return skinning.SkinnedPoints(mesh.vertices, basis, mesh.skin_weights)

"""Settings as frozen dataclasses: the paper's value as default where it gives one, checked at birth."""

import dataclasses
import math
from typing import Optional, Tuple


@dataclasses.dataclass(frozen=True)
class ObjectiveConfig:
    """Weights of L_u (Eq. 3). The paper cross-validated its own and gives no figures."""

    keypoint_weight: float = 10.0  # lambda_k; L_k in crop widths
    part_weight: float = 1.0  # lambda_b; L_b summed over 16 channels
    pose_prior_weight: float = 1e-3  # on ||theta||^2
    shape_prior_weight: float = 1e-3  # on ||beta||^2
    part_map_size: int = 30  # side of the rendered parts, pixels; 0: no L_b

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if getattr(self, field.name) < 0:
                raise ValueError(f"`{field.name}` must not be negative. Received: {getattr(self, field.name)}.")
        if self.part_map_size not in (0, 15, 20, 30, 60):
            raise ValueError(f"`part_map_size` must be 0, 15, 20, 30 or 60. Received: {self.part_map_size}.")


@dataclasses.dataclass(frozen=True)
class BodyConfig:
    """The generative body and what its codes mean; see `GenerativeBody`."""

    asset: str = "makehuman"
    pose_prior: str = "flow"
    codes: str = "vae"


@dataclasses.dataclass(frozen=True)
class HundConfig:
    """One HUND network: body, context CNN, descent cell and objective."""

    num_stages: int = 5  # M (Sec. 3)
    units: int = 256  # LSTM width (Sec. 3)
    context_dim: int = 240
    body: BodyConfig = dataclasses.field(default_factory=BodyConfig)
    objective: ObjectiveConfig = dataclasses.field(default_factory=ObjectiveConfig)

    def __post_init__(self):
        _check_positive(self, "num_stages", "units", "context_dim")

    def to_dict(self):
        """Plain dict for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values):
        """Inverse of `to_dict`; an unknown key is a TypeError."""
        values = dict(values)
        body, objective = BodyConfig(**values.pop("body", {})), ObjectiveConfig(**values.pop("objective", {}))
        return cls(body=body, objective=objective, **values)


PARTS = ("hand", "face")


@dataclasses.dataclass(frozen=True)
class PartConfig:
    """One HUND network of a part of a person: both hands, or the face."""

    kind: str = "hand"
    num_stages: int = 5  # M (Sec. 3)
    units: int = 256  # LSTM width (Sec. 3)
    context_dim: int = 240
    keypoint_weight: float = 10.0  # lambda_k; L_k in crop widths
    prior_weight: float = 1e-3  # on the squared codes
    polish_steps: int = 20  # down L_u after the last stage, where the part is put into a body
    body: BodyConfig = dataclasses.field(default_factory=BodyConfig)

    def __post_init__(self):
        if self.kind not in PARTS:
            raise ValueError(f"`kind` must be one of {PARTS}. Received: {self.kind!r}.")
        if self.polish_steps < 0:
            raise ValueError(f"`polish_steps` must not be negative. Received: {self.polish_steps}.")
        _check_positive(self, "num_stages", "units", "context_dim")

    def to_dict(self):
        """Plain dict for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values):
        """Inverse of `to_dict`; an unknown key is a TypeError."""
        values = dict(values)
        return cls(body=BodyConfig(**values.pop("body", {})), **values)


REGIMES = ("ss", "ws", "fs", "fs+ss")
META_LOSSES = ("sum", "last", "min", "max", "oi")
_PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """What the body network learns from and how the losses are weighed (Sec. 2.2).

    Regimes: "ss" learns from the evidence alone (L_u, Eq. 3), "ws" from L_u with labelled in place of detected keypoints, "fs"
    from 3D labels (L_f), "fs+ss" from L_f where an example has 3D labels and from L_u where it has none.
    """

    regime: str = "fs"
    meta_loss: str = "sum"  # Eqs. 7 and 8
    first_weight: float = 0.0  # of the loss of s_0; the paper counts the stages from s_1 on
    stage_weights: Optional[Tuple[float, ...]] = None  # of the losses of s_1 ... s_M; 1 each; at 0 a stage is left out
    mesh_weight: float = 10.0  # lambda_m; root-aligned vertex error, metres, of the last stage alone: a mesh is dear
    joints_weight: float = 10.0  # lambda_3d; root-aligned joint error, metres
    translation_weight: float = 1.0  # error of the root over its depth
    keypoint_weight: float = 10.0  # true 2D keypoints in L_f, crop widths
    pose_prior_weight: float = 2e-4  # in L_f; L_u has its own (`ObjectiveConfig`)
    shape_prior_weight: float = 2e-3
    self_weight: float = 1.0  # of L_u beside L_f in "fs+ss"
    precision: str = "float32"  # of the layers; geometry and losses are always float32

    def __post_init__(self):
        for name, choices in (("regime", REGIMES), ("meta_loss", META_LOSSES), ("precision", _PRECISIONS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"`{name}` must be one of {choices}. Received: {getattr(self, name)!r}.")
        if self.stage_weights is not None:
            object.__setattr__(self, "stage_weights", tuple(float(weight) for weight in self.stage_weights))
        for name, value in dataclasses.asdict(self).items():
            values = value if isinstance(value, tuple) else (value,)
            if any(isinstance(v, (int, float)) and not 0 <= v < math.inf for v in values):
                raise ValueError(f"`{name}` must not be negative, and finite. Received: {value}.")
        if self.first_weight == 0 and self.stage_weights is not None and not any(self.stage_weights):
            raise ValueError("One stage must have a weight above 0. Received: `first_weight` 0.0, "
                             f"`stage_weights` {self.stage_weights}.")


def _check_positive(settings, *names):
    for name in names:
        if getattr(settings, name) < 1:
            raise ValueError(f"`{name}` must be positive. Received: {getattr(settings, name)}.")

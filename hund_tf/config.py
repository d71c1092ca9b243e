"""Settings as frozen dataclasses: the paper's value as default where it gives one, checked at birth."""

import dataclasses


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
        for name in ("num_stages", "units", "context_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be positive. Received: {getattr(self, name)}.")

    def to_dict(self):
        """Plain dict for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values):
        """Inverse of `to_dict`; an unknown key is a TypeError."""
        values = dict(values)
        body, objective = BodyConfig(**values.pop("body", {})), ObjectiveConfig(**values.pop("objective", {}))
        return cls(body=body, objective=objective, **values)


@dataclasses.dataclass(frozen=True)
class SupervisionConfig:
    """Weights of the training loss of one stage under full supervision, L_f (Sec. 2.2)."""

    mesh_weight: float = 10.0  # lambda_m; root-aligned vertex error, metres
    joints_weight: float = 10.0  # lambda_3d; root-aligned joint error, metres
    translation_weight: float = 1.0  # error of the pelvis over its depth
    keypoint_weight: float = 10.0  # clean 2D keypoints, crop widths
    pose_prior_weight: float = 2e-4
    shape_prior_weight: float = 2e-3
    meta_loss: str = "sum"

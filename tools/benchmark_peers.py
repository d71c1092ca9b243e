"""What the body is measured against, in PyTorch: `anny`, and plain dense linear blend skinning of our body's size.

Both need the `benchmark` extra; importing this file does not.
"""

import importlib.util

import numpy as np

ANNY, DENSE = "anny 0.6.2, its default body", "dense skinning in PyTorch, our body's size"
EXTRA = "pip install 'hund-tf[benchmark]'"


def missing_packages():
    """Names of the packages of the extra that are not installed."""
    return [name for name in ("torch", "anny") if importlib.util.find_spec(name) is None]


def anny_body(batch, threads):
    """Functions without arguments `(forward, gradient)` of anny's default body.

    Its default skinning is a compiled CPU kernel (NVIDIA Warp). The gradient is that of the sum of squares of the
    vertices, to all pose and phenotype parameters. The first use builds the body, minutes; anny keeps it in
    `$ANNY_CACHE_DIR`.
    """
    import anny
    import torch

    torch.set_num_threads(threads)
    model = anny.Anny().to(dtype=torch.float32)
    rng = np.random.default_rng(0)
    pose = np.tile(np.eye(4, dtype=np.float32), (batch, model.bone_count, 1, 1))
    pose[:, :, :3, :3] = _random_rotations(rng, batch * model.bone_count).reshape(batch, -1, 3, 3)
    phenotype = rng.uniform(0.3, 0.7, (batch, len(model.phenotype_labels))).astype(np.float32)
    return _forward_and_gradient(
        lambda pose, phenotype: model(pose_parameters=pose, phenotype_kwargs=phenotype)["vertices"],
        [torch.tensor(pose), torch.tensor(phenotype)])


def dense_body(template, batch, threads):
    """Functions without arguments `(forward, gradient)` of skinning as the SMPL-X family does it.

    Args:
        template: `BodyTemplate`, for the sizes and weights.
    """
    import torch

    torch.set_num_threads(threads)
    mesh = template.meshes["full"]
    basis = np.concatenate([mesh.shape, mesh.expression])
    base = template.twist_joints[:, 0]
    parents = [*template.parents, *base]  # twist bones are children of the joint they belong to
    heads = np.concatenate([template.joints_template, template.joints_template[base]])
    heads_basis = np.zeros((len(basis), len(parents), 3))
    heads_basis[:len(template.joints_shape), :len(template.parents)] = template.joints_shape
    heads_basis[:, len(template.parents):] = heads_basis[:, base]
    constants = [torch.tensor(np.asarray(x, np.float32)) for x in (
        mesh.vertices, basis, mesh.skin_weights, heads, heads_basis)]
    rng = np.random.default_rng(0)
    codes = [rng.normal(size=size) for size in ((batch, len(parents), 6), (batch, len(basis)), (batch, 3))]
    return _forward_and_gradient(
        lambda six, shape, translation: dense_skinning(six, shape, translation, parents, *constants),
        [torch.tensor(x.astype(np.float32)) for x in codes])


def dense_skinning(six, codes, translation, parents, template, basis, weights, heads, heads_basis):
    """6D rotations `[B, J, 6]`, codes `[B, C]` and translation `[B, 3]` -> vertices `[B, V, 3]`, torch tensors."""
    import torch

    batch, bones = six.shape[:2]
    shaped = template + torch.einsum("bc,cvk->bvk", codes, basis)
    heads = heads + torch.einsum("bc,cjk->bjk", codes, heads_basis)
    x = torch.nn.functional.normalize(six[..., :3], dim=-1)
    y = six[..., 3:] - (x * six[..., 3:]).sum(-1, keepdim=True) * x
    y = torch.nn.functional.normalize(y, dim=-1)
    turns = torch.stack([x, y, torch.linalg.cross(x, y)], dim=-1)
    above = torch.tensor(parents[1:])
    offsets = torch.cat([heads[:, :1], heads[:, 1:] - heads[:, above]], dim=1)
    last_row = torch.tensor([0.0, 0.0, 0.0, 1.0]).expand(batch, bones, 1, 4)
    local = torch.cat([torch.cat([turns, offsets[..., None]], dim=-1), last_row], dim=-2)  # [B, J, 4, 4]
    chain = [local[:, 0]]
    for bone in range(1, bones):
        chain.append(torch.matmul(chain[parents[bone]], local[:, bone]))
    chain = torch.stack(chain, dim=1)
    rest = torch.matmul(chain, torch.nn.functional.pad(heads, (0, 1))[..., None])  # what the template's heads become
    relative = chain - torch.nn.functional.pad(rest, (3, 0))
    blended = torch.matmul(weights, relative.reshape(batch, bones, 16)).reshape(batch, -1, 4, 4)
    points = torch.cat([shaped, torch.ones_like(shaped[..., :1])], dim=-1)
    return torch.matmul(blended, points[..., None])[..., :3, 0] + translation[:, None]


def _forward_and_gradient(posed, codes):
    import torch

    watched = [code.clone().requires_grad_() for code in codes]

    def forward():
        with torch.no_grad():
            return posed(*codes)

    def gradient():
        return torch.autograd.grad(posed(*watched).square().sum(), watched)

    return forward, gradient


def _random_rotations(rng, count):
    matrices = np.linalg.qr(rng.normal(size=(count, 3, 3)))[0]
    return (matrices * np.sign(np.linalg.det(matrices))[:, None, None]).astype(np.float32)

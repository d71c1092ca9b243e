"""Draws what tools/compare_descent.py measured, as Figures 3 and 4 of the paper: two PNG files."""

import os

import numpy as np

_STYLES = {"HUND": ("black", "-"), "L-BFGS, A-pose": ("tab:red", "--"), "L-BFGS, s_0": ("tab:orange", "--")}


def draw(result, folder):
    """Writes `descent_one_KIND.png` (Figure 3) and `descent_all_KIND.png` (Figure 4) for each objective.

    Args:
        result: dict, as tools/compare_descent.py writes it; what was not measured stays empty.
        folder: str, made if missing.

    Returns:
        list of str, the paths.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    os.makedirs(folder, exist_ok=True)
    paths = []
    for kind, measured in result["objectives"].items():
        courses, times = measured.get("courses", {}), measured.get("times", {}).get("batch 1", {})
        colors = {method: f"C{i}" for i, method in enumerate(dict.fromkeys((*courses, *times)))}
        for name, key, label in (("one", "loss_one", "loss L_u of one pose"),
                                 ("all", "joint_angle_deg", "joint angle error, degrees, mean")):
            figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.5))
            for side, lines, what in ((left, courses, key), (right, times, "ms_an_image")):
                for method, line in lines.items():
                    color, style = _STYLES.get(method, (colors[method], ":"))
                    side.plot(np.asarray(line["iterations"]) + 1, line[what], style, color=color, label=method, marker=".")
                if lines:
                    side.legend(fontsize=8)
            left.set(xscale="log", yscale="log", xlabel="iteration or stage + 1", ylabel=label)
            right.set(xscale="log", yscale="log", xlabel="iteration or stage + 1", ylabel="ms since the evidence, batch 1")
            figure.suptitle(f"{measured['title']}; {result['poses']} held-out poses")
            figure.tight_layout()
            paths.append(os.path.join(folder, f"descent_{name}_{kind}.png"))
            figure.savefig(paths[-1], dpi=90)
            pyplot.close(figure)
    return paths

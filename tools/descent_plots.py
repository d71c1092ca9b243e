"""Draws what tools/compare_descent.py measured, as Figures 3 and 4 of the paper: two PNG files."""

import os

import numpy as np

_STYLES = {"HUND": ("black", "-"), "L-BFGS, A-pose": ("tab:red", "--"), "L-BFGS, s_0": ("tab:orange", "--")}


def draw(result, folder):
    """Writes `descent_one_KIND.png` (Figure 3) and `descent_all_KIND.png` (Figure 4) for each objective.

    Args:
        result: dict, as tools/compare_descent.py writes it.
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
        courses, times = measured["courses"], measured.get("times", {})
        for name, key, label in (("one", "loss_one", "loss L_u of one pose"),
                                 ("all", "joint_angle_deg", "joint angle error, degrees, mean")):
            figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.5))
            for method, course in courses.items():
                color, line = _STYLES.get(method, (None, ":"))
                left.plot(np.asarray(course["iterations"]) + 1, course[key], line, color=color, label=method, marker=".")
                timed = times.get("batch 1", {}).get(method)
                if timed:
                    right.plot(np.asarray(timed["iterations"]) + 1, timed["ms_an_image"], line, color=color, label=method,
                               marker=".")
            left.set(xscale="log", yscale="log", xlabel="iteration or stage + 1", ylabel=label)
            right.set(xscale="log", yscale="log", xlabel="iteration or stage + 1", ylabel="ms since the evidence, batch 1")
            left.legend(fontsize=8)
            figure.suptitle(f"{measured['title']}; {result['poses']} held-out poses")
            figure.tight_layout()
            paths.append(os.path.join(folder, f"descent_{name}_{kind}.png"))
            figure.savefig(paths[-1], dpi=90)
            pyplot.close(figure)
    return paths

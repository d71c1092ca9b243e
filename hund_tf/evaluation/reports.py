"""Records of a protocol in, a Markdown table and a JSON file out."""

import json
import math

from hund_tf.evaluation import metrics
from hund_tf.files import write_atomically

_POSE_ROWS = (("PA-MPJPE, 12 limb joints (mm)", "pa_mpjpe_mm", 1.0, "{:.1f}"),
              ("MPJPE, root aligned (mm)", "mpjpe_mm", 1.0, "{:.1f}"),
              ("translation error (mm)", "translation_error_mm", 1.0, "{:.0f}"),
              ("PCK at 150 mm (%)", "pck_150mm", 100.0, "{:.1f}"),
              ("reprojection (% of box)", "reprojection_share", 100.0, "{:.1f}"))


def pose_table(records):
    """Markdown table of `protocols.pose_cases`: median, mean and 90th percentile of each error."""
    found = [record for record in records if not record["missed"]]
    lines = ["| | median | mean | 90th percentile |", "|---|---|---|---|"]
    for title, key, factor, form in _POSE_ROWS:
        summary = metrics.summarize([record[key] for record in found])
        lines.append(f"| {title} | " + " | ".join(
            "-" if summary[name] is None else form.format(summary[name] * factor) for name in ("median", "mean", "p90"))
            + " |")
    lines.append("")
    lines.append(f"{len(records)} people, {len(records) - len(found)} missed (not in the errors).")
    return "\n".join(lines)


def held_out_table(records):
    """Markdown table of `held_out.held_out`: all scenes, and those that show the whole person."""
    lines = ["| scenes | number | MPJPE mean, median (mm) | PA-MPJPE mean, median (mm) | L_u of s_1 over that of s_M, median |",
             "|---|---|---|---|---|"]
    for title, chosen in (("all", records), ("whole person in view", [r for r in records if r["in_view"]])):
        if not chosen:
            continue
        cells = []
        for key in ("mpjpe_mm", "pa_mpjpe_mm"):
            summary = metrics.summarize([record[key] for record in chosen])
            cells.append(f"{summary['mean']:.1f}, {summary['median']:.1f}")
        falls = [record["stage_losses"][1] / record["stage_losses"][-1] for record in chosen if len(record["stage_losses"]) > 2]
        fall = metrics.summarize(falls)["median"]
        lines.append(f"| {title} | {len(chosen)} | " + " | ".join(cells) + f" | {'-' if fall is None else f'{fall:.2f}'} |")
    return "\n".join(lines)


def joint_table(records):
    """Markdown table of the mean error of each joint after Procrustes, millimetres."""
    found = [record["joint_errors_mm"] for record in records if not record["missed"]]
    names = sorted({name for errors in found for name in errors})
    lines = ["| joint | mean error (mm) |", "|---|---|"]
    for name in names:
        mean = metrics.summarize([errors[name] for errors in found if name in errors])["mean"]
        lines.append(f"| {name} | {mean:.0f} |")
    return "\n".join(lines)


def photo_table(records):
    """Markdown table of `protocols.photos`, a row for each kind of photo and one for all."""
    kinds = sorted({record["kind"] for record in records})
    lines = ["| photos | number | people | reprojection, median (% of box) | within 5 % of box | loss fell, stage 1 to M "
             "| loss fell, s_0 to M | L_u of s_1 over that of s_M, median |", "|---|---|---|---|---|---|---|---|"]
    for kind in kinds + (["all"] if len(kinds) > 1 else []):
        chosen = [record for record in records if kind in ("all", record["kind"])]
        people = [record for record in chosen if record["person"] is not None]
        median = metrics.summarize([record["reprojection_share"] for record in people])["median"]
        fall = metrics.summarize([r["loss_first"] / r["loss_last"] for r in people if r["loss_fell"] is not None])["median"]
        shares = [_share(people, key) for key in ("close", "loss_fell", "loss_fell_from_start")]
        lines.append(f"| {kind} | {len({record['photo'] for record in chosen})} | {len(people)} | "
                     f"{'-' if median is None else f'{median * 100:.1f}'} | " + " | ".join(shares)
                     + f" | {'-' if fall is None else f'{fall:.2f}'} |")
    return "\n".join(lines)


def save(path, records, **about):
    """Writes the records and `about` (command, preset, ...) as JSON; NaN becomes null."""
    text = json.dumps(_without_nan({**about, "records": records}), indent=1, allow_nan=False)

    def write(temporary):
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text + "\n")

    write_atomically(path, write)


def _share(people, key):
    answers = [record[key] for record in people if record[key] is not None]
    return f"{100.0 * sum(answers) / len(answers):.0f} %" if answers else "-"


def _without_nan(value):
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

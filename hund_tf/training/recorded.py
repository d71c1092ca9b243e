"""Training records to batches: dicts of dense tensors in, evidence as the network reads it and its labels out."""

from hund_tf.sensing.landmark_sensing import describe_summary
from hund_tf.state import ModelState
from hund_tf.training.evidence import DetectedEvidence
from hund_tf.training.examples import TrainingLabels


def body_dataset(records, segmentation):
    """Batches for the body network from batches of records.

    Args:
        records: `tf.data.Dataset` of batched dicts as `records.read` gives them; each record must hold its evidence.
        segmentation: `PartSegmentation`, with weights.

    Returns:
        `tf.data.Dataset` of `(EvidenceSummary, TrainingLabels)`.

    Raises:
        ValueError: if the first batch holds a record without evidence.
    """
    for first in records.take(1):
        missing = [source.decode() for source, there in zip(first["source"].numpy(), first["has_evidence"].numpy()) if not there]
        if missing:
            raise ValueError(f"Records must hold evidence to train the body network. Received some without: {missing[:3]}.")
    return records.map(lambda record: examples(record, segmentation), num_parallel_calls=1).prefetch(2)


def examples(record, segmentation):
    """A batch of records as a dict -> `(EvidenceSummary, TrainingLabels)`."""
    detected = DetectedEvidence(
        keypoints=record["keypoints"], confidence=record["confidence"], person_mask=record["person_mask"],
        part_labels=record["part_labels"], landmarks3d=record["landmarks3d"],
        landmarks3d_confidence=record["landmarks3d_confidence"])
    labels = TrainingLabels(
        keypoints=record["label_keypoints"], keypoints_weight=record["label_keypoints_weight"],
        joints3d=record["joints3d"], joints3d_weight=record["joints3d_weight"],
        state=ModelState(*(record[name] for name in ModelState._fields)), has_state=record["has_state"])
    return describe_summary(segmentation, detected, record["intrinsics"]), labels

"""What a training batch knows besides its evidence: labels with weights, and datasets of them that take turns."""

from typing import NamedTuple

import tensorflow as tf

from hund_tf.state import EXPRESSION, FACING_ROTATION, SHAPE, THETA, ModelState

KEYPOINTS = 137  # OpenPose: body, face and hands


class TrainingLabels(NamedTuple):
    """Labels of a batch; a weight of 0 says "no label", and what stands there then is never read.

    Attributes:
        keypoints: `[B, 137, 2]`, pixels of the crop, OpenPose order.
        keypoints_weight: `[B, 137]`.
        joints3d: `[B, 137, 3]`, metres, camera frame of the crop, the order of `GenerativeBody`'s keypoints.
        joints3d_weight: `[B, 137]`.
        state: `ModelState` of the generative body; gives vertices, joints and keypoints.
        has_state: `[B]`, 0 or 1.
    """

    keypoints: tf.Tensor
    keypoints_weight: tf.Tensor
    joints3d: tf.Tensor
    joints3d_weight: tf.Tensor
    state: ModelState
    has_state: tf.Tensor


def neutral_state(batch):
    """`ModelState` of the mean body three metres before the camera, for examples whose state is unknown."""
    sizes = (THETA, SHAPE, EXPRESSION)
    rotation, translation = (tf.tile(tf.constant(v)[None], [batch, 1]) for v in (FACING_ROTATION, (0.0, 0.0, 3.0)))
    return ModelState(*(tf.zeros([batch, size]) for size in sizes), rotation, translation)


def no_labels(batch):
    """`TrainingLabels` of a batch of images alone."""
    return TrainingLabels(
        keypoints=tf.zeros([batch, KEYPOINTS, 2]), keypoints_weight=tf.zeros([batch, KEYPOINTS]),
        joints3d=tf.zeros([batch, KEYPOINTS, 3]), joints3d_weight=tf.zeros([batch, KEYPOINTS]),
        state=neutral_state(batch), has_state=tf.zeros([batch]))


def state_labels(state):
    """`TrainingLabels` of a batch whose every state is known."""
    batch = tf.shape(state.translation)[0]
    return no_labels(batch)._replace(state=state, has_state=tf.ones([batch]))


def readable_state(labels):
    """The labelled states, with the neutral one where there is none: finite whatever stands in an unlabelled place."""
    known = labels.has_state[:, None] > 0
    neutral = neutral_state(tf.shape(labels.has_state)[0])
    return ModelState(*(tf.where(known, value, other) for value, other in zip(labels.state, neutral)))


def alternate(*datasets, start=0):
    """One batch of each dataset in turn, as long as all have more: for "fs+ss".

    Args:
        datasets: of equal structure, endless in training; each already begins where `turns_before` says.
        start: int, the step whose turn comes first.

    Returns:
        `tf.data.Dataset`.

    Raises:
        ValueError: if there are fewer than two, or their elements differ in structure.
    """
    if len(datasets) < 2:
        raise ValueError(f"`alternate` takes at least two datasets. Received: {len(datasets)}.")
    first = datasets[0].element_spec
    for dataset in datasets[1:]:
        try:
            tf.nest.assert_same_structure(first, dataset.element_spec)
        except (ValueError, TypeError) as error:
            raise ValueError(f"Datasets that take turns must hold the same things. Received: {error}") from None
    turns = tf.data.Dataset.range(start, tf.int64.max).map(lambda step: step % len(datasets))
    return tf.data.Dataset.choose_from_datasets(list(datasets), turns, stop_on_empty_dataset=True)


def turns_before(start, turn, count):
    """How many of the steps before `start` were those of dataset number `turn` of `count`."""
    return (start - turn + count - 1) // count


def for_workers(make, strategy, batch_size):
    """Each replica's share of every global batch, so that all workers together see the batches that one machine would.

    Args:
        make: callable, slice -> dataset of these rows of each batch of exactly `batch_size`; a worker asks for its own.
        strategy: `tf.distribute.Strategy`.
        batch_size: int, the global one.

    Returns:
        A distributed dataset for `model.fit`.

    Raises:
        ValueError: if the replicas do not divide the batch.
    """
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise ValueError(f"A batch must divide among {replicas} replicas. Received: {batch_size} examples.")
    share = batch_size // replicas

    def of_worker(context):
        local = replicas // context.num_input_pipelines
        first = context.input_pipeline_id * local * share
        dataset = make(slice(first, first + local * share))

        def cut(*rows):
            return tf.nest.map_structure(
                lambda value: tf.reshape(value, tf.concat([[local, share], tf.shape(value)[1:]], 0)), rows)

        def shape(*rows):
            return tf.nest.map_structure(lambda value, spec: tf.ensure_shape(value, [share, *spec.shape[1:]]), rows,
                                         dataset.element_spec)

        return dataset.map(cut).unbatch().map(shape).prefetch(2)

    return strategy.distribute_datasets_from_function(of_worker)

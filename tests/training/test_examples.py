"""Labels of batches, datasets that take turns, and batches that follow from the number of their step."""

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.training import examples, synthetic

SCENES = {name: np.arange(1000, dtype=np.float32)[:, None] for name in synthetic.FIELDS}


def test_states_without_label_are_readable_whatever_stands_there():
    labels = examples.no_labels(2)
    broken = labels.state._replace(translation=tf.constant([[0.0, 0.0, np.nan], [1.0, 2.0, 3.0]]))
    state = examples.readable_state(labels._replace(state=broken, has_state=tf.constant([0.0, 1.0])))
    np.testing.assert_array_equal(state.translation, [[0, 0, 3], [1, 2, 3]])
    np.testing.assert_array_equal(state.rotation[0], [1, 0, 0, 0, -1, 0])


def endless(first):
    return tf.data.Dataset.range(first, first + 100)


def taken(dataset, count):
    return [int(value) for value in dataset.take(count)]


def test_datasets_take_turns():
    assert taken(examples.alternate(endless(0), endless(100), endless(200)), 7) == [0, 100, 200, 1, 101, 201, 2]


@pytest.mark.parametrize("start", range(6))
def test_turns_go_on_where_they_were(start):
    whole = taken(examples.alternate(endless(0), endless(100)), 10)
    begun = [endless(100 * turn).skip(examples.turns_before(start, turn, 2)) for turn in (0, 1)]
    assert taken(examples.alternate(*begun, start=start), 4) == whole[start:start + 4]


def test_what_cannot_take_turns_is_refused():
    with pytest.raises(ValueError, match="at least two datasets. Received: 1"):
        examples.alternate(endless(0))
    with pytest.raises(ValueError, match="must hold the same things"):
        examples.alternate(endless(0), tf.data.Dataset.zip((endless(0), endless(1))))


def batches(start, count, seed=0):
    dataset = synthetic.batches(SCENES, 32, seed, True, start)
    return [(scene["theta"].numpy()[:, 0], seeds.numpy()) for scene, seeds in dataset.take(count)]


def test_a_run_goes_on_with_the_batches_it_would_have_had():
    for (scene, seeds), (again, same) in zip(batches(0, 40)[35:], batches(35, 5)):
        np.testing.assert_array_equal(scene, again)
        np.testing.assert_array_equal(seeds, same)


def test_each_pass_is_another_shuffle_of_all_scenes():
    order = np.concatenate([scene for scene, _ in batches(0, 63)])
    first, second = order[:1000], order[1000:2000]
    assert sorted(first) == sorted(second) == list(range(1000))
    assert abs(np.corrcoef(first, np.arange(1000))[0, 1]) < 0.1 and abs(np.corrcoef(first, second)[0, 1]) < 0.1
    assert np.mean(np.abs(np.diff(first)) < 10) < 0.06
    assert np.any(first[:32] != batches(0, 1, seed=1)[0][0])


def test_validation_is_one_pass_in_order():
    dataset = synthetic.batches(SCENES, 32, 0, False, 0)
    order = np.concatenate([scene["theta"].numpy()[:, 0] for scene, _ in dataset])
    np.testing.assert_array_equal(order, np.arange(992))


def test_examples_of_a_step_are_known_afterwards():
    for step, (scene, _) in zip(range(30, 33), batches(30, 3)):
        np.testing.assert_array_equal(synthetic.examples_of(step, 1000, 32, 0), scene)


class TwoWorkers:
    """A strategy of two workers with two replicas each, that gives what each worker's replicas get in turn."""

    num_replicas_in_sync = 4

    def distribute_datasets_from_function(self, of_worker):
        contexts = [tf.distribute.InputContext(2, worker, 4) for worker in range(2)]
        return [[share.numpy().tolist() for share, in of_worker(context)] for context in contexts]


def test_each_worker_makes_its_part_of_a_batch_alone():
    asked = []

    def make(rows):
        asked.append(rows)
        return tf.data.Dataset.range(16).batch(8, drop_remainder=True).map(lambda batch: (batch[rows],))

    first, second = examples.for_workers(make, TwoWorkers(), 8)
    assert asked == [slice(0, 4), slice(4, 8)]
    assert first == [[0, 1], [2, 3], [8, 9], [10, 11]] and second == [[4, 5], [6, 7], [12, 13], [14, 15]]

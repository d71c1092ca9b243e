"""In which order a run sees its examples: a pure function of its seed and of the step, so that a resumed run sees the same."""

import tensorflow as tf

_INTERLEAVED = 8  # files read by turns


def shuffled(count, seed):
    """The numbers from 0 to `count` - 1 in random order: int32 `[count]`; `seed` is an int tensor `[2]`."""
    return tf.argsort(tf.random.stateless_uniform([count], seed))


def records(paths, total, shuffle=True, seed=0, repeat=False, buffer=2048, skip=0):
    """Serialized records of files, with the file that each is of.

    Shuffled: files in random order and read by turns, then records within windows of `buffer`. Each pass over the files has an
    order of its own that follows from its number.

    Args:
        paths: list of str, TFRecord files.
        total: int, how many records they hold together.
        shuffle: bool; False gives file after file, record after record.
        seed: int.
        repeat: bool, endless or one pass.
        buffer: int, records.
        skip: int, records to leave out at the start; of whole passes none is read.

    Returns:
        `tf.data.Dataset` of `(path, record)`, strings.
    """
    first, done = divmod(skip, total) if repeat else (0, skip)
    numbers = tf.data.Dataset.range(first, tf.int64.max if repeat else 1)

    def one_pass(number):
        if not shuffle:
            return tf.data.Dataset.from_tensor_slices(paths).flat_map(_with_path)
        return _shuffled_pass(paths, tf.stack([tf.constant(seed, tf.int64), number]), buffer)

    return numbers.flat_map(one_pass).skip(done)


def _shuffled_pass(paths, seed, buffer):
    files = tf.data.Dataset.from_tensor_slices(tf.gather(paths, shuffled(len(paths), seed)))
    dataset = files.interleave(_with_path, cycle_length=min(_INTERLEAVED, len(paths)), num_parallel_calls=1, deterministic=True)

    def mix(number, window):
        order = shuffled(tf.shape(window[0])[0], tf.random.experimental.stateless_fold_in(seed, number))
        return tuple(tf.gather(strings, order) for strings in window)

    return dataset.batch(buffer).enumerate().map(mix).prefetch(1).unbatch()


def _with_path(path):
    return tf.data.TFRecordDataset(path).map(lambda record: (path, record))

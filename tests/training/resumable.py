"""A run of a small network with the callbacks of a real one; as a process of its own it kills itself in the middle of an epoch."""

import os
import signal
import sys

import keras
import numpy as np
import tensorflow as tf

STEPS, EPOCHS = 7, 3


def dataset(start=0):
    """Batches that follow from the number of their step."""
    def batch(step):
        inputs = tf.random.stateless_normal([4, 3], tf.stack([step, 0]))
        return inputs, tf.reduce_sum(inputs, -1, keepdims=True) ** 2

    return tf.data.Dataset.range(start, 10**6).map(batch)


def run(folder, kill_at=None, patience=None, save=True, validation=None):
    """Trains and leaves `weights.h5`; returns model and history."""
    from hund_tf.training import callbacks, runs

    model = keras.Sequential([keras.layers.Dense(5, "tanh"), keras.layers.Dense(1)])
    model.build([None, 3])
    for variable, value in zip(model.trainable_variables, np.linspace(0.2, 0.5, 4)):
        variable.assign(tf.reshape(tf.cos(tf.range(tf.size(variable), dtype=tf.float32) + value), variable.shape))
    model.compile(keras.optimizers.Adam(0.05, use_ema=True, ema_momentum=0.9), "mse")
    model.optimizer.build(model.trainable_variables)
    epoch, step = callbacks.resume_point(folder, STEPS)
    made = callbacks.make(folder, STEPS, tensorboard=False, patience=patience)
    made[-1].save_freq = 2
    if kill_at is not None:
        made.append(keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: kill_at == int(
            model.optimizer.iterations) and os.kill(os.getpid(), signal.SIGKILL)))
    history = model.fit(dataset(epoch * STEPS + step), epochs=callbacks.epochs_to_do(folder, STEPS, EPOCHS, patience),
                        steps_per_epoch=STEPS, verbose=0, callbacks=made, validation_data=validation or dataset(10**5).take(2))
    if save:
        runs.save_finished(model, history, folder, "weights.h5", patience)
    return model, history


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    run(sys.argv[2], kill_at=int(sys.argv[3]))

"""The operations that imported networks are made of: (inputs, settings) -> tensor.

Tensors are float32, NHWC, with a free batch. Raw operations where the networks have hundreds:
tf.nn's wrappers make tracing several times slower. `OPERATORS` maps the kind named in a network's JSON
(tools/network_description.py) to its function. The last three are MediaPipe's own operations, with
which the face network looks again at the eyes and the lips.
"""

import tensorflow as tf


def _bias_add(values, bias):
    return tf.raw_ops.BiasAdd(value=values, bias=bias)


def _activated(values, settings):
    kind = settings.get("activation")
    return values if kind is None else {"relu": tf.nn.relu, "relu6": tf.nn.relu6, "tanh": tf.tanh}[kind](values)


def conv2d(inputs, settings):
    values = tf.raw_ops.Conv2D(input=inputs[0], filter=inputs[1], strides=[1, *settings["strides"], 1],
                               padding=settings["padding"], dilations=[1, *settings["dilations"], 1])
    if len(inputs) > 2:
        # TF 2.15's oneDNN fusion of Conv2D + BiasAdd + Add crashes where the other summand is a Pad
        values = (tf.raw_ops.AddV2(x=values, y=inputs[2]) if settings.get("plain_bias")
                  else _bias_add(values, inputs[2]))
    return _activated(values, settings)


def depthwise_conv2d(inputs, settings):
    values = tf.raw_ops.DepthwiseConv2dNative(
        input=inputs[0], filter=inputs[1], strides=[1, *settings["strides"], 1], padding=settings["padding"],
        dilations=[1, *settings["dilations"], 1])
    return _activated(_bias_add(values, inputs[2]) if len(inputs) > 2 else values, settings)


def conv2d_transpose(inputs, settings):
    shape = settings["output_shape"]
    values = tf.nn.conv2d_transpose(inputs[0], inputs[1], tf.stack([tf.shape(inputs[0])[0], *shape]),
                                    settings["strides"], settings["padding"])
    return tf.nn.bias_add(tf.ensure_shape(values, [None, *shape]), inputs[2])


def dense(inputs, settings):
    values = tf.matmul(tf.reshape(inputs[0], [-1, inputs[1].shape[0]]), inputs[1])
    return _activated(values + inputs[2] if len(inputs) > 2 else values, settings)


def prelu(inputs, settings):
    positive = tf.raw_ops.Relu(features=inputs[0])
    negative = tf.raw_ops.Sub(x=inputs[0], y=positive)
    return tf.raw_ops.AddV2(x=positive, y=tf.raw_ops.Mul(x=inputs[1], y=negative))


def max_pool(inputs, settings):
    return _activated(tf.nn.max_pool2d(inputs[0], settings["size"], settings["strides"], settings["padding"]), settings)


def resize_bilinear(inputs, settings):
    size = settings["size"] if "size" in settings else settings["factor"] * tf.shape(inputs[0])[1:3]
    return tf.raw_ops.ResizeBilinear(images=inputs[0], size=size, align_corners=settings["align_corners"],
                                     half_pixel_centers=settings["half_pixel_centers"])


def landmarks_to_transform(inputs, settings):
    """Where some landmarks lie, upright: `[B, N, >=2]` -> `[B, 4, 4]`, region pixels to input pixels."""
    landmarks = inputs[0][..., :2]
    axis = landmarks[:, settings["right_rotation_idx"]] - landmarks[:, settings["left_rotation_idx"]]
    angle = settings["target_rotation_radians"] - tf.atan2(axis[:, 1], axis[:, 0])
    cos, sin = tf.cos(angle), tf.sin(angle)
    upright = tf.reshape(tf.stack([cos, -sin, sin, cos], -1), [-1, 2, 2])
    points = tf.einsum("bij,bnj->bni", upright, tf.gather(landmarks, settings["subset_idxs"], axis=1))
    high, low = tf.reduce_max(points, 1), tf.reduce_min(points, 1)
    center = tf.einsum("bji,bj->bi", upright, (high + low) / 2)
    size = tf.constant([settings["output_width"], settings["output_height"]], tf.float32)
    scale = (high - low) * tf.constant([settings["scale_x"], settings["scale_y"]], tf.float32) / size
    linear = tf.transpose(upright, [0, 2, 1]) * scale[:, None, :]
    offset = center - tf.einsum("bij,j->bi", linear, size / 2)
    zero, one = tf.zeros_like(angle), tf.ones_like(angle)
    rows = [linear[:, 0, 0], linear[:, 0, 1], zero, offset[:, 0], linear[:, 1, 0], linear[:, 1, 1], zero, offset[:, 1],
            zero, zero, one, zero, zero, zero, zero, one]
    return tf.reshape(tf.stack(rows, -1), [-1, 4, 4])


def transform_bilinear(inputs, settings):
    """Reads features `[B, H, W, C]` through `[B, 4, 4]` transforms; outside counts as 0."""
    features, transform = inputs
    rows, columns = tf.meshgrid(tf.range(settings["size"][0], dtype=tf.float32),
                                tf.range(settings["size"][1], dtype=tf.float32), indexing="ij")
    grid = tf.stack([columns + 0.5, rows + 0.5, tf.zeros_like(rows), tf.ones_like(rows)], -1)
    position = tf.einsum("bij,hwj->bhwi", transform[:, :2], grid) - 0.5
    height, width = features.shape[1], features.shape[2]
    inside = tf.reduce_all((position >= 0) & (position <= [width - 1.0, height - 1.0]), -1, keepdims=True)
    low = tf.floor(position)
    fx, fy = tf.split(position - low, 2, -1)
    x, y = tf.unstack(tf.cast(low, tf.int32), axis=-1)
    x, right = (tf.clip_by_value(v, 0, width - 1) for v in (x, x + 1))
    y, below = (tf.clip_by_value(v, 0, height - 1) * width for v in (y, y + 1))
    pixels = tf.reshape(features, [-1, features.shape[-1]])
    first = tf.reshape(tf.range(tf.shape(features)[0]) * (height * width), [-1, 1, 1])

    def read(columns, rows):
        return tf.gather(pixels, first + rows + columns)

    upper = (1 - fx) * read(x, y) + fx * read(right, y)
    lower = (1 - fx) * read(x, below) + fx * read(right, below)
    return tf.where(inside, (1 - fy) * upper + fy * lower, 0.0)


def transform_landmarks(inputs, settings):
    landmarks, transform = inputs
    moved = tf.einsum("bij,bnj->bni", transform[:, :2, :2], landmarks[..., :2]) + transform[:, None, :2, 3]
    return tf.concat([moved, landmarks[..., 2:]], -1)


OPERATORS = {
    "conv2d": conv2d,
    "depthwise_conv2d": depthwise_conv2d,
    "conv2d_transpose": conv2d_transpose,
    "dense": dense,
    "add": lambda x, s: _activated(tf.raw_ops.AddV2(x=x[0], y=x[1]), s),
    "multiply": lambda x, s: _activated(x[0] * x[1], s),
    "relu": lambda x, s: tf.nn.relu(x[0]),
    "relu6": lambda x, s: tf.nn.relu6(x[0]),
    "prelu": prelu,
    "sigmoid": lambda x, s: tf.sigmoid(x[0]),
    "pad": lambda x, s: tf.pad(x[0], s["amounts"]),
    "max_pool": max_pool,
    "mean": lambda x, s: tf.reduce_mean(x[0], s["axes"], keepdims=s["keep"]),
    "reshape": lambda x, s: tf.reshape(x[0], [-1, *s["shape"]]),
    "concat": lambda x, s: _activated(tf.concat(x, s["axis"]), s),
    "slice": lambda x, s: x[0][tuple(slice(*r) for r in s["ranges"])],
    "depth_to_space": lambda x, s: tf.nn.depth_to_space(x[0], s["block"]),
    "resize_bilinear": resize_bilinear,
    "landmarks_to_transform": landmarks_to_transform,
    "transform_bilinear": transform_bilinear,
    "transform_landmarks": transform_landmarks,
}

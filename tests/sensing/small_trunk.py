"""Stands for ResNet50: the layers that `MultitaskCNN` taps, by name, and a thousandth of the weights."""

import keras


def make(include_top=False, weights=None, input_shape=(None, None, 3)):
    """A trunk with maps of stride 8, 16 and 32."""
    assert not include_top and weights is None
    image = maps = keras.layers.Input(input_shape)
    for name, filters, stride in (("conv3_block4_out", 16, 8), ("conv4_block6_out", 24, 2), ("conv5_block3_out", 32, 2)):
        maps = keras.layers.Conv2D(filters, max(3, stride), stride, "same", name=name.replace("out", "conv"))(maps)
        maps = keras.layers.BatchNormalization(name=name.replace("out", "bn"))(maps)
        maps = keras.layers.ReLU(name=name)(maps)
    return keras.Model(image, maps)

"""A .tflite float model in, a `NetworkDescription` out.

Reads the flatbuffer with the schema that TensorFlow itself ships; float16 DEQUANTIZE and sparse
DENSIFY of constants are carried out here, so the description holds plain dense weights only.
Layouts become TensorFlow's: kernels HWIO, depthwise HWCM, dense matrices [inputs, outputs].
"""

import numpy as np
from flatbuffers import flexbuffers
from network_description import NetworkDescription
from tensorflow.lite.python import schema_py_generated as schema

_KINDS = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
_DTYPES = {
    schema.TensorType.FLOAT32: np.float32, schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.INT32: np.int32, schema.TensorType.INT64: np.int64,
    schema.TensorType.INT8: np.int8, schema.TensorType.UINT8: np.uint8,
}
_ACTIVATIONS = {0: None, 1: "relu", 3: "relu6", 4: "tanh"}
_PADDINGS = {0: "SAME", 1: "VALID"}


def read_tflite(data, output_names):
    """Converts one model.

    Args:
        data: bytes of the .tflite file; one subgraph, one input.
        output_names: public names of the outputs, in the file's order; `None` drops an output.

    Raises:
        ValueError: if the file holds an operation that has no rule here.
    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0))
    graph = model.subgraphs[0]
    shapes = [[int(d) for d in (t.shape if t.shape is not None else [])] for t in graph.tensors]
    constants = {}
    for i, tensor in enumerate(graph.tensors):
        raw = model.buffers[tensor.buffer].data
        if raw is not None and len(raw):
            values = np.frombuffer(bytes(bytearray(raw)), _DTYPES[tensor.type])
            constants[i] = _densify(values, tensor) if tensor.sparsity is not None else values.reshape(shapes[i])
    (first,) = graph.inputs
    reader = _Reader(NetworkDescription([None] + shapes[first][1:]), shapes, constants)
    reader.names[int(first)] = "x"
    for operator in graph.operators:
        code = model.operatorCodes[int(operator.opcodeIndex)]
        kind, options = _KINDS[max(code.builtinCode, code.deprecatedBuiltinCode)], operator.builtinOptions
        if kind == "CUSTOM":
            kind = code.customCode.decode()
            options = bytes(bytearray(operator.customOptions)) if operator.customOptions is not None else b""
        inputs, outputs = [int(i) for i in operator.inputs], [int(i) for i in operator.outputs]
        if kind in ("DEQUANTIZE", "DENSIFY") and inputs[0] in constants:
            constants[outputs[0]] = constants[inputs[0]]
            continue
        rule = getattr(reader, kind.lower(), None)
        if rule is None:
            raise ValueError(f"every operation must have a rule. Received: {kind}.")
        rule(inputs, outputs[0], options)
    description = reader.description
    description.outputs = {name: reader.names[int(i)] for name, i in zip(output_names, graph.outputs) if name}
    description.keep_only_what_outputs_need()
    description.mark_biases_before_additions()
    return description


class _Reader:
    """One method per TFLite operation: (input indices, output index, options)."""

    def __init__(self, description, shapes, constants):
        self.description, self.shapes, self.constants, self.names = description, shapes, constants, {}

    def _name(self, index, transform=None):
        if index not in self.names:
            values = self.constants[index]
            self.names[index] = self.description.add_weight(transform(values) if transform else values)
        return self.names[index]

    def _emit(self, kind, inputs, output, options=None, **settings):
        activation = getattr(options, "fusedActivationFunction", 0)
        if _ACTIVATIONS[activation]:
            settings["activation"] = _ACTIVATIONS[activation]
        self.names[output] = self.description.add(kind, inputs, f"t{output}", **settings)

    def _bias(self, inputs):
        return [self._name(inputs[2])] if len(inputs) > 2 and inputs[2] >= 0 else []

    def conv_2d(self, i, out, o):
        kernel = self._name(i[1], lambda w: w.transpose(1, 2, 3, 0))
        padding = _PADDINGS[o.padding]
        if self.shapes[i[1]][1:3] == [1, 1]:
            padding = "SAME"  # the same maths, and no VALID convolution for oneDNN to crash on
        self._emit("conv2d", [self._name(i[0]), kernel] + self._bias(i), out, o, padding=padding,
                   strides=[o.strideH, o.strideW], dilations=[o.dilationHFactor, o.dilationWFactor])

    def depthwise_conv_2d(self, i, out, o):
        channels = self.shapes[i[0]][-1]
        kernel = self._name(i[1], lambda w: w.reshape(w.shape[1], w.shape[2], channels, -1))
        self._emit("depthwise_conv2d", [self._name(i[0]), kernel] + self._bias(i), out, o,
                   padding=_PADDINGS[o.padding], strides=[o.strideH, o.strideW],
                   dilations=[o.dilationHFactor, o.dilationWFactor])

    def convolution2dtransposebias(self, i, out, options):
        padding, stride_w, stride_h = (int(v) for v in np.frombuffer(options[:12], np.int32))
        kernel = self._name(i[1], lambda w: w.transpose(1, 2, 0, 3))
        self._emit("conv2d_transpose", [self._name(i[0]), kernel] + self._bias(i), out,
                   padding={1: "SAME", 2: "VALID"}[padding], strides=[stride_h, stride_w],
                   output_shape=self.shapes[out][1:])

    def fully_connected(self, i, out, o):
        self._emit("dense", [self._name(i[0]), self._name(i[1], np.transpose)] + self._bias(i), out, o)

    def add(self, i, out, o):
        self._emit("add", [self._name(k) for k in i], out, o)

    def mul(self, i, out, o):
        self._emit("multiply", [self._name(k) for k in i], out, o)

    def relu(self, i, out, o):
        self._emit("relu", [self._name(i[0])], out)

    def relu6(self, i, out, o):
        self._emit("relu6", [self._name(i[0])], out)

    def prelu(self, i, out, o):
        self._emit("prelu", [self._name(k) for k in i], out)

    def logistic(self, i, out, o):
        self._emit("sigmoid", [self._name(i[0])], out)

    def pad(self, i, out, o):
        self._emit("pad", [self._name(i[0])], out, amounts=self.constants[i[1]].tolist())

    def max_pool_2d(self, i, out, o):
        self._emit("max_pool", [self._name(i[0])], out, o, padding=_PADDINGS[o.padding],
                   size=[o.filterHeight, o.filterWidth], strides=[o.strideH, o.strideW])

    def mean(self, i, out, o):
        self._emit("mean", [self._name(i[0])], out, axes=np.ravel(self.constants[i[1]]).tolist(),
                   keep=bool(o.keepDims))

    def reshape(self, i, out, o):
        if self.shapes[out][0] != 1:
            raise ValueError(f"a reshape must keep the batch of 1. Received: {self.shapes[out]}.")
        self._emit("reshape", [self._name(i[0])], out, shape=self.shapes[out][1:])

    def concatenation(self, i, out, o):
        self._emit("concat", [self._name(k) for k in i], out, o, axis=o.axis)

    def depth_to_space(self, i, out, o):
        self._emit("depth_to_space", [self._name(i[0])], out, block=o.blockSize)

    def resize_bilinear(self, i, out, o):
        self._emit("resize_bilinear", [self._name(i[0])], out, size=self.constants[i[1]].tolist(),
                   align_corners=bool(o.alignCorners), half_pixel_centers=bool(o.halfPixelCenters))

    def strided_slice(self, i, out, o):
        begin, end, steps = (self.constants[k].tolist() for k in i[1:])
        if o.ellipsisMask or o.newAxisMask or o.shrinkAxisMask:
            raise ValueError("a slice must keep the rank of its input.")
        ranges = [[None if o.beginMask >> d & 1 else begin[d], None if o.endMask >> d & 1 else end[d], steps[d]]
                  for d in range(len(begin))]
        self._emit("slice", [self._name(i[0])], out, ranges=[[None, None, 1]] + ranges[1:])

    def landmarks2transformmatrix(self, i, out, options):
        self._emit("landmarks_to_transform", [self._name(i[0])], out,
                   **{k: v for k, v in flexbuffers.Loads(options).items()})

    def transformtensorbilinear(self, i, out, options):
        self._emit("transform_bilinear", [self._name(k) for k in i], out, size=self.shapes[out][1:3])

    def transformlandmarks(self, i, out, options):
        self._emit("transform_landmarks", [self._name(k) for k in i], out)


def _densify(values, tensor):
    """TFLite's sparse storage (traversal order, block map, CSR levels) to a dense array."""
    sparsity, shape = tensor.sparsity, [int(d) for d in tensor.shape]
    rank = len(shape)
    blocks = [int(b) for b in sparsity.blockMap] if sparsity.blockMap is not None else []
    block_sizes = [int(sparsity.dimMetadata[rank + k].denseSize) for k in range(len(blocks))]
    coordinates = np.zeros((1, rank + len(blocks)), np.int64)  # partial coordinates, level by level
    position = np.zeros(1, np.int64)  # where each partial coordinate stands in the storage
    for level, dimension in enumerate(int(d) for d in sparsity.traversalOrder):
        meta = sparsity.dimMetadata[level]
        if meta.format == schema.DimensionType.DENSE:
            size = int(meta.denseSize)
            coordinates = np.repeat(coordinates, size, 0)
            index = np.tile(np.arange(size), len(position))
            position = np.repeat(position * size, size) + index
        else:
            segments = np.asarray(meta.arraySegments.values, np.int64)
            indices = np.asarray(meta.arrayIndices.values, np.int64)
            count = segments[position + 1] - segments[position]
            within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
            coordinates = np.repeat(coordinates, count, 0)
            position = np.repeat(segments[position], count) + within
            index = indices[position]
        coordinates[:, dimension] = index
    full = coordinates[:, :rank].copy()
    for k, block in enumerate(blocks):
        full[:, block] = full[:, block] * block_sizes[k] + coordinates[:, rank + k]
    dense = np.zeros(shape, values.dtype)
    dense[tuple(full.T)] = values[position]
    return dense

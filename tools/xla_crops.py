"""`reconstruct_crops` as one XLA program a batch, for a GPU whose machine has JAX but not the TensorFlow of this package.

    python tools/xla_crops.py write xla [--preset person] [--batch 1,8,32] [--no-tf32]   # here: programs, weights, CPU's answer
    python tools/xla_crops.py run xla [--repeats 20]                                     # there: needs NumPy and JAX alone

`run` says how long a batch takes, alone and with its way to the device and back, and how far each output is from the CPU's.
"""

import argparse
import os
import re
import statistics
import sys
import time

import numpy as np

WEIGHTS, INPUTS, EXPECTED = "weights.npz", "inputs.npz", "expected.npz"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    add = commands.add_parser("write")
    add.add_argument("folder")
    add.add_argument("--preset", default="person", help="name or folder (default: %(default)s)")
    add.add_argument("--batch", default="1,8,32", type=_counts, help="crops of each program (default: %(default)s)")
    add.add_argument("--no-tf32", action="store_true", help="products in float32 on GPUs, too")
    add.set_defaults(run=lambda options: write(options.folder, options.preset, options.batch, not options.no_tf32))
    add = commands.add_parser("run")
    add.add_argument("folder")
    add.add_argument("--repeats", type=int, default=20)
    add.set_defaults(run=lambda options: run(options.folder, options.repeats))
    options = parser.parse_args(arguments)
    options.run(options)


def write(folder, preset, batches, tf32):
    """Writes the programs, the weights that they take as arguments, one crop, and what the CPU answers to it."""
    import tensorflow as tf

    import hund_tf
    from hund_tf.export import saved_model, signatures

    tf.config.experimental.enable_tensor_float_32_execution(tf32)
    os.makedirs(folder, exist_ok=True)
    served = signatures.ServedReconstructor(hund_tf.load_preset(preset), {})
    inputs = saved_model.warmup_inputs()["reconstruct_crops"]
    function = served.functions["reconstruct_crops"].python_function
    for batch in batches:
        program, weights = compiled(function, [np.repeat(inputs[name], batch, 0) for name in ("crops", "intrinsics")])
        with open(os.path.join(folder, f"crops_{batch}.hlo"), "wb") as file:
            file.write(program)
    np.savez_compressed(os.path.join(folder, WEIGHTS), *weights)
    np.savez(os.path.join(folder, INPUTS), inputs["crops"], inputs["intrinsics"])
    answer = served.functions["reconstruct_crops"](**inputs)
    np.savez(os.path.join(folder, EXPECTED), **{name: value.numpy() for name, value in answer.items()})


def compiled(function, inputs):
    """A function and arrays to call it with -> bytes of an HLO module, and the arrays that it takes after the inputs.

    Of the function's captured tensors, XLA takes numbers of no shape as constants. Copies become reshapes: readers later than
    TensorFlow 2.15 know no copy.
    """
    import tensorflow as tf
    from tensorflow.compiler.xla.service import hlo_pb2

    specs = [tf.TensorSpec(array.shape, array.dtype) for array in inputs]
    traced = tf.function(function, jit_compile=True, autograph=False, input_signature=specs)
    program = traced.experimental_get_compiler_ir(*map(tf.constant, inputs))(stage="hlo_serialized")
    module = hlo_pb2.HloModuleProto.FromString(program)
    for computation in module.computations:
        for instruction in computation.instructions:
            if instruction.opcode == "copy":
                instruction.opcode = "reshape"
    by_handle = {id(variable.handle): variable for variable in traced.get_concrete_function().variables}
    captured = [by_handle[id(tensor)].numpy() if id(tensor) in by_handle else tensor.numpy()
                for tensor in traced.get_concrete_function().captured_inputs]
    return module.SerializeToString(), [array for array in captured if array.shape]


def run(folder, repeats):
    """Compiles the programs for JAX's first device, times them and prints what they answer beside what the CPU answered."""
    import jax
    from jax._src.lib import xla_client

    jax.config.update("jax_enable_x64", True)
    device = jax.devices()[0]
    expected = np.load(os.path.join(folder, EXPECTED))
    crop, weights = np.load(os.path.join(folder, INPUTS)), np.load(os.path.join(folder, WEIGHTS))
    weights = [jax.device_put(weights[name], device) for name in weights.files]
    found = (re.fullmatch(r"crops_(\d+)\.hlo", name) for name in os.listdir(folder))
    programs = sorted(int(one[1]) for one in found if one)
    print(f"`python tools/xla_crops.py {' '.join(sys.argv[1:])}` on {device.device_kind}, JAX {jax.__version__}")
    for batch in programs:
        with open(os.path.join(folder, f"crops_{batch}.hlo"), "rb") as file:
            module = xla_client._xla.mlir.xla_computation_to_mlir_module(xla_client.XlaComputation(file.read()))
        start = time.perf_counter()
        program = device.client.compile_and_load(module, xla_client.DeviceList((device,)), xla_client.CompileOptions())
        seconds = time.perf_counter() - start
        arrays = [np.repeat(crop[name], batch, 0) for name in crop.files]

        def answer(inputs):
            shards = program.execute_sharded([*inputs, *weights]).disassemble_into_single_device_arrays()
            return jax.block_until_ready([shard[0] for shard in shards])

        there = [jax.device_put(array, device) for array in arrays]
        found = dict(zip(sorted(expected.files), map(np.asarray, answer(there))))  # XLA gives outputs in the order of names
        alone = _median_ms(lambda: answer(there), repeats)
        whole = _median_ms(lambda: list(map(np.asarray, answer([jax.device_put(array, device) for array in arrays]))), repeats)
        print(f"batch {batch}: {alone:.1f} ms, {1000 * batch / alone:.1f} people/s; with transfers {whole:.1f} ms, "
              f"{1000 * batch / whole:.1f} people/s; compiled in {seconds:.0f} s; from the CPU's at most: "
              + ", ".join(f"{name} {np.abs(found[name] - expected[name]).max():.2g}" for name in sorted(found)), flush=True)


def _median_ms(call, repeats):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def _counts(text):
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    main()

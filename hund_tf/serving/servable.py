"""The folder of a SavedModel in, its signatures as callables out. Runs in a session, as TensorFlow Serving does.

A session prepares a graph for each set of outputs at its first run, which takes longer than many runs do. So all outputs
of a signature are always made, and what was not asked for is dropped.
"""

import logging
import os

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import rewriter_config_pb2

from hund_tf.serving import errors, signatures
from hund_tf.serving.users import Users

_TAGS = ["serve"]
_LOG = logging.getLogger(__name__)


class Servable:
    """A loaded version. `run` may be called from several threads.

    Args:
        folder: str, holds saved_model.pb.
        version: int.

    Attributes:
        definitions: dict, `SignatureDef` by name.
        users: `Users`, who still needs this version.

    Raises:
        OSError, ValueError, RuntimeError, tf.errors.OpError: if the folder holds no model that can be loaded.
    """

    def __init__(self, folder, version):
        self.folder, self.version, self.users = folder, version, Users()
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph, config=session_config())
        try:
            with graph.as_default():
                loaded = tf.compat.v1.saved_model.load(self._session, _TAGS, os.fspath(folder))
        except BaseException:
            self._session.close()
            raise
        graph.finalize()
        self.definitions = {name: definition for name, definition in loaded.signature_def.items()
                            if not name.startswith("__saved_model")}  # those that TensorFlow keeps for itself
        self._signatures = {}
        for name, definition in self.definitions.items():
            self._signatures[name] = signature = signatures.from_definition(name, definition)
            if signature is None:
                _LOG.warning("version %d: signature %r is left out: it has no output or ports that are not plain tensors",
                             version, name)

    def signature(self, name):
        """The `Signature` of a name, "" for `serving_default`; INVALID_ARGUMENT if there is none."""
        signature = self._signatures.get(name or signatures.DEFAULT)
        if signature is None:
            known = ", ".join(repr(key) for key in sorted(self._signatures) if self._signatures[key]) or "none"
            raise errors.invalid(f"A signature must be of {known}. Received: {name[:100] or signatures.DEFAULT!r}.")
        return signature

    def run(self, signature, feeds, wanted, timeout=None):
        """Runs a signature.

        Args:
            signature: `Signature` of this version.
            feeds: dict, an array for every input.
            wanted: tuple of str, sorted names of outputs.
            timeout: float or None, seconds after which the run is given up.

        Returns:
            Dict, array of each wanted output.

        Raises:
            RequestError: with TensorFlow's code and message.
        """
        options = None
        if timeout is not None:
            options = tf.compat.v1.RunOptions(timeout_in_ms=max(1, int(timeout * 1000)))
        try:
            outputs = self._session.run({name: port.tensor for name, port in signature.outputs.items()},
                                        {port.tensor: feeds[name] for name, port in signature.inputs.items()}, options=options)
        except tf.errors.OpError as error:
            raise errors.from_tensorflow(error) from None
        return {name: _array(outputs[name]) for name in wanted}

    def close(self):
        """Frees the variables; nobody may run it any more."""
        self._session.close()
        self._session = None  # what it holds is freed when the last reference goes


def session_config():
    """`ConfigProto` of a session: memory of GPUs as needed, one round of graph rewriting, since a second one gains nothing."""
    config = tf.compat.v1.ConfigProto(allow_soft_placement=True)
    config.gpu_options.allow_growth = True
    config.graph_options.rewrite_options.meta_optimizer_iterations = rewriter_config_pb2.RewriterConfig.ONE
    return config


def _array(value):
    """A session gives a single string as bytes, and NumPy would cut zeros off its end."""
    if isinstance(value, bytes):
        array = np.empty([], object)
        array[()] = value
        return array
    return np.asarray(value)

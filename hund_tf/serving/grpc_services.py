"""TensorFlow Serving's gRPC services: messages in, messages out, errors as status codes."""

import asyncio
import functools
import logging

import grpc
from google.protobuf import any_pb2, message
from tensorflow_serving.apis import (get_model_metadata_pb2, get_model_status_pb2, model_service_pb2_grpc, predict_pb2,
                                     prediction_service_pb2_grpc)

from hund_tf.serving import errors, tensors
from hund_tf.serving.predictor import Call

_LOG = logging.getLogger(__name__)


def _answered(method):
    """A method whose errors become the call's status; a fault of ours is logged and costs one request only."""
    @functools.wraps(method)
    async def call(self, request, context):
        try:
            return await method(self, request, context)
        except errors.RequestError as error:
            code, sentence = error.code, str(error)
        except Exception:
            _LOG.exception("%s failed", method.__name__)
            code, sentence = grpc.StatusCode.INTERNAL, "The server failed on this request; its log says more."
        try:
            await context.abort(code, sentence)
        except grpc.aio.InternalError:  # nobody is there any more to be told
            raise asyncio.CancelledError from None

    return call


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict and GetModelMetadata; the rest is UNIMPLEMENTED.

    Args:
        predictor: `Predictor`.
        versions: `Versions`.
        max_bytes: int, of a tensor when unpacked.
    """

    def __init__(self, predictor, versions, max_bytes):
        self._predictor, self._versions, self._max_bytes = predictor, versions, max_bytes

    @_answered
    async def Predict(self, request, context):
        spec = request.model_spec
        call = Call("grpc", spec.name, *_version(spec), spec.signature_name, context.time_remaining())

        def unpack(signature):
            total = 0
            feeds = {}
            for name, proto in request.inputs.items():
                signature.port(name)
                array = tensors.decode(proto, f"Input {name[:100]!r}", self._max_bytes - total)
                signature.check(name, array, proto.dtype)
                feeds[name] = array
                total += array.nbytes
            return feeds, request.output_filter

        def pack(servable, signature, outputs):
            answer = predict_pb2.PredictResponse()
            answer.model_spec.name, answer.model_spec.signature_name = spec.name, signature.name
            answer.model_spec.version.value = servable.version
            for name, array in outputs.items():
                answer.outputs[name].CopyFrom(tensors.encode(array, signature.outputs[name].dtype))
            return answer

        return await self._predictor.predict(call, unpack, pack)

    @_answered
    async def GetModelMetadata(self, request, context):
        if not request.metadata_field or set(request.metadata_field) != {"signature_def"}:
            raise errors.invalid(f"metadata_field must be signature_def. Received: {list(request.metadata_field)[:5]}.")
        return metadata(self._versions, request.model_spec.name, *_version(request.model_spec))


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus; the configuration cannot be reloaded."""

    def __init__(self, versions):
        self._versions = versions

    @_answered
    async def GetModelStatus(self, request, context):
        return status(self._versions, request.model_spec.name, *_version(request.model_spec))


class BadMessages(grpc.aio.ServerInterceptor):
    """Answers bytes that are no message with INVALID_ARGUMENT; gRPC itself would say UNKNOWN and log a traceback."""

    async def intercept_service(self, continuation, handler_call_details):
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler

        def read(data):
            try:
                return handler.request_deserializer(data)
            except message.DecodeError:
                return None

        async def call(request, context):
            if request is None:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "A request must be a whole message of its method. "
                                    "Received: other bytes.")
            return await handler.unary_unary(request, context)

        return grpc.unary_unary_rpc_method_handler(call, read, handler.response_serializer)


def metadata(versions, name, version=None, label=""):
    """GetModelMetadataResponse: the signatures of a model."""
    servable = versions.find(name, version, label)
    answer = get_model_metadata_pb2.GetModelMetadataResponse()
    answer.model_spec.name = name
    answer.model_spec.version.value = servable.version
    definitions = get_model_metadata_pb2.SignatureDefMap()
    for key, definition in servable.definitions.items():
        definitions.signature_def[key].CopyFrom(definition)
    packed = any_pb2.Any()
    packed.Pack(definitions)
    answer.metadata["signature_def"].CopyFrom(packed)
    return answer


def status(versions, name, version=None, label=""):
    """GetModelStatusResponse: where each version stands, the highest first."""
    if name != versions.name or label:
        versions.find(name, version, label)  # says what is wrong
    known = [version] if version is not None else sorted(versions.states, reverse=True)
    if version is not None and version not in versions.states:
        raise errors.not_found(f"The version of model {name!r} must be of {sorted(versions.states)}. Received: {version}.")
    answer = get_model_status_pb2.GetModelStatusResponse()
    for number in known:
        state = versions.states[number]
        entry = answer.model_version_status.add(version=number, state=state.state)
        entry.status.error_code, entry.status.error_message = state.code.value[0], state.message
    return answer


def _version(spec):
    return spec.version.value if spec.HasField("version") else None, spec.version_label

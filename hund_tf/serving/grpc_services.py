"""TensorFlow Serving's gRPC services: messages in, messages out, errors as status codes."""

import asyncio
import contextlib
import functools
import inspect
import logging

import grpc
from google.protobuf import any_pb2, message
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_service_pb2_grpc, predict_pb2

from hund_tf.serving import errors, reflected, tensors
from hund_tf.serving.predictor import Call

LAST_WORDS_S = 0.5  # for what is on its way when a stream or the server ends
_NO_MESSAGE = "A request must be a whole message of its method. Received: other bytes."
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


class PredictionService:
    """Predict and GetModelMetadata; the rest is UNIMPLEMENTED.

    Args:
        predictor: `Predictor`.
        versions: `Versions`.
        intake: `Intake`.
        max_bytes: int, of a request's tensors when unpacked.
    """

    def __init__(self, predictor, versions, intake, max_bytes):
        self._predictor, self._versions, self._intake, self._max_bytes = predictor, versions, intake, max_bytes

    def handlers(self):
        """What a server needs. To gRPC, Predict takes a stream of bytes, which on the wire is the same for one message: so it
        is called before the message is here, and decides when to read it and on which thread to parse it."""
        return grpc.method_handlers_generic_handler(reflected.PREDICTION, {
            "Predict": grpc.stream_unary_rpc_method_handler(
                self.Predict, response_serializer=predict_pb2.PredictResponse.SerializeToString),
            "GetModelMetadata": grpc.unary_unary_rpc_method_handler(
                self.GetModelMetadata, get_model_metadata_pb2.GetModelMetadataRequest.FromString,
                get_model_metadata_pb2.GetModelMetadataResponse.SerializeToString)})

    @_answered
    async def Predict(self, _, context):
        with contextlib.ExitStack() as room:
            async def read():
                data = await self._intake.message(context)
                room.enter_context(self._intake.room(len(data)))
                request, unpacked = await self._intake.parsed("grpc", _parsed, data)
                room.enter_context(self._intake.room(max(0, min(unpacked, self._max_bytes) - len(data))))
                return self._call(request)

            return await self._predictor.predict("grpc", read, context.time_remaining())

    @_answered
    async def GetModelMetadata(self, request, context):
        if not request.metadata_field or set(request.metadata_field) != {"signature_def"}:
            raise errors.invalid(f"metadata_field must be signature_def. Received: {list(request.metadata_field)[:5]}.")
        return metadata(self._versions, request.model_spec.name, *_version(request.model_spec))

    def _call(self, request):
        spec = request.model_spec
        name, version, label, signature_name = spec.name, *_version(spec), spec.signature_name
        requests = [request]

        def unpack(signature):
            whole = requests.pop()  # nobody else keeps it: a request that waits takes its arrays' memory alone
            total = 0
            feeds = {}
            for key, proto in whole.inputs.items():
                signature.port(key)
                array = tensors.decode(proto, f"Input {key[:100]!r}", self._max_bytes - total)
                signature.check(key, array, proto.dtype)
                feeds[key] = array
                total += array.nbytes
            return feeds, list(whole.output_filter)

        def pack(servable, signature, outputs):
            answer = predict_pb2.PredictResponse()
            answer.model_spec.name, answer.model_spec.signature_name = name, signature.name
            answer.model_spec.version.value = servable.version
            for key, array in outputs.items():
                answer.outputs[key].CopyFrom(tensors.encode(array, signature.outputs[key].dtype))
            return answer

        return Call(name, version, label, signature_name, unpack, pack)


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
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, _NO_MESSAGE)
            return await handler.unary_unary(request, context)

        return grpc.unary_unary_rpc_method_handler(call, read, handler.response_serializer)


class EndlessStreams(grpc.aio.ServerInterceptor):
    """Keeps the calls that may stay open for ever (health watches, reflection), to end them when the server stops."""

    def __init__(self):
        self._open = set()

    async def intercept_service(self, continuation, handler_call_details):
        handler = await continuation(handler_call_details)
        if handler is None or not handler.response_streaming:
            return handler

        async def call(request, context):
            stream = asyncio.ensure_future(_stream(handler, request, context))
            self._open.add(stream)
            try:
                await asyncio.wait({stream})
                if stream.cancelled():
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "The server stops.")
                stream.result()
            finally:
                stream.cancel()
                self._open.discard(stream)

        make = (grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler)
        return make(call, handler.request_deserializer, handler.response_serializer)

    async def end(self):
        """Ends them after a moment, in which they can pass on what has just changed."""
        if self._open:
            await asyncio.sleep(LAST_WORDS_S)
        for stream in self._open:
            stream.cancel()


async def _stream(handler, request, context):
    answers = (handler.stream_stream or handler.unary_stream)(request, context)
    if not inspect.isasyncgen(answers):
        return await answers
    async for answer in answers:
        await context.write(answer)


def _parsed(data):
    """A Predict request, and how many bytes its tensors say that they have unpacked."""
    try:
        request = predict_pb2.PredictRequest.FromString(data)
    except message.DecodeError:
        raise errors.invalid(_NO_MESSAGE) from None
    return request, sum(map(tensors.declared_bytes, request.inputs.values()))


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

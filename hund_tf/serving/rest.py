"""TensorFlow Serving's REST API and the metrics, as an aiohttp application."""

import asyncio
import contextlib
import logging

from aiohttp import http_exceptions, web
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2  # noqa: F401  (json_format unpacks SignatureDefMap by its name)

from hund_tf.serving import errors, grpc_services, json_tensors, metrics
from hund_tf.serving.predictor import Call

_LOG = logging.getLogger(__name__)
_MODEL = "/v1/models/{name:[^/:]+}"
_VERSION = _MODEL + "/versions/{version:[0-9]{1,18}}"
_LABEL = _MODEL + "/labels/{label:[^/:]+}"


def application(predictor, versions, intake, counters, settings):
    """The application.

    Args:
        predictor: `Predictor`.
        versions: `Versions`.
        intake: `Intake`.
        counters: `Metrics`.
        settings: `ServerSettings`.

    Returns:
        `aiohttp.web.Application`.
    """
    app = web.Application(middlewares=[_json_errors], client_max_size=settings.max_rest_bytes)

    async def predict(request):
        with contextlib.ExitStack() as room:
            async def read():
                name, version, label = _model(request)
                versions.find(name, version, label)  # before the body is read
                room.enter_context(intake.room(_size(request, settings.max_rest_bytes)))
                parsed = await intake.parsed("rest", json_tensors.parse, await _body(request, settings.rest_timeout))
                return Call(name, version, label, parsed.signature, parsed.unpack,
                            lambda _, signature, outputs: json_tensors.pack(parsed.by_row, signature, outputs))

            answer = await predictor.predict("rest", read, settings.rest_timeout)
        return web.Response(body=answer, content_type="application/json")

    async def metadata(request):
        answer = grpc_services.metadata(versions, *_model(request))
        definitions = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(definitions)
        spec = {"name": answer.model_spec.name, "signature_name": "", "version": str(answer.model_spec.version.value)}
        return web.json_response({"model_spec": spec, "metadata": {"signature_def": _as_dict(definitions)}})

    async def status(request):
        return web.json_response(_as_dict(grpc_services.status(versions, *_model(request))))

    async def prometheus(_):
        current = versions.current
        text = counters.text(current and current.version)
        return web.Response(body=text, headers={"Content-Type": metrics.CONTENT_TYPE})

    for place in (_MODEL, _VERSION, _LABEL):
        app.router.add_post(place + ":predict", predict)
        app.router.add_get(place + "/metadata", metadata)
        app.router.add_get(place, status)
    app.router.add_get("/monitoring/prometheus/metrics", prometheus)
    return app


@web.middleware
async def _json_errors(request, handler):
    try:
        return await handler(request)
    except errors.RequestError as error:
        code, message = error.http_status, str(error)
    except web.HTTPException as error:
        code, message = error.status, f"{error.reason}: {request.method} {request.path[:200]}"
    except Exception:
        _LOG.exception("%s %s failed", request.method, request.path)
        code, message = 500, "The server failed on this request; its log says more."
    return web.json_response({"error": message}, status=code)


def _size(request, limit):
    """Bytes that a body has at most, by the headers; RESOURCE_EXHAUSTED (413) if they are too many."""
    if request.content_length is None or "Content-Encoding" in request.headers:
        return limit
    if request.content_length > limit:
        raise _too_large(limit, f"{request.content_length:,}")
    return request.content_length


async def _body(request, seconds):
    try:
        return await asyncio.wait_for(request.read(), seconds)
    except asyncio.TimeoutError:
        raise errors.deadline_exceeded(f"A request must be here within {seconds:g} s (--rest-timeout). Received: a part."
                                       ) from None
    except web.HTTPRequestEntityTooLarge:
        raise _too_large(request.client_max_size, "more") from None
    except (web.RequestPayloadError, http_exceptions.BadHttpMessage) as error:
        raise errors.invalid("The body must be what its headers say. Received: other bytes "
                             f"({type(error).__name__}).") from None


def _too_large(limit, received):
    return errors.too_large(f"The body of a REST request must have at most {limit:,} bytes (--max-rest-mb); gRPC takes larger "
                            f"ones. Received: {received}.")


def _model(request):
    version = request.match_info.get("version")
    return request.match_info["name"], None if version is None else int(version), request.match_info.get("label", "")


def _as_dict(message):
    return json_format.MessageToDict(message, preserving_proto_field_name=True, including_default_value_fields=True)

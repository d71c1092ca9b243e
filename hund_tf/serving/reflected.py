"""Descriptions of the services for gRPC reflection (grpcurl and the like), and the services' names."""

from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection
from tensorflow_serving.apis import (classification_pb2, get_model_metadata_pb2, get_model_status_pb2, inference_pb2,
                                     model_management_pb2, predict_pb2, regression_pb2)

PREDICTION, MODEL = "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"
# file, methods: name and the messages' name before Request and Response, modules of the messages
_SERVICES = {
    PREDICTION: ("prediction_service", {
        "Classify": "Classification", "Regress": "Regression", "Predict": "Predict", "MultiInference": "MultiInference",
        "GetModelMetadata": "GetModelMetadata"},
        (classification_pb2, regression_pb2, predict_pb2, inference_pb2, get_model_metadata_pb2)),
    MODEL: ("model_service", {"GetModelStatus": "GetModelStatus", "HandleReloadConfigRequest": "ReloadConfig"},
            (get_model_status_pb2, model_management_pb2)),
}


def enable(server):
    """Adds reflection to a `grpc.aio.Server`."""
    for service in _SERVICES:
        _describe(service)
    reflection.enable_server_reflection((*_SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)


def _describe(service):
    """Adds a service to the pool: tensorflow-serving-api 2.15's own *_service_pb2 cannot be imported with protobuf 4."""
    pool = descriptor_pool.Default()
    try:
        pool.FindServiceByName(service)
    except KeyError:
        package, _, name = service.rpartition(".")
        stem, methods, modules = _SERVICES[service]
        file = descriptor_pb2.FileDescriptorProto(
            name=f"tensorflow_serving/apis/{stem}.proto", package=package, syntax="proto3",
            dependency=[module.DESCRIPTOR.name for module in modules])
        description = file.service.add(name=name)
        for method, message in methods.items():
            description.method.add(name=method, input_type=f".{package}.{message}Request",
                                   output_type=f".{package}.{message}Response")
        pool.Add(file)

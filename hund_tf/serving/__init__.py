"""A server of TensorFlow Serving's API for development and single machines: a SavedModel folder in, gRPC and REST out.

Generic over any SavedModel in TensorFlow Serving's layout (BASE/<version>/saved_model.pb). What calls what:
server -> grpc_services, rest -> intake, predictor -> versions, scheduler -> servable -> tensors, errors.
"""

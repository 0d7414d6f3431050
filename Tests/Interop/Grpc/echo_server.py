"""The echo service on the C core's gRPC, with messages as plain bytes. Prints its port, later what it is asked to tell; ends when its input ends."""
import sys
import time
from concurrent import futures

import grpc


def unary(request, context):
    metadata = dict(context.invocation_metadata())
    act = metadata.get("act")
    if act == "fail":
        details = ("grpc-status-details-bin", b"\x08\x09\x12\x03why")
        context.set_trailing_metadata((("why", "because"), ("why-bin", b"\x00\xff"), details))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "Zustände 100 %")
    if act == "sleep":
        time.sleep(30)
    if act == "large":
        return bytes(5 * 1024 * 1024)
    if act == "metadata":
        context.send_initial_metadata((("seen", metadata["text"]), ("seen-bin", metadata["data-bin"])))
    return request


def collect(requests, context):
    return b"".join(requests)


def count(request, context):
    for i in range(request[0]):
        yield bytes([i])


def chat(requests, context):
    if dict(context.invocation_metadata()).get("act") == "tell":
        context.add_callback(lambda: print("cancelled", flush=True))
    yield from requests


class Echo(grpc.GenericRpcHandler):
    handlers = {
        "/test.v1.Echo/Unary": grpc.unary_unary_rpc_method_handler(unary),
        "/test.v1.Echo/Collect": grpc.stream_unary_rpc_method_handler(collect),
        "/test.v1.Echo/Count": grpc.unary_stream_rpc_method_handler(count),
        "/test.v1.Echo/Chat": grpc.stream_stream_rpc_method_handler(chat),
    }

    def service(self, call):
        return self.handlers.get(call.method)


compression = grpc.Compression.Gzip if "--gzip" in sys.argv else None
server = grpc.server(futures.ThreadPoolExecutor(8), handlers=(Echo(),), compression=compression)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
sys.stdin.read()
server.stop(None)

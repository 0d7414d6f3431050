"""Calls the echo service of the address given, with messages as plain bytes. Each check prints its name; a failure ends it."""
import os
import sys

import grpc

channel = grpc.insecure_channel(sys.argv[1])
unary = channel.unary_unary("/test.v1.Echo/Unary")
collect = channel.stream_unary("/test.v1.Echo/Collect")
count = channel.unary_stream("/test.v1.Echo/Count")
chat = channel.stream_stream("/test.v1.Echo/Chat")
WAIT = 20


def failure(action):
    try:
        action()
    except grpc.RpcError as error:
        return error
    raise AssertionError("the call succeeded")


def check_unary():
    assert unary(b"abc", timeout=WAIT) == b"abc"
    assert unary(b"", timeout=WAIT) == b""


def check_large():
    message = bytes(range(256)) * 4096 * 3
    assert unary(message, timeout=WAIT) == message
    assert list(chat(iter([message] * 4), timeout=WAIT)) == [message] * 4


def check_collect():
    assert collect((bytes([i]) for i in range(200)), timeout=WAIT) == bytes(range(200))


def check_count():
    assert list(count(b"\xc8", timeout=WAIT)) == [bytes([i]) for i in range(200)]


def check_chat():
    messages = [bytes([i]) * i for i in range(100)]
    assert list(chat(iter(messages), timeout=WAIT)) == messages


def check_metadata():
    metadata = (("act", "metadata"), ("text", "a b"), ("data-bin", b"\x00\x01\xfe\xff"))
    response, call = unary.with_call(b"x", metadata=metadata, timeout=WAIT)
    headers = dict(call.initial_metadata())
    trailers = dict(call.trailing_metadata())
    assert headers["seen"] == "a b", headers
    assert headers["seen-bin"] == b"\x00\x01\xfe\xff", headers
    assert trailers["end"] == "the end", trailers
    assert trailers["end-bin"] == b"\x00\xff", trailers


def check_status():
    error = failure(lambda: unary(b"x", metadata=(("act", "fail"),), timeout=WAIT))
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION, error
    assert error.details() == "Zustände 100 %", error.details()
    assert dict(error.trailing_metadata())["grpc-status-details-bin"] == b"\x08\x09\x12\x03why"


def check_exception():
    error = failure(lambda: unary(b"x", metadata=(("act", "throw"),), timeout=WAIT))
    assert error.code() == grpc.StatusCode.UNKNOWN, error


def check_unknown_method():
    error = failure(lambda: channel.unary_unary("/test.v1.Echo/Nothing")(b"x", timeout=WAIT))
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error
    assert "unimplemented" in error.details(), error.details()


def check_too_large():
    error = failure(lambda: unary(b"x" * (5 * 1024 * 1024), timeout=WAIT))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error


def check_deadline():
    error = failure(lambda: unary(b"x", metadata=(("act", "sleep"),), timeout=0.2))
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error


def check_cancel():
    call = chat(iter([b"x"] + []), metadata=(("act", "stay"),), timeout=WAIT)
    assert next(call) == b"x"
    call.cancel()
    assert call.code() == grpc.StatusCode.CANCELLED


def check_gzip():
    message = b"z" * 100000
    assert unary(message, compression=grpc.Compression.Gzip, timeout=WAIT) == message
    assert list(chat(iter([message]), compression=grpc.Compression.Gzip, timeout=WAIT)) == [message]


for name, check in list(globals().items()):
    if name.startswith("check_"):
        print(name, flush=True)
        check()

# Ends without a word to the server.
call = chat(iter([b"x"]), metadata=(("act", "vanish"),), timeout=WAIT)
assert next(call) == b"x"
print("all passed", flush=True)
os._exit(0)

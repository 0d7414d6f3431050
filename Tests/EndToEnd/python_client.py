"""Publishes to one broker, one half by calls and the other by one message of a stream, and reads back from another broker,
with nothing but grpcio and stubs made from our .proto files.

usage: python_client.py PROTO_FOLDER STUB_FOLDER PUBLISH_ADDRESS READ_ADDRESS TOPIC COUNT
prints one JSON line: the acknowledged offsets, the answers' leader, and what was read
"""
import json
import subprocess
import sys

protos, stubs, publish_address, read_address, topic, count = sys.argv[1:]
subprocess.run(
    [sys.executable, "-m", "grpc_tools.protoc", "-I", protos, "--python_out=" + stubs, "--grpc_python_out=" + stubs,
     "broker/v1/broker.proto"], check=True)
sys.path.insert(0, stubs)

import grpc  # noqa: E402
from broker.v1 import broker_pb2, broker_pb2_grpc  # noqa: E402

half = int(count) // 2


def publish(i):
    return broker_pb2.PublishRequest(
        topic=topic,
        batch=broker_pb2.RecordBatch(records=[broker_pb2.Record(
            key=b"key-%d" % i, value=b"value-%d" % i,
            headers=[broker_pb2.Header(name="number", value=b"%d" % i)])]),
        producer=broker_pb2.ProducerStamp(id=4711, sequence=i))


offsets = []
with grpc.insecure_channel(publish_address) as channel:
    broker = broker_pb2_grpc.BrokerStub(channel)
    for i in range(half):
        answer = broker.Publish(publish(i), timeout=20, wait_for_ready=True)
        offsets.append(answer.base_offset)
    together = broker_pb2.PublishStreamRequest(publishes=[
        broker_pb2.StreamedPublish(correlation=i, publish=publish(i)) for i in range(half, int(count))])
    for response in broker.PublishStream(iter([together]), timeout=20):
        for result in response.results:
            assert result.status == 0 and result.correlation == len(offsets), result
            offsets.append(result.response.base_offset)
    again = broker.Publish(broker_pb2.PublishRequest(
        topic=topic,
        batch=broker_pb2.RecordBatch(records=[broker_pb2.Record(key=b"key-0", value=b"value-0")]),
        producer=broker_pb2.ProducerStamp(id=4711, sequence=int(count) - 1)), timeout=20)
    try:
        broker.Publish(broker_pb2.PublishRequest(topic="not a topic", batch=broker_pb2.RecordBatch(
            records=[broker_pb2.Record(value=b"x")])), timeout=20)
        refused = "nothing"
    except grpc.RpcError as error:
        refused = error.code().name

read = []
with grpc.insecure_channel(read_address) as channel:
    broker = broker_pb2_grpc.BrokerStub(channel)
    for page in broker.Read(broker_pb2.ReadRequest(
            topic=topic, offset=offsets[0], follow=True, max_records=int(count)), timeout=20):
        for batch in page.batches:
            for i, record in enumerate(batch.batch.records):
                read.append([batch.base_offset + i, record.key.decode(), record.value.decode(), record.headers[0].name])

print(json.dumps({"offsets": offsets, "leader": answer.leader.name, "duplicate": again.duplicate,
                  "duplicate_offset": again.base_offset, "refused": refused, "read": read}))

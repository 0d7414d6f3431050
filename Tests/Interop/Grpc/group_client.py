"""Works for a consumer group, with nothing but grpcio and stubs made from our .proto files: half of the records by a stream, the
others by calls of Fetch and Settle at another broker. What it is given a first time and holds "twice" in it, it gives back once.

usage: group_client.py PROTO_FOLDER STUB_FOLDER STREAM_ADDRESS FETCH_ADDRESS GROUP FILTER COUNT
prints each value that it has finished
"""
import queue
import subprocess
import sys

protos, stubs, stream_address, fetch_address, group, topics, count = sys.argv[1:]
subprocess.run(
    [sys.executable, "-m", "grpc_tools.protoc", "-I", protos, "--python_out=" + stubs, "--grpc_python_out=" + stubs,
     "broker/v1/broker.proto"], check=True)
sys.path.insert(0, stubs)

import grpc  # noqa: E402
from broker.v1 import broker_pb2 as pb, broker_pb2_grpc  # noqa: E402

count = int(count)
finished = []


def wants_again(delivery):
    return delivery.attempt == 1 and any(b"twice" in record.value for record in delivery.batch.records)


def by_stream():
    """A consumer that leaves its credit to the server, until half of the records are finished."""
    requests = queue.Queue()
    requests.put(pb.ConsumeRequest(open=pb.ConsumeOpen(group=group, filters=[topics], consumer="python")))
    unanswered = {}
    with grpc.insecure_channel(stream_address) as channel:
        for response in broker_pb2_grpc.BrokerStub(channel).Consume(iter(requests.get, None), timeout=60):
            if response.HasField("opened"):
                assert response.opened.consumer == "python" and response.opened.ack_wait_ms == 30000, response
            elif response.HasField("delivery"):
                delivery = response.delivery
                ranges = [pb.DeliveredRange(token=delivery.token)]
                if wants_again(delivery) or len(finished) >= count // 2:
                    requests.put(pb.ConsumeRequest(nack=pb.Nack(correlation=1, ranges=ranges)))
                else:
                    unanswered[len(unanswered) + 2] = delivery
                    requests.put(pb.ConsumeRequest(ack=pb.Ack(correlation=len(unanswered) + 1, ranges=ranges)))
            elif response.settled.correlation > 1:
                assert response.settled.status == 0, response
                delivery = unanswered[response.settled.correlation]
                finished.extend(record.value for record in delivery.batch.records)
                if len(finished) >= count // 2:
                    requests.put(None)  # The server answers what is still to be settled, and ends the call.


def by_calls():
    with grpc.insecure_channel(fetch_address) as channel:
        broker = broker_pb2_grpc.BrokerStub(channel)
        while len(finished) < count:
            fetched = broker.Fetch(pb.FetchRequest(group=group, max_records=10, wait_ms=60000), timeout=70)
            assert fetched.deliveries, "nothing came in a minute, and %d are finished" % len(finished)
            settle = pb.SettleRequest()
            for delivery in fetched.deliveries:
                ranges = [pb.DeliveredRange(token=delivery.token)]
                if wants_again(delivery):
                    settle.settlements.add(nack=pb.Nack(ranges=ranges))
                else:
                    settle.settlements.add(ack=pb.Ack(ranges=ranges))
            results = broker.Settle(settle, timeout=20).results
            assert [result.status for result in results] == [0] * len(settle.settlements), results
            for delivery in fetched.deliveries:
                if not wants_again(delivery):
                    finished.extend(record.value for record in delivery.batch.records)


by_stream()
by_calls()
for value in finished:
    print(value.decode())

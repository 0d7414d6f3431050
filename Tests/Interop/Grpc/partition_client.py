"""Publishes keys to a topic of several partitions and computes where each belongs. Arguments: address, topic, partitions."""
import sys

import grpc

channel = grpc.insecure_channel(sys.argv[1])
publish = channel.unary_unary("/broker.v1.Broker/Publish")
TOPIC, PARTITIONS = sys.argv[2].encode(), int(sys.argv[3])
MASK = 2**64 - 1


def partition_of(key):
    """FNV-1a with 64 bits, finished with MurmurHash3's fmix64, modulo the partitions: see PublishRequest.partition."""
    value = 0xCBF29CE484222325
    for byte in key:
        value = ((value ^ byte) * 0x100000001B3) & MASK
    value = ((value ^ (value >> 33)) * 0xFF51AFD7ED558CCD) & MASK
    value = ((value ^ (value >> 33)) * 0xC4CEB9FE1A85EC53) & MASK
    return (value ^ (value >> 33)) % PARTITIONS


def field(number, content):
    """A length-delimited field; contents here are shorter than 128 bytes."""
    return bytes([number << 3 | 2, len(content)]) + content


def varints(message):
    """The number fields of a message, by their number; of the others nothing is wanted."""
    found, at = {}, 0

    def varint():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
    while at < len(message):
        tag = varint()
        if tag & 7 == 0:
            found[tag >> 3] = varint()
        else:
            length = varint()
            at += length
    return found


keys = [b"orders", b"a", b"42", "漢字".encode()] + [b"key-%d" % number for number in range(100)]
for key in keys:
    request = field(1, TOPIC) + field(2, field(1, field(1, key) + field(2, b"value")))
    stored = varints(publish(request, timeout=20))
    assert stored.get(6, 0) == partition_of(key), (key, stored, partition_of(key))
    assert stored.get(9) == PARTITIONS, stored
print("all passed")

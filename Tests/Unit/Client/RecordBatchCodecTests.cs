using System.Text;
using Broker.Client;
using Broker.Domain;
using Google.Protobuf;
using Xunit;
using Wire = Broker.Protocol.V1;

namespace Broker.Tests.Unit.Client;

public sealed class RecordBatchCodecTests
{
    [Fact]
    public void Encoded_batches_equal_those_of_Google_Protobuf()
    {
        var random = new Random(1);
        for (var round = 0; round < 500; round++)
        {
            var messages = Enumerable.Range(0, random.Next(1, 6)).Select(_ => RandomMessage(random)).ToList();

            var encoded = RecordBatchEncoder.Encode(messages);

            Assert.Equal(Reference(messages).ToByteArray(), encoded);
        }
    }

    [Fact]
    public void A_decoded_batch_equals_what_was_encoded()
    {
        var random = new Random(2);
        for (var round = 0; round < 500; round++)
        {
            var messages = Enumerable.Range(0, random.Next(1, 6)).Select(_ => RandomMessage(random)).ToList();
            var encoded = RecordBatchEncoder.Encode(messages);

            var at = 0;
            foreach (var message in messages)
            {
                Assert.True(RecordBatchDecoder.TryNext(encoded, ref at, out var bytes));
                var record = RecordBatchDecoder.Decode(bytes, "t", 3, DateTimeOffset.UnixEpoch);
                Assert.Equal(message.Key.ToArray(), record.Key.ToArray());
                Assert.Equal(message.Value.ToArray(), record.Value.ToArray());
                Assert.Equal(
                    (message.Headers ?? []).Select(h => (h.Key, Convert.ToHexString(h.Value.Span))),
                    record.Headers.Select(h => (h.Key, Convert.ToHexString(h.Value.Span))));
                Assert.Equal(message.TimeToLive, record.TimeToLive);
                Assert.Equal(message.Priority, record.Priority);
                Assert.Equal(message.DeliverAt, record.DeliverAt);
            }

            Assert.False(RecordBatchDecoder.TryNext(encoded, ref at, out _));
        }
    }

    [Fact]
    public void Fields_of_a_later_version_are_skipped()
    {
        // Field 9 as a number, field 10 as bytes, then value "v"; the record itself stands behind an unknown field of
        // the batch.
        byte[] batch = [0x48, 0x01, 0x0A, 0x08, 0x48, 0x05, 0x52, 0x01, 0x00, 0x12, 0x01, (byte)'v'];
        var at = 0;

        Assert.True(RecordBatchDecoder.TryNext(batch, ref at, out var bytes));

        Assert.Equal("v"u8.ToArray(), RecordBatchDecoder.Decode(bytes, "t", 0, default).Value.ToArray());
    }

    [Fact]
    public void A_batch_cut_short_is_an_error_and_never_a_short_record()
    {
        var whole =
            RecordBatchEncoder.Encode([new BrokerMessage { Key = "k"u8.ToArray(), Value = "value"u8.ToArray() }]);
        for (var length = 1; length < whole.Length; length++)
        {
            var cut = whole.AsMemory(0, length);
            Assert.Throws<InvalidDataException>(() =>
            {
                var at = 0;
                RecordBatchDecoder.TryNext(cut, ref at, out _);
            });
        }
    }

    [Fact]
    public void The_clients_limits_are_the_brokers_limits()
    {
        Assert.Equal(Limits.RecordBytes, MessageLimits.ValueBytes);
        Assert.Equal(Limits.KeyBytes, MessageLimits.KeyBytes);
        Assert.Equal(Limits.HeadersPerRecord, MessageLimits.HeadersPerMessage);
        Assert.Equal(Limits.HeaderBytes, MessageLimits.HeaderBytes);
        Assert.Equal(Limits.BatchBytes, MessageLimits.BatchBytes);
        Assert.Equal(Limits.RecordsPerBatch, MessageLimits.RecordsPerBatch);
    }

    [Fact]
    public void A_time_to_live_of_less_than_a_millisecond_is_refused_and_the_longest_one_is_kept()
    {
        foreach (var time in new[] { TimeSpan.Zero, TimeSpan.FromTicks(9_999), TimeSpan.FromDays(-1) })
        {
            var refusal = Assert.Throws<ArgumentException>(() =>
                RecordBatchEncoder.Encode([new BrokerMessage { TimeToLive = time }]));
            Assert.Contains("The time to live is", refusal.Message, StringComparison.Ordinal);
        }

        var longest = RecordBatchEncoder.Encode([new BrokerMessage { TimeToLive = TimeSpan.MaxValue }]);
        Assert.Equal(922_337_203_685_477UL, Wire.RecordBatch.Parser.ParseFrom(longest).Records[0].TtlMs);
        var unlimited = new Wire.Record { TtlMs = ulong.MaxValue }.ToByteArray();
        Assert.Equal(TimeSpan.MaxValue, RecordBatchDecoder.Decode(unlimited, "t", 0, default).TimeToLive);
    }

    [Fact]
    public void A_time_of_delivery_before_1970_is_refused_and_one_beyond_the_year_9999_is_its_end()
    {
        var refusal = Assert.Throws<ArgumentException>(() => RecordBatchEncoder.Encode(
            [new BrokerMessage { DeliverAt = DateTimeOffset.UnixEpoch.AddTicks(-1) }]));
        Assert.Contains("The time of delivery is", refusal.Message, StringComparison.Ordinal);
        var none = RecordBatchEncoder.Encode([new BrokerMessage { DeliverAt = DateTimeOffset.UnixEpoch }]);
        Assert.Equal([0x0A, 0x00], none);
        var last = new Wire.Record { DeliverAtUnixMs = long.MaxValue }.ToByteArray();
        Assert.Equal(DateTimeOffset.MaxValue, RecordBatchDecoder.Decode(last, "t", 0, default).DeliverAt);
    }

    private static Wire.RecordBatch Reference(List<BrokerMessage> messages)
    {
        var batch = new Wire.RecordBatch();
        foreach (var message in messages)
        {
            var record = new Wire.Record
            {
                Key = ByteString.CopyFrom(message.Key.Span),
                Value = ByteString.CopyFrom(message.Value.Span),
                TtlMs = (ulong)(message.TimeToLive?.TotalMilliseconds ?? 0),
                DeliverAtUnixMs = message.DeliverAt?.ToUnixTimeMilliseconds() ?? 0,
                Priority = (uint)message.Priority,
            };
            foreach (var (name, value) in message.Headers ?? [])
            {
                record.Headers.Add(new Wire.Header { Name = name, Value = ByteString.CopyFrom(value.Span) });
            }

            batch.Records.Add(record);
        }

        return batch;
    }

    private static BrokerMessage RandomMessage(Random random) => new()
    {
        Key = Bytes(random, random.Next(3) * 70),
        Value = Bytes(random, random.Next(4) switch { 0 => 0, 1 => 127, 2 => random.Next(300), _ => 20_000 }),
        Headers = random.Next(3) == 0
            ? null
            : [.. Enumerable.Range(0, random.Next(4)).Select(_ => RandomHeader(random))],
        TimeToLive = random.Next(2) == 0 ? null : TimeSpan.FromMilliseconds(1L << random.Next(45), 0),
        DeliverAt = random.Next(2) == 0 ? null : DateTimeOffset.FromUnixTimeMilliseconds(1L << random.Next(47)),
        Priority = random.Next(10),
    };

    private static KeyValuePair<string, ReadOnlyMemory<byte>> RandomHeader(Random random) =>
        new(Name(random), Bytes(random, random.Next(200)));

    private static string Name(Random random)
    {
        var name = new StringBuilder();
        for (var i = random.Next(20); i > 0; i--)
        {
            name.Append("aé→😀".EnumerateRunes().ElementAt(random.Next(4)));
        }

        return name.ToString();
    }

    private static ReadOnlyMemory<byte> Bytes(Random random, int length)
    {
        var bytes = new byte[length];
        random.NextBytes(bytes);
        return bytes;
    }
}

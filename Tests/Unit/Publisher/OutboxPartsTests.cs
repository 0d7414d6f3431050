using Broker.Protocol.V1;
using Google.Protobuf;
using Publisher;
using Publisher.Api;
using Publisher.Outbox;
using Xunit;
using Record = Broker.Protocol.V1.Record;

namespace Broker.Tests.Unit.PublisherService;

/// <summary>The encoding of batches, the checks before the outbox, and the bound of waiting bytes.</summary>
public sealed class OutboxPartsTests
{
    [Theory]
    [InlineData(0, 0, 0)]
    [InlineData(1, 1, 0)]
    [InlineData(127, 128, 2)]
    [InlineData(8_192, 1_048_576, 64)]
    public void A_batch_is_encoded_as_protobuf_encodes_it(int keyBytes, int valueBytes, int headers)
    {
        var batch = new RecordBatch();
        for (var i = 0; i < 2; i++)
        {
            var record = new Record
            {
                Key = ByteString.CopyFrom(new byte[keyBytes]),
                Value = ByteString.CopyFrom(Enumerable.Repeat((byte)i, valueBytes).ToArray()),
            };
            record.Headers.Add(Enumerable.Range(0, headers).Select(
                at => new Header { Name = $"name-{at}", Value = ByteString.CopyFromUtf8("värde") }));
            batch.Records.Add(record);
        }

        var records = batch.Records.Select(record => MessageCheck.Make("orders", record).Record).ToList();
        Assert.Equal(batch.ToByteArray(), RecordBytes.EncodeBatch(records));
        Assert.Equal(batch.CalculateSize(), records.Sum(record => record.FieldBytes));
    }

    [Theory]
    [InlineData("", PublishFailure.Invalid)]
    [InlineData("a..b", PublishFailure.Invalid)]
    [InlineData("orders.*", PublishFailure.Invalid)]
    [InlineData("$internal", PublishFailure.Invalid)]
    [InlineData("a\u200Bb", PublishFailure.Invalid)]
    public void A_bad_topic_is_refused_before_it_is_stored(string topic, object failure)
    {
        var refusal = Assert.Throws<PublishException>(() => MessageCheck.Make(topic, new Record()));
        Assert.Equal(failure, refusal.Failure);
    }

    [Fact]
    public void Times_and_a_priority_go_to_the_brokers_and_come_back_from_the_table()
    {
        var record = new Record
        {
            Value = ByteString.CopyFromUtf8("v"),
            Headers = { new Header { Name = "a" } },
            TtlMs = 1_000,
            DeliverAtUnixMs = long.MaxValue,
            Priority = 9,
        };
        var batch = new RecordBatch { Records = { record } };

        var made = MessageCheck.Make("orders", record).Record;
        var fromTable = new RecordBytes(made.Key, made.Value, made.Rest!.Value);

        Assert.Equal(batch.ToByteArray(), RecordBytes.EncodeBatch([made]));
        Assert.Equal(batch.ToByteArray(), RecordBytes.EncodeBatch([fromTable]));
        Assert.Equal(batch.CalculateSize(), made.FieldBytes);
        Assert.Null(MessageCheck.Make("orders", new Record()).Record.Rest);
    }

    [Fact]
    public void A_time_or_a_priority_that_the_brokers_would_refuse_is_refused_before_it_is_stored()
    {
        foreach (var record in new[] { new Record { Priority = 10 }, new Record { DeliverAtUnixMs = -1 } })
        {
            var refusal = Assert.Throws<PublishException>(() => MessageCheck.Make("orders", record));
            Assert.Equal(PublishFailure.Invalid, refusal.Failure);
        }
    }

    [Fact]
    public void When_a_message_is_to_be_delivered_makes_no_other_message_of_it_and_how_long_it_lives_does()
    {
        static byte[] Of(Record record) => MessageCheck.Make("orders", record, "k").Once!.Fingerprint;

        Assert.Equal(Of(new Record()), Of(new Record { DeliverAtUnixMs = 5 }));
        Assert.Equal(Of(new Record { TtlMs = 1 }), Of(new Record { TtlMs = 1, DeliverAtUnixMs = 5 }));
        Assert.NotEqual(Of(new Record()), Of(new Record { TtlMs = 1 }));
        Assert.NotEqual(Of(new Record { TtlMs = 1 }), Of(new Record { Priority = 1 }));
    }

    [Fact]
    public void A_header_name_that_was_not_UTF8_is_refused_rather_than_changed()
    {
        var record = new Record { Headers = { new Header { Name = "a\uFFFD" } } };
        var refusal = Assert.Throws<PublishException>(() => MessageCheck.Make("orders", record));
        Assert.Equal(PublishFailure.Invalid, refusal.Failure);
    }

    [Fact]
    public void A_key_names_a_message_by_all_of_its_parts()
    {
        var first = Fingerprint("orders", "k", "v");
        Assert.Equal(first, Fingerprint("orders", "k", "v"));
        Assert.NotEqual(first, Fingerprint("bills", "k", "v"));
        Assert.NotEqual(first, Fingerprint("orders", "", "kv"));
        Assert.NotEqual(first, Fingerprint("orders", "kv", ""));
        Assert.NotEqual(first, Fingerprint("orders", "k", "v", new Header { Name = "n" }));
    }

    [Fact]
    public void Oversized_parts_are_refused_with_the_limit_in_the_message()
    {
        AssertTooLarge(
            new Record { Value = ByteString.CopyFrom(new byte[PublisherLimits.RecordBytes + 1]) }, "1,048,576");
        AssertTooLarge(new Record { Key = ByteString.CopyFrom(new byte[PublisherLimits.KeyBytes + 1]) }, "8,192");
        AssertTooLarge(
            new Record { Headers = { new Header { Name = "n", Value = ByteString.CopyFrom(new byte[8 * 1024]) } } },
            "8,192");
        var many = new Record();
        many.Headers.Add(Enumerable.Range(0, 65).Select(_ => new Header()));
        AssertTooLarge(many, "64");
    }

    [Fact]
    public async Task A_full_gate_lets_waiters_in_by_their_turn()
    {
        var gate = new ByteGate(10);
        await gate.EnterAsync(8, CancellationToken.None);
        var large = gate.EnterAsync(9, CancellationToken.None);
        var small = gate.EnterAsync(1, CancellationToken.None);
        Assert.False(large.IsCompleted || small.IsCompleted);
        gate.Exit(8);
        await large;
        await small;
        Assert.Equal(10, gate.InsideBytes);
    }

    [Fact]
    public async Task A_waiter_that_gives_up_leaves_the_gate_to_the_next()
    {
        var gate = new ByteGate(10);
        await gate.EnterAsync(8, CancellationToken.None);
        using var impatient = new CancellationTokenSource();
        var large = gate.EnterAsync(9, impatient.Token);
        var small = gate.EnterAsync(2, CancellationToken.None);
        await impatient.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => large);
        await small;
        Assert.Equal(10, gate.InsideBytes);
    }

    [Fact]
    public async Task Something_larger_than_the_gate_enters_when_it_is_empty()
    {
        var gate = new ByteGate(10);
        await gate.EnterAsync(50, CancellationToken.None);
        gate.Exit(50);
        Assert.Equal(0, gate.InsideBytes);
    }

    private static byte[] Fingerprint(string topic, string key, string value, params Header[] headers)
    {
        var record = new Record { Key = ByteString.CopyFromUtf8(key), Value = ByteString.CopyFromUtf8(value) };
        record.Headers.AddRange(headers);
        return MessageCheck.Make(topic, record, "x").Once!.Fingerprint;
    }

    private static void AssertTooLarge(Record record, string limit)
    {
        var refusal = Assert.Throws<PublishException>(() => MessageCheck.Make("orders", record));
        Assert.Equal(PublishFailure.TooLarge, refusal.Failure);
        Assert.Contains(limit, refusal.Message, StringComparison.Ordinal);
    }
}

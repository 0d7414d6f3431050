using Broker.Diagnostics;
using Broker.Domain;
using Broker.Replication;
using Broker.State;
using Broker.Topics;
using Xunit;

namespace Broker.Tests.Unit.Topics;

public sealed class AtomicPublishTests
{
    private readonly Entries _entries = new();
    private readonly TopicStateMachine _machine = new(new NoSink());

    [Fact]
    public void All_parts_are_stored_one_after_the_other()
    {
        Apply(Publish("a", 3));
        var result = Apply(Entries.Atomic(Publish("a", 2), Publish("b", 1), Publish("a", 4)));
        Assert.Equal((RefusalCode.None, false, 7), (result.Code, result.Duplicate, result.Count));
        Assert.Equal([3, 0, 5], result.Parts!.Select(static part => part.BaseOffset));
        Assert.Equal([2, 1, 4], result.Parts!.Select(static part => part.Count));
        Assert.Equal(new[] { 0, 1, 0 }, result.Parts!.Select(static part => part.Topic));
        Assert.Equal((9L, 1L), (Next("a"), Next("b")));
    }

    [Fact]
    public void Batches_are_found_where_they_are_in_the_entry()
    {
        var entry = _entries.Of(Publish("x"), Entries.Atomic(Publish("a", 2), Publish("b", 3)), Publish("a", 1));
        _machine.Apply(entry, []);
        foreach (var (topic, offset, count) in new[] { ("a", 0L, 2), ("b", 0, 3), ("a", 2, 1), ("x", 0, 1) })
        {
            var found = new List<BatchLocation>();
            Assert.True(_machine.TryGetTopic(topic, out var view));
            Assert.True(view.TryLocate(offset, offset + count, 1_000, found, out _));
            var batch = Assert.Single(found);
            Assert.Equal(
                Entries.Batch(count), entry.Body.Span.Slice(batch.Position, batch.Length).ToArray());
        }
    }

    [Fact]
    public void When_a_later_part_is_refused_nothing_is_stored_and_no_topic_comes_to_be()
    {
        Apply(Publish("a", 3));
        var hash = Next("a");
        foreach (var (bad, code, expected) in new[]
        {
            (Publish("b", 1, expected: 1), RefusalCode.UnexpectedOffset, 0UL),
            (Publish("a", 1, expected: 3), RefusalCode.UnexpectedOffset, 4UL),
            (Publish("a", 1, number: 7), RefusalCode.PartitionsChanged, 0UL),
            (Publish("a", 1, new PublishStamp(5, 0, ulong.MaxValue)), RefusalCode.InvalidArgument, 0UL),
        })
        {
            var result = Apply(Entries.Atomic(Publish("a", 1), bad, Publish("c", 1)));
            Assert.Equal((code, 1, expected), (result.Code, result.Part, result.Expected));
            Assert.Null(result.Parts);
            Assert.Equal(hash, Next("a"));
            Assert.Equal(1, _machine.TopicCount);
        }
    }

    [Fact]
    public void A_condition_counts_the_parts_before_it()
    {
        var result = Apply(Entries.Atomic(
            Publish("a", 2, expected: 0), Publish("a", 3, expected: 2), Publish("b", 1, expected: 0)));
        Assert.Equal([0, 2, 0], result.Parts!.Select(static part => part.BaseOffset));
        Assert.Equal(5, Next("a"));
    }

    [Fact]
    public void A_repetition_is_answered_as_the_first_time_and_a_mix_is_refused()
    {
        byte[] one = Publish("a", 2, new PublishStamp(7, 1, 0));
        byte[] other = Publish("b", 3, new PublishStamp(7, 1, 0));
        byte[] next = Publish("a", 1, new PublishStamp(7, 1, 2));
        var first = Apply(Entries.Atomic(one, other, next));
        Assert.Equal([0, 0, 2], first.Parts!.Select(static part => part.BaseOffset));
        for (var i = 0; i < 3; i++)
        {
            var again = Apply(Entries.Atomic(one, other, next));
            Assert.Equal((RefusalCode.None, true), (again.Code, again.Duplicate));
            Assert.All(again.Parts!, static part => Assert.True(part.Duplicate));
            Assert.Equal([0, 0, 2], again.Parts!.Select(static part => part.BaseOffset));
            Assert.Equal((3L, 3L), (Next("a"), Next("b")));
        }

        var mixed = Apply(Entries.Atomic(Publish("c", 1, new PublishStamp(7, 1, 0)), one));
        Assert.Equal((RefusalCode.PartlyStored, 1), (mixed.Code, mixed.Part));
        mixed = Apply(Entries.Atomic(other, Publish("b", 1, new PublishStamp(7, 1, 3))));
        Assert.Equal((RefusalCode.PartlyStored, 0), (mixed.Code, mixed.Part));
        Assert.Equal((3L, 3L, 2), (Next("a"), Next("b"), _machine.TopicCount));
    }

    [Fact]
    public void Sequences_of_one_producer_in_one_topic_follow_from_part_to_part()
    {
        Apply(Publish("a", 1, new PublishStamp(7, 1, 0)));
        var gap = Apply(Entries.Atomic(
            Publish("a", 1, new PublishStamp(7, 1, 1)), Publish("a", 1, new PublishStamp(7, 1, 3))));
        Assert.Equal((RefusalCode.OutOfSequence, 1, 2UL), (gap.Code, gap.Part, gap.Expected));
        var older = Apply(Entries.Atomic(
            Publish("a", 1, new PublishStamp(7, 2, 0)), Publish("a", 1, new PublishStamp(7, 1, 1))));
        Assert.Equal((RefusalCode.ProducerFenced, 1, 2UL), (older.Code, older.Part, older.Expected));
        var right = Apply(Entries.Atomic(
            Publish("a", 1, new PublishStamp(7, 1, 1)),
            Publish("a", 2, new PublishStamp(7, 1, 2)),
            Publish("a", 1, new PublishStamp(7, 2, 9))));
        Assert.Equal([1, 2, 4], right.Parts!.Select(static part => part.BaseOffset));
        Assert.Equal(5, Apply(Publish("a", 1, new PublishStamp(7, 2, 10))).BaseOffset);
    }

    [Fact]
    public void Limits_count_all_parts()
    {
        var machine = new TopicStateMachine(new NoSink(), new TopicBounds
        {
            Topics = 2,
            ProducersPerTopic = 2,
            Producers = 3,
        });
        CommandResult Try(params byte[][] parts) => Entries.Apply(machine, _entries.Of(Entries.Atomic(parts)));
        var topics = Try(Publish("a"), Publish("b"), Publish("a"), Publish("c"));
        Assert.Equal((RefusalCode.ResourceExhausted, 3), (topics.Code, topics.Part));
        Assert.Equal(0, machine.TopicCount);
        var ofTopic = Try(Stamped("a", 1), Stamped("a", 2), Stamped("a", 3));
        Assert.Equal((RefusalCode.TooManyProducers, 2), (ofTopic.Code, ofTopic.Part));
        var ofShard = Try(Stamped("a", 1), Stamped("a", 2), Stamped("b", 1), Stamped("b", 2));
        Assert.Equal((RefusalCode.TooManyProducers, 3), (ofShard.Code, ofShard.Part));
        Assert.Equal(RefusalCode.None, Try(Stamped("a", 1), Stamped("a", 2), Stamped("b", 1)).Code);
        Assert.Equal(RefusalCode.TooManyProducers, Try(Stamped("b", 2)).Code);
    }

    [Fact]
    public void The_traces_of_all_parts_are_found()
    {
        const string Trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        var message = new Broker.Client.BrokerMessage
        {
            Value = "x"u8.ToArray(),
            Headers = [new("traceparent", System.Text.Encoding.ASCII.GetBytes(Trace))],
        };
        var batch = Broker.Client.RecordBatchEncoder.Encode([message]);
        var entry = _entries.Of(Entries.Atomic(
            Entries.PublishCommand("a", batch.ToArray()), Entries.PublishCommand("b", batch.ToArray())));
        var found = new TracedPublish[Limits.TracedPublishesPerEntry];
        Assert.Equal(2, _machine.FindTraces(entry, found));
        Assert.Equal(["a", "b"], found.Take(2).Select(static each => each.Topic));
    }

    [Fact]
    public void An_entry_with_such_a_command_is_read_by_its_example()
    {
        var bytes = Entries.Atomic(Publish("a"), Publish("b"));
        Assert.Equal("4300000009" + "1D000000" + "01" + "0161", Convert.ToHexString(bytes)[..24]);
        var parts = 0;
        foreach (var command in new CommandSequence(bytes))
        {
            Assert.Equal(CommandKind.PublishAtomic, command.Kind);
            foreach (var part in AtomicCommands.Parts(command))
            {
                Assert.Equal(Entries.Batch(1), TopicCommands.ReadPublish(part).Batch.ToArray());
                parts++;
            }
        }

        Assert.Equal(2, parts);
    }

    private static byte[] Stamped(string topic, ulong producer) => Publish(topic, 1, new PublishStamp(producer, 0, 0));

    private static byte[] Publish(
        string topic, int records = 1, PublishStamp stamp = default, long? expected = null, int number = -1) =>
        Entries.PublishCommand(topic, Entries.Batch(records), records, stamp, expected, number);

    private CommandResult Apply(byte[] command) => Entries.Apply(_machine, _entries.Of(command));

    private long Next(string topic) => _machine.TryGetTopic(topic, out var view) ? view.NextOffset : 0;
}

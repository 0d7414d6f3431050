using Broker.Client;
using Broker.Domain;
using Broker.Replication;
using Broker.Topics;
using Xunit;

namespace Broker.Tests.Unit.Topics;

public sealed class TopicStateMachineTests
{
    private readonly Entries _entries = new();
    private readonly AppliedLog _applied = new();
    private readonly TopicStateMachine _machine;

    private const long ExpiryMs = 10_000;
    private static readonly TopicBounds Bounds =
        new() { Topics = 3, ProducersPerTopic = 2, Producers = 3, ProducerExpiryMs = ExpiryMs };

    public TopicStateMachineTests()
    {
        _machine = new TopicStateMachine(_applied, Bounds);
    }

    [Fact]
    public void Offsets_of_a_topic_begin_at_zero_and_have_no_gaps()
    {
        var first = Publish("a", records: 3);
        Publish("b", records: 5);
        var second = Publish("a", records: 2);
        Assert.Equal((0L, 3, 1_010L), (first.BaseOffset, first.Count, first.TimestampUnixMs));
        Assert.Equal((3L, 2, 1_030L), (second.BaseOffset, second.Count, second.TimestampUnixMs));
        Assert.True(_machine.TryGetTopic("a", out var topic));
        Assert.Equal((0L, 5L, 1_030L), (topic.FirstOffset, topic.NextOffset, topic.LastTimestampUnixMs));
        Assert.False(_machine.TryGetTopic("c", out _));
        Assert.False(_machine.TryGetTopic(new string('x', 5_000), out _));
    }

    [Fact]
    public void One_entry_holds_many_commands_and_each_has_its_result_and_place()
    {
        var entry = _entries.Of(
            Entries.PublishCommand("a", Entries.Batch(2), 2),
            Entries.PublishCommand("b", Entries.Batch(1)),
            Entries.PublishCommand("a", Entries.Batch(3), 3));
        var results = new CommandResult[3];
        _machine.Apply(entry, results);
        Assert.Equal([0L, 0L, 2L], results.Select(result => result.BaseOffset));

        Assert.Equal(["a 0+2", "b 0+1", "a 2+3"], _applied.Seen);
        Assert.True(_machine.TryGetTopic("a", out var topic));
        var location = Located.At(topic, 4)!.Value;
        Assert.Equal((2L, 3, entry.Index), (location.BaseOffset, location.Count, location.LogIndex));
        Assert.Equal(Entries.Batch(3), entry.Body.Slice(location.Position, location.Length).ToArray());
    }

    [Fact]
    public void Results_are_not_needed()
    {
        _machine.Apply(_entries.Publish("a"), []);
        Assert.True(_machine.TryGetTopic("a", out var topic));
        Assert.Equal(1, topic.NextOffset);
    }

    [Fact]
    public void A_topic_beyond_the_limit_is_refused_and_known_ones_go_on()
    {
        Publish("a");
        Publish("b");
        Publish("c");
        Assert.Equal(RefusalCode.ResourceExhausted, Publish("d").Code);
        Assert.False(_machine.TryGetTopic("d", out _));
        Assert.Equal(RefusalCode.None, Publish("a").Code);
        Assert.Equal(3, _machine.TopicCount);
    }

    [Fact]
    public void An_unknown_producer_may_start_at_any_sequence()
    {
        Assert.Equal(0, Publish("a", 2, id: 1, sequence: 500).BaseOffset);
        Assert.Equal(2, Publish("a", 1, id: 1, sequence: 502).BaseOffset);
    }

    [Fact]
    public void A_first_batch_that_comes_after_the_second_is_never_taken_for_a_repetition()
    {
        Publish("a", 2, id: 1, sequence: 2);
        var late = Publish("a", 2, id: 1, sequence: 0);
        Assert.Equal((RefusalCode.OutOfSequence, 4UL, false), (late.Code, late.Expected, late.Duplicate));
        Assert.Equal(2, Publish("a", 1, id: 1, sequence: 4).BaseOffset);
    }

    [Fact]
    public void A_repeated_batch_is_answered_with_its_first_offset_and_not_stored_again()
    {
        var first = Publish("a", 3, id: 1);
        Publish("a", 1, id: 1, sequence: 3);
        var again = Publish("a", 3, id: 1);
        Assert.Equal(first with { Duplicate = true }, again);
        Assert.Equal(["a 0+3", "a 3+1"], _applied.Seen);
    }

    [Fact]
    public void Sixteen_batches_are_remembered_and_older_ones_are_duplicates_without_offset()
    {
        for (var i = 0; i < 17; i++)
        {
            Assert.Equal(i * 2, Publish("a", 2, id: 1, sequence: (ulong)i * 2).BaseOffset);
        }

        for (var i = 1; i < 17; i++)
        {
            var again = Publish("a", 2, id: 1, sequence: (ulong)i * 2);
            Assert.Equal((i * 2L, true), (again.BaseOffset, again.Duplicate));
        }

        var forgotten = Publish("a", 2, id: 1, sequence: 0);
        Assert.Equal(
            (RefusalCode.None, -1L, true, 2),
            (forgotten.Code, forgotten.BaseOffset, forgotten.Duplicate, forgotten.Count));
    }

    [Fact]
    public void A_batch_cut_differently_is_not_taken_for_the_remembered_one()
    {
        Publish("a", 4, id: 1);
        var part = Publish("a", 2, id: 1, sequence: 0);
        Assert.Equal((-1L, true), (part.BaseOffset, part.Duplicate));
    }

    [Theory]
    [InlineData(5, 1)]
    [InlineData(3, 2)]
    [InlineData(0, 5)]
    public void A_gap_or_a_partial_overlap_is_out_of_sequence(ulong sequence, int records)
    {
        Publish("a", 4, id: 1);
        var refused = Publish("a", records, id: 1, sequence: sequence);
        Assert.Equal((RefusalCode.OutOfSequence, 4UL), (refused.Code, refused.Expected));
        Assert.Equal(4, Publish("a", 1, id: 1, sequence: 4).BaseOffset);
    }

    [Fact]
    public void A_newer_epoch_starts_over_and_fences_the_older()
    {
        Publish("a", 4, id: 1, epoch: 2);
        Assert.Equal(4, Publish("a", 1, id: 1, epoch: 5, sequence: 0).BaseOffset);
        var fenced = Publish("a", 1, id: 1, epoch: 4, sequence: 4);
        Assert.Equal((RefusalCode.ProducerFenced, 5UL), (fenced.Code, fenced.Expected));
        var again = Publish("a", 1, id: 1, epoch: 5);
        Assert.Equal((4L, true), (again.BaseOffset, again.Duplicate));
    }

    [Fact]
    public void A_sequence_that_would_wrap_is_refused()
    {
        Assert.Equal(RefusalCode.InvalidArgument, Publish("a", 2, id: 1, sequence: ulong.MaxValue - 1).Code);
        Assert.False(_machine.TryGetTopic("a", out _));
    }

    [Fact]
    public void Producer_is_never_forgotten_to_make_room_for_another()
    {
        Publish("a", id: 1);
        Publish("a", id: 2);
        Assert.Equal(RefusalCode.TooManyProducers, Publish("a", id: 3).Code);
        Assert.True(Publish("a", id: 1).Duplicate);
        Assert.Equal(RefusalCode.None, Publish("a", id: 1, sequence: 1).Code);
        Assert.Equal(RefusalCode.None, Publish("a").Code);
    }

    [Fact]
    public void Producers_of_all_topics_together_are_bounded_too()
    {
        Publish("a", id: 1);
        Publish("a", id: 2);
        Publish("b", id: 1);
        Assert.Equal(RefusalCode.TooManyProducers, Publish("b", id: 2).Code);
        Assert.Equal(RefusalCode.TooManyProducers, Publish("c", id: 1).Code);
        Assert.False(_machine.TryGetTopic("c", out _));
        Assert.Equal(RefusalCode.None, Publish("b", id: 1, sequence: 1).Code);
    }

    [Fact]
    public void Producer_is_forgotten_when_it_was_silent_for_long_by_the_logs_time()
    {
        Publish("a", id: 1);
        _entries.Advance(ExpiryMs - 100);
        Publish("a", id: 2);
        Assert.True(Publish("a", id: 1).Duplicate);

        // A repetition is not a sign of life: what is remembered gets older all the same.
        _entries.Advance(200);
        Publish("b");
        Assert.Equal(RefusalCode.None, Publish("a", id: 3, sequence: 7).Code);
        Assert.True(Publish("a", id: 2).Duplicate);
        Assert.Equal(RefusalCode.TooManyProducers, Publish("a", id: 1).Code);
    }

    [Fact]
    public void Producers_are_known_per_topic()
    {
        Publish("a", 3, id: 1);
        Assert.False(Publish("b", 3, id: 1).Duplicate);
    }

    [Fact]
    public void Topics_are_listed_by_name_through_a_filter()
    {
        Publish("b.x");
        Publish("a.x");
        Publish("a.y");
        Assert.Equal(["a.x", "a.y", "b.x"], _machine.ListTopics().Select(topic => topic.Name));
        Assert.Equal(["a.x", "a.y"], _machine.ListTopics(TopicFilter.Parse("a.*")).Select(topic => topic.Name));
        Assert.Equal(["b.x"], _machine.ListTopics(TopicFilter.Parse("b.x")).Select(topic => topic.Name));
        Assert.Empty(_machine.ListTopics(TopicFilter.Parse("c")));
    }

    [Fact]
    public void Replicas_that_apply_the_same_have_the_same_hash_and_others_do_not()
    {
        var random = new Random(11);
        var log = Enumerable.Range(0, 500)
            .Select(_ => _entries.Publish(
                $"t{random.Next(4)}", random.Next(1, 4), (ulong)random.Next(4), 0, (ulong)random.Next(20)))
            .ToList();
        var one = new TopicStateMachine(new AppliedLog(), Bounds);
        var two = new TopicStateMachine(new AppliedLog(), Bounds);
        var seen = new HashSet<ulong>();
        foreach (var entry in log)
        {
            one.Apply(entry, new CommandResult[1]);
            two.Apply(entry, []);
            Assert.Equal(one.StateHash, two.StateHash);
            Assert.True(seen.Add(one.StateHash));
        }
    }

    [Fact]
    public void A_broken_log_breaks_an_invariant()
    {
        var entry = _entries.Publish("a");
        _machine.Apply(entry, []);
        Assert.Throws<InvariantException>(() => _machine.Apply(entry, []));
        var body = Entries.PublishCommand("a", Entries.Batch(1));
        Assert.Throws<InvariantException>(() => _machine.Apply(_entries.Raw(2, body), []));
        Assert.Throws<InvariantException>(() => _machine.Apply(_entries.Raw(0, body), []));
    }

    [Fact]
    public void Applying_to_a_known_topic_allocates_nothing_but_the_index()
    {
        var log = Enumerable.Range(0, 2_000).Select(_ => _entries.Publish("a")).ToArray();
        var machine = new TopicStateMachine(new NoSink());
        foreach (var entry in log.AsSpan(0, 1_000))
        {
            machine.Apply(entry, []);
        }

        var before = GC.GetAllocatedBytesForCurrentThread();
        foreach (var entry in log.AsSpan(1_000))
        {
            machine.Apply(entry, []);
        }

        // 1,000 more batches need one chunk of 1,024 slots of 40 bytes and a bigger directory.
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 50_000);
    }

    [Fact]
    public async Task Readers_on_other_threads_see_whole_batches_only()
    {
        var machine = new TopicStateMachine(new NoSink());
        using var done = new CancellationTokenSource();
        var reader = Task.Run(() => ReadUntil(machine, done.Token), TestContext.Current.CancellationToken);
        for (var i = 0; i < 100_000; i++)
        {
            machine.Apply(_entries.Publish("a", (i % 5) + 1), []);
        }

        await done.CancelAsync();
        Assert.True(await reader > 0, "the reader saw no batch");
    }

    private static long ReadUntil(TopicStateMachine machine, CancellationToken done)
    {
        var checkedBatches = 0L;
        while (!done.IsCancellationRequested || checkedBatches == 0)
        {
            if (!machine.TryGetTopic("a", out var topic))
            {
                continue;
            }

            // i-th batch: (i % 5) + 1 records, entry i + 1; its base follows from i.
            var next = topic.NextOffset;
            var batch = Located.At(topic, next - 1)!.Value;
            var ordinal = batch.LogIndex.Value - 1;
            Assert.Equal(next, batch.EndOffset);
            Assert.Equal((ordinal % 5) + 1, batch.Count);
            Assert.Equal(batch.BaseOffset, (ordinal / 5 * 15) + (ordinal % 5 * ((ordinal % 5) + 1) / 2));
            var round = (next - 1) / 15 / 2;
            Assert.Equal((round * 5) + 1, Located.At(topic, round * 15)!.Value.LogIndex.Value);
            checkedBatches++;
        }

        return checkedBatches;
    }

    private CommandResult Publish(string topic, int records = 1, ulong id = 0, uint epoch = 0, ulong sequence = 0) =>
        Entries.Apply(_machine, _entries.Publish(topic, records, id, epoch, sequence));

    private sealed class AppliedLog : IAppliedBatches
    {
        public bool IsAwaited => false;

        public List<string> Seen { get; } = [];

        public void OnAppended(
            string topic, long baseOffset, int count, long timestampUnixMs, LogEntry entry, int position, int length) =>
            Seen.Add($"{topic} {baseOffset}+{count}");

        public void OnThinned(string topic, long baseOffset, int count)
        {
            // Nobody asks for it.
        }

        public void OnTopicChanged(string topic)
        {
            // Nobody waits for it.
        }

        public void OnRestored() => Seen.Add("restored");
    }
}

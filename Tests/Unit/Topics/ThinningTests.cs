using System.Buffers;
using Broker.Delivery;
using Broker.Domain;
using Broker.Replication;
using Broker.State;
using Broker.Topics;
using Xunit;

namespace Broker.Tests.Unit.Topics;

/// <summary>What is taken out of entries, and that nobody can tell: neither the state nor a reader.</summary>
public sealed class ThinningTests
{
    private const int EntriesPerSegment = 20;

    private readonly Entries _entries = new();
    private readonly IndexFolder _folder = new();

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public void Thinned_publishes_have_the_documented_bytes()
    {
        var entry = _entries.Of(
            Entries.PublishCommand("a", Entries.Batch(2), 2),
            Entries.PublishCommand("a", [0x0A, 0x00]));
        var machine = NewMachine();
        machine.Apply(_entries.Publish("x"), []);
        machine.Apply(_entries.Publish("y"), []);
        machine.Apply(_entries.Publish("z"), []);
        Assert.Equal(0, Entries.Apply(machine, _entries.Publish("a", 5)).BaseOffset);
        machine.Apply(Copy(entry, 6), []);
        machine.Apply(Copy(_entries.Purge("a", 7), 7), []);
        _folder.Seal(machine, 1, 7);
        var thinned = Thinner(machine, 1, 7).Thin(Copy(entry, 6));
        Assert.Equal(
            "00000000" + Crc(entry) + "44000000"
            + "08000000" + "81" + "0161" + "00" + "02" + "1F" + "04" + "00"
            + "0F000000" + "81" + "0161" + "00" + "01" + "42" + "02" + "00" + "03" + "07" + "000102" + "0A00",
            Convert.ToHexString(thinned.Body.Span));
        Assert.True(CommandSequence.IsThinned(thinned.Body.Span));
        Assert.Equal((entry.BodyCrc32C, entry.Body.Length), CommandSequence.WholeOf(thinned));
        Assert.True(thinned.BodyIsIntact());
        Assert.Same(thinned, Thinner(machine, 1, 7).Thin(thinned));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(6)]
    public async Task A_thinned_log_gives_the_same_state_and_the_same_records(int seed)
    {
        var random = new Random(seed);
        var whole = new RandomLog(seed).Take(400);
        var machine = NewMachine();
        var hashes = new List<ulong>();
        foreach (var entry in whole)
        {
            machine.Apply(entry, []);
            hashes.Add(machine.StateHash);
            if (entry.Index.Value % EntriesPerSegment == 0)
            {
                _folder.Seal(machine, entry.Index.Value - EntriesPerSegment + 1, entry.Index.Value);
            }
        }

        // Twice: what was thinned in between is thinned again.
        var before = await ReadAllAsync(machine, whole);
        var log = Thin(machine, whole, random);
        machine.Apply(Copy(_entries.Purge("t1.é"), 401), []);
        log = Thin(machine, log, random);
        var half = whole.Zip(log).Select(pair => random.Next(2) == 0 ? pair.First : pair.Second).ToList();
        Assert.True(log.Sum(static entry => entry.Body.Length) < whole.Sum(static entry => entry.Body.Length) * 3 / 4);
        foreach (var each in new[] { log, half })
        {
            var again = NewMachine();
            foreach (var entry in each)
            {
                again.Apply(entry, []);
                Assert.Equal(hashes[(int)entry.Index.Value - 1], again.StateHash);
            }

            again.Apply(Copy(_entries.Purge("t1.é"), 401), []);
            Assert.Equal(machine.LastTimestampUnixMs > 0, again.LastTimestampUnixMs > 0);
            var after = await ReadAllAsync(machine, each);
            Assert.Equal(before.Where(static record => record.Topic != "t1.é"), after);
            Assert.Equal(after, await ReadAllAsync(again, each));
        }
    }

    [Fact]
    public async Task A_replica_that_has_not_applied_a_purge_steps_over_what_is_gone()
    {
        var machine = NewMachine();
        var log = new List<LogEntry>();
        for (var i = 0; i < 10; i++)
        {
            log.Add(_entries.Of(
                Entries.PublishCommand("a", Entries.Batch(3), 3), Entries.PublishCommand("b", [10, 0])));
        }

        log.ForEach(entry => machine.Apply(entry, []));
        machine.Apply(_entries.Purge("a", 15), []);
        _folder.Seal(machine, 1, 11);
        var thinned = log.ConvertAll(entry => Thinner(machine, 1, 11).Thin(entry));
        var lagging = NewMachine();
        thinned.ForEach(entry => lagging.Apply(entry, []));
        Assert.True(lagging.TryGetTopic("a", out var topic));
        Assert.Equal((0L, 30L), (topic.FirstOffset, topic.NextOffset));
        var read = await ReadAllAsync(lagging, thinned);
        Assert.Equal(Enumerable.Range(15, 15).Select(static i => (long)i), read.Where(Is("a")).Select(Offset));
        Assert.Equal(Enumerable.Range(0, 10).Select(static i => (long)i), read.Where(Is("b")).Select(Offset));
        lagging.Apply(_entries.Purge("a"), []);
        Assert.DoesNotContain(await ReadAllAsync(lagging, thinned), record => record.Topic == "a");

        static Func<(string Topic, long Offset), bool> Is(string topic) => record => record.Topic == topic;
        static long Offset((string Topic, long Offset) record) => record.Offset;
    }

    [Fact]
    public void What_the_index_may_lack_stays()
    {
        var before = NewMachine();
        var log = new List<LogEntry> { _entries.Publish("a"), _entries.Publish("a"), _entries.Publish("a") };
        before.Apply(log[0], []);
        var snapshot = new ArrayBufferWriter<byte>();
        before.WriteSnapshot(snapshot);

        // Restored within the segment: of its first entry nothing is known.
        var machine = NewMachine();
        machine.Restore(snapshot.WrittenSpan);
        machine.Apply(log[1], []);
        machine.Apply(log[2], []);
        _folder.Seal(machine, 1, 3);
        var thinning = machine.LookForThinning()!;
        Assert.Null(thinning.TryBegin(new LogIndex(1), new LogIndex(3)));
        var kept = new Dictionary<LogIndex, long>();
        thinning.AddKeptBytes(kept);
        Assert.Equal(long.MaxValue, kept[new LogIndex(1)]);
        _folder.Delete(1);
        Assert.Null(machine.LookForThinning()!.TryBegin(new LogIndex(1), new LogIndex(3)));
    }

    [Fact]
    public void An_entry_with_a_command_of_another_kind_stays_as_it_is()
    {
        var machine = NewMachine();
        machine.Apply(_entries.Publish("a"), []);
        machine.Apply(_entries.Purge("a"), []);
        _folder.Seal(machine, 1, 2);
        var unknown = Entries.PublishCommand("a", [10, 0]);
        unknown[4] = 0x70;
        var entry = Copy(_entries.Of(Entries.PublishCommand("a", [10, 0]), unknown), 1);
        Assert.Same(entry, Thinner(machine, 1, 2).Thin(entry));
    }

    private TopicStateMachine NewMachine()
    {
        var machine = RandomLog.NewMachine();
        machine.AttachIndexes(_folder.Read);
        return machine;
    }

    private static string Crc(LogEntry entry) =>
        Convert.ToHexString(BitConverter.GetBytes(entry.BodyCrc32C));

    private static LogEntry Copy(LogEntry entry, long index) => new(
        new LogIndex(index), entry.Term, entry.Kind, entry.Count, 1_000_000, entry.BodyCrc32C, entry.Body);

    private static IEntryThinner Thinner(TopicStateMachine machine, long first, long last) =>
        machine.LookForThinning()!.TryBegin(new LogIndex(first), new LogIndex(last))!;

    private static List<LogEntry> Thin(TopicStateMachine machine, List<LogEntry> log, Random random)
    {
        var thinned = new List<LogEntry>();
        for (var first = 1; first <= log.Count; first += EntriesPerSegment)
        {
            var segment = log.GetRange(first - 1, EntriesPerSegment);
            var thinner = Thinner(machine, first, first + EntriesPerSegment - 1);
            thinned.AddRange(random.Next(8) == 0 ? segment : segment.ConvertAll(thinner.Thin));
        }

        return thinned;
    }

    private static async Task<List<(string Topic, long Offset)>> ReadAllAsync(
        TopicStateMachine machine, List<LogEntry> log)
    {
        int Read(LogIndex from, LogIndex to, int maxBytes, ICollection<LogEntry> into)
        {
            var count = (int)(LogIndex.Min(to, new LogIndex(log.Count)) - from) + 1;
            log.GetRange((int)from.Value - 1, count).ForEach(into.Add);
            return count;
        }

        var reader = new TopicReader(machine, new TailSignal(), Read);
        var records = new List<(string Topic, long Offset)>();
        foreach (var topic in machine.ListTopics())
        {
            await foreach (var page in reader.ReadAsync(topic.Name, 0, follow: false, Stop))
            {
                Assert.True(page.Batches.Count > 0 || page.NextOffset == page.HighWatermark);
                foreach (var batch in page.Batches)
                {
                    Assert.Equal(batch.Count, RecordBatchScanner.Scan(batch.Batch.Span).Count);
                    records.AddRange(
                        Enumerable.Range(0, batch.Count).Select(i => (topic.Name, batch.BaseOffset + i)));
                }
            }
        }

        return records;
    }
}

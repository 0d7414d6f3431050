using System.Buffers;
using System.Text;
using Broker.Delivery;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.State;
using Broker.Storage;
using Broker.Topics;
using Google.Protobuf;
using Xunit;
using Record = Broker.Protocol.V1.Record;

namespace Broker.Tests.Unit.Topics;

/// <summary>The last record of each key stays, whatever was taken out, where and when.</summary>
public sealed class CompactionTests
{
    private const string Topic = "a";

    private readonly Entries _entries = new();
    private readonly IndexFolder _folder = new();
    private readonly List<LogEntry> _log = [];
    private readonly List<SealedSegment> _segments = [];
    private readonly TopicStateMachine _machine;

    public CompactionTests()
    {
        _machine = NewMachine();
        Apply(_entries.Of(Entries.Metadata(into => TopicCommands.WriteCreateTopic(
            into, Topic, new TopicSettings { Compact = true, DeleteMarkerMs = 0 }))));
    }

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public void Its_commands_have_the_documented_bytes()
    {
        const string Limits = "0000000000000000" + "0000000000000000" + "0000000000000000" + "00001000";
        var settings = new TopicSettings { Compact = true, CompactAfterMs = 2, DeleteMarkerMs = 3 };
        Assert.Equal(
            "11000000" + "08" + "05000000" + "02000000" + "0900000000000000",
            Hex(into => TopicCommands.WriteCompactTopic(into, 5, 2, 9)));
        Assert.Equal(
            "31000000" + "03" + "0161" + "7F" + Limits + "01" + "0200000000000000" + "0300000000000000",
            Hex(into => TopicCommands.WriteCreateTopic(into, "a", settings)));
        var topic = new TopicState("a", 0, 7, new TopicParts(0, new BatchIndex(0, 0)), settings);
        var make = Entries.Metadata(into => PartitionCommands.WriteMakePartitions(into, topic, [1, 4]));
        foreach (var command in new CommandSequence(make))
        {
            var read = PartitionCommands.ReadMakePartitions(command);
            Assert.Equal(settings, read.Settings);
            Assert.Equal([1, 4], read.Partitions);
        }
    }

    [Fact]
    public void A_grave_has_the_documented_bytes()
    {
        Put(("k", "v"), ("k", null));
        var batch = _log[^1];
        Seal();
        Compact();
        Seal();
        Learn(_machine, _log);
        var thinned = Thin(_machine, _segments[0])[^1];
        Assert.Equal(batch.Index, thinned.Index);
        foreach (var command in new CommandSequence(thinned.Body))
        {
            Assert.Equal(
                "0161" + "00" + "02" + "1F" + "0D" + "01" + "00" + "00" + "01" + "00" + "01" + "6B",
                Convert.ToHexString(command.Payload));
        }
    }

    [Theory]
    [InlineData("k")]
    [InlineData("fifteen bytes..")]
    [InlineData("sixteen bytes...")]
    [InlineData("a key of many bytes more")]
    public void A_mark_is_read_as_it_was_written(string key)
    {
        Span<byte> written = stackalloc byte[KeyMark.Bytes];
        var mark = KeyMark.Of(Encoding.UTF8.GetBytes(key));
        var length = mark.Write(written);
        Assert.Equal(Math.Min(key.Length, KeyMark.Bytes), length);
        Assert.Equal(mark, KeyMark.Read(written[..length]));
        Assert.NotEqual(mark, KeyMark.Of(Encoding.UTF8.GetBytes($"{key}\0")));
    }

    [Fact]
    public async Task The_last_record_of_each_key_stays_and_those_without_a_key()
    {
        Put(("k1", "1"), ("k2", "2"), (null, "3"), ("k1", "4"));
        Put(("k2", "5"));
        Put(("k1", "6"));
        Seal();
        Compact();
        Seal();
        var log = Learn(_machine, _log).Thinned();
        Assert.Equal(["2 ", "4 k2", "5 k1"], await ReadAsync(_machine, log));
        Assert.Equal(["2 ", "4 k2", "5 k1"], await ReadLastAsync(_machine, log));
        Assert.Equal(["2 ", "4 k2", "5 k1"], await ReadLastAsync(_machine, _log));

        // What is taken out decides nothing: a replica that applies it has the same state.
        var again = NewMachine();
        log.ForEach(entry => again.Apply(entry, []));
        Assert.Equal(_machine.StateHash, again.StateHash);
    }

    [Fact]
    public async Task Deleted_keys_go_with_their_markers_and_the_read_ends()
    {
        Put(("k1", "1"));
        Put(("k1", null));
        Put(("k2", "2"), ("k2", null));
        Seal();
        Compact();
        Seal();
        Assert.Empty(await ReadLastAsync(_machine, _log));
        var log = Learn(_machine, _log).Thinned();
        Assert.Empty(await ReadAsync(_machine, log));
        Assert.Empty(await ReadLastAsync(_machine, log));
        Put(("k1", "3"));
        Assert.Equal(["4 k1"], await ReadAsync(_machine, [.. log, _log[^1]]));
    }

    [Fact]
    public async Task A_marker_stays_until_its_time_is_over()
    {
        Update(new TopicSettings { Compact = true, DeleteMarkerMs = 1_000 });
        Put(("k", "1"), ("k", null));
        Seal();
        Compact();
        Seal();
        var log = Learn(_machine, _log).Thinned();
        Assert.Equal(["1 k -"], await ReadAsync(_machine, log));
        Assert.Equal(["1 k -"], await ReadLastAsync(_machine, log));
        _entries.Advance(2_000);
        Compact();
        log.Add(_log[^1]);
        Assert.Empty(await ReadLastAsync(_machine, log));
        Assert.Empty(await ReadAsync(_machine, Learn(_machine, log).Thinned()));
    }

    [Fact]
    public async Task A_marker_waits_for_older_records_of_its_key_in_other_segments()
    {
        Put(("k", "1"), (null, "2"));
        Seal();
        Put(("k", null));
        Seal();
        Compact();
        Seal();
        Learn(_machine, _log);

        // The segment of the older record is not written anew: the marker must go on saying that the key is deleted.
        var log = _log.ToList();
        Replace(log, Thin(_machine, _segments[1]));
        Assert.Equal(["0 k", "1 ", "2 k -"], await ReadAsync(_machine, log));
        Replace(log, Thin(_machine, _segments[0]));
        Assert.Equal(["1 ", "2 k -"], await ReadAsync(_machine, log));
        var thinning = _machine.LookForThinning()!;
        Assert.True(thinning.TryLearnAgain());
        Assert.False(thinning.TryLearnAgain());
        Assert.Equal(["1 "], await ReadAsync(_machine, Learn(_machine, log).Thinned()));

        // An older record that comes back from a peer is known to be deleted.
        Replace(log, Thin(_machine, _segments[1], log));
        Replace(log, Thin(_machine, _segments[1]));
        var back = log.ToList();
        Replace(back, [_log[1]]);
        Assert.Equal(["1 "], await ReadLastAsync(_machine, back));
    }

    [Fact]
    public async Task What_comes_after_it_was_compacted_to_and_what_is_too_young_stays()
    {
        Put(("k", "1"), ("k", "2"));
        Seal();
        Compact();
        Put(("k", new string('x', 500)));
        Seal();
        var log = Learn(_machine, _log).Thinned();
        Assert.Equal(["1 k", "2 k"], await ReadAsync(_machine, log));
        Assert.Equal(["2 k"], await ReadLastAsync(_machine, log));
        Assert.Null(Duty(0));
        Update(new TopicSettings { Compact = true, CompactAfterMs = 10_000 });
        Assert.Null(Duty(_machine.LastTimestampUnixMs + 9_000));
        Assert.Equal(3L, Duty(_machine.LastTimestampUnixMs + 11_000)?.Through);
    }

    [Fact]
    public void A_leader_compacts_again_when_as_much_has_come_as_was_left()
    {
        Assert.Null(Duty());
        for (var i = 0; i < 10; i++)
        {
            Put(($"key {i}", "1"));
        }

        Assert.Null(Duty());
        Seal();
        Assert.Equal(10L, Duty()?.Through);
        Compact();
        Seal();

        // It looks first how much there is left.
        Assert.Null(Duty());
        Learn(_machine, _log);
        Assert.Null(Duty());
        Put(("key 0", "2"));
        Seal();
        Learn(_machine, _log);
        Assert.Null(Duty());
        Put(("key 0", new string('x', 2_000)));
        Seal();
        Assert.Equal(12L, Duty()?.Through);
    }

    [Fact]
    public void A_leader_compacts_again_when_a_marker_is_to_go()
    {
        Update(new TopicSettings { Compact = true, DeleteMarkerMs = 5_000 });
        Put(("k", null));
        Seal();
        Compact();
        Seal();
        Learn(_machine, _log);
        var put = _log[^3].TimestampUnixMs;
        Assert.Null(Duty(put + 4_000));
        Assert.Equal(1L, Duty(put + 6_000)?.Through);
    }

    [Fact]
    public void A_compaction_by_older_settings_or_of_another_topic_does_nothing()
    {
        Put(("k", "1"), ("k", "2"));
        foreach (var (number, version) in new[] { (0, 1), (1, 0), (7, 0) })
        {
            Apply(_entries.Of(Entries.Metadata(
                into => TopicCommands.WriteCompactTopic(into, number, version, through: 2))));
        }

        Assert.True(_machine.TryGetTopic(Topic, out var topic));
        Assert.Equal(CompactedTo.Nothing, topic.Compacted);
        Compact();
        Assert.Equal(2, topic.Compacted.Through);
        Update(new TopicSettings { Compact = false });
        Assert.Equal(2, topic.Compacted.Through);
    }

    [Fact]
    public void How_far_a_topic_was_compacted_is_in_snapshots()
    {
        Put(("k", "1"), ("k", "2"));
        Compact();
        var snapshot = new ArrayBufferWriter<byte>();
        _machine.WriteSnapshot(snapshot);
        var again = NewMachine();
        again.Restore(snapshot.WrittenSpan);
        Assert.True(_machine.TryGetTopic(Topic, out var topic) && again.TryGetTopic(Topic, out var restored)
            && restored.Compacted == topic.Compacted && restored.Settings == topic.Settings
            && restored.Compacted == new CompactedTo(2, _machine.LastTimestampUnixMs));
    }

    [Fact]
    public void Settings_that_contradict_are_refused()
    {
        var result = Entries.Apply(_machine, _entries.Of(Entries.Metadata(into => TopicCommands.WriteUpdateTopic(
            into, Topic, TopicSettingParts.MaxAge, new TopicSettings { MaxAgeMs = 10 }))));
        Assert.Equal(RefusalCode.None, result.Code);
        result = Entries.Apply(_machine, _entries.Of(Entries.Metadata(into => TopicCommands.WriteUpdateTopic(
            into, Topic, TopicSettingParts.CompactAfter, new TopicSettings { CompactAfterMs = 10 }))));
        Assert.Equal(RefusalCode.InvalidArgument, result.Code);
        Assert.True(_machine.TryGetTopic(Topic, out var topic) && topic.Settings.CompactAfterMs == 0);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(6)]
    [InlineData(7)]
    [InlineData(8)]
    public async Task Whatever_was_taken_out_where_the_last_records_are_right(int seed)
    {
        var random = new Random(seed);
        var replicas = new List<List<LogEntry>> { _log.ToList(), _log.ToList() };
        var last = new SortedDictionary<string, string>(StringComparer.Ordinal);
        for (var round = 0; round < 30; round++)
        {
            for (var i = random.Next(1, 8); i > 0; i--)
            {
                var records = Enumerable.Range(0, random.Next(1, 5)).Select(_ => (
                    Key: random.Next(6) == 0 ? null : $"k{random.Next(7)}{(random.Next(2) == 0 ? new('x', 20) : "")}",
                    Value: random.Next(3) == 0 ? null : "v")).ToArray();
                var offset = Next;
                Put(records);
                foreach (var (key, value) in records)
                {
                    last[key ?? $"none {offset}"] = $"{offset} {key}{(value is null && key is not null ? " -" : "")}";
                    offset++;
                }

                replicas.ForEach(log => log.Add(_log[^1]));
            }

            if (random.Next(12) == 0)
            {
                Apply(_entries.Purge(Topic, random.NextInt64(Next)));
                replicas.ForEach(log => log.Add(_log[^1]));
            }

            Seal();
            if (random.Next(2) == 0)
            {
                Compact();
                replicas.ForEach(log => log.Add(_log[^1]));
            }

            // Each has thinned what it likes, and has some segments as another one has them.
            foreach (var log in replicas)
            {
                Learn(_machine, log);
                foreach (var segment in _segments.Where(_ => random.Next(4) == 0))
                {
                    Replace(log, Thin(_machine, segment, log));
                }

                _machine.LookForThinning()!.TryLearnAgain();
                Replace(log, replicas[random.Next(2)].GetRange(random.Next(log.Count - 1), 1));
                Assert.True(_machine.TryGetTopic(Topic, out var topic));
                var (state, first) = (topic.Compacted, topic.FirstOffset);
                var expected = last.Values
                    .Where(record => Offset(record) >= first)
                    .Where(record => !record.EndsWith('-') || Offset(record) >= state.Through
                        || TimeOf(Offset(record)) > state.MarkersMs)
                    .OrderBy(Offset);
                Assert.Equal(expected, await ReadLastAsync(_machine, log));
                var all = await ReadAsync(_machine, log);
                Assert.Subset(all.ToHashSet(), expected.Where(static record => !record.EndsWith('-')).ToHashSet());
            }
        }

        static long Offset(string record) => long.Parse(record.Split(' ')[0]);
    }

    [Fact]
    public void With_more_keys_than_are_held_at_once_the_same_is_found()
    {
        var random = new Random(5);
        for (var i = 0; i < 400; i++)
        {
            Put(($"key {random.Next(200)}", random.Next(4) == 0 ? null : "v"), ($"{i}", "v"));
        }

        Seal();
        Compact();
        Assert.True(_machine.TryGetTopic(Topic, out var topic));
        var (all, some) = (Scan(10_000), Scan(70));
        Assert.Equal(1, all.Passes);
        Assert.False(all.HasTooManyKeys);
        Assert.InRange(some.Passes, 5, 50);
        Assert.True(some.HasTooManyKeys);
        for (var offset = 0; offset < Next; offset++)
        {
            Assert.Equal(all.Judgement.Replaced.Contains(offset), some.Judgement.Replaced.Contains(offset));
            Assert.Equal(all.Judgement.Graves.Contains(offset), some.Judgement.Graves.Contains(offset));
        }

        Assert.Equal(all.Judgement.Kept, some.Judgement.Kept);
        Assert.Equal(all.Judgement.LeftBytes, some.Judgement.LeftBytes);

        KeyScan Scan(int mostKeys)
        {
            var scan = new KeyScan(topic, Next, topic.Compacted, _segments, Reader(_log), mostKeys);
            while (!scan.IsDone)
            {
                scan.Advance(500);
            }

            return scan;
        }
    }

    private long Next => _machine.TryGetTopic(Topic, out var topic) ? topic.NextOffset : 0;

    private static string Hex(Action<IBufferWriter<byte>> write) => Convert.ToHexString(Entries.Metadata(write));

    private static Func<LogIndex, LogIndex, int, ICollection<LogEntry>, int> Reader(List<LogEntry> log) =>
        (from, to, maxBytes, into) =>
        {
            var count = (int)(LogIndex.Min(to, new LogIndex(log.Count)) - from) + 1;
            log.GetRange((int)from.Value - 1, count).ForEach(into.Add);
            return count;
        };

    private static void Replace(List<LogEntry> log, List<LogEntry> entries) =>
        entries.ForEach(entry => log[(int)entry.Index.Value - 1] = entry);

    private static async Task<List<string>> ReadAsync(TopicStateMachine machine, List<LogEntry> log) =>
        await TakeAsync(new TopicReader(machine, new TailSignal(), Reader(log)).ReadAsync(Topic, 0, false, Stop));

    private static async Task<List<string>> ReadLastAsync(TopicStateMachine machine, List<LogEntry> log) =>
        await TakeAsync(new TopicReader(machine, new TailSignal(), Reader(log)).ReadLastPerKeyAsync(
            Topic, false, Stop));

    /// <summary>Each record as its offset and key, and a dash where it is a delete marker.</summary>
    private static async Task<List<string>> TakeAsync(IAsyncEnumerable<ReadPage> pages)
    {
        var records = new List<string>();
        await foreach (var page in pages)
        {
            Assert.True(page.Batches.Count > 0 || page.NextOffset == page.HighWatermark);
            foreach (var batch in page.Batches)
            {
                var parsed = RecordBatch.Parser.ParseFrom(batch.Batch.Span);
                Assert.Equal(batch.Count, parsed.Records.Count);
                records.AddRange(parsed.Records.Select((record, i) =>
                    $"{batch.BaseOffset + i} {record.Key.ToStringUtf8()}"
                    + (record.Value.IsEmpty && !record.Key.IsEmpty ? " -" : "")));
            }
        }

        return records;
    }

    private TopicStateMachine NewMachine()
    {
        var machine = new TopicStateMachine(new NoSink());
        machine.AttachIndexes(_folder.Read);
        return machine;
    }

    private long TimeOf(long offset)
    {
        Assert.True(_machine.TryGetTopic(Topic, out var topic));
        return Located.At(topic, offset)!.Value.TimestampUnixMs;
    }

    private void Apply(LogEntry entry)
    {
        _machine.Apply(entry, []);
        _log.Add(entry);
    }

    private void Put(params (string? Key, string? Value)[] records)
    {
        var batch = new RecordBatch();
        batch.Records.AddRange(records.Select(static each => new Record
        {
            Key = ByteString.CopyFromUtf8(each.Key ?? ""),
            Value = ByteString.CopyFromUtf8(each.Value ?? ""),
        }));
        Apply(_entries.Of(Entries.PublishCommand(Topic, batch.ToByteArray(), records.Length)));
    }

    private void Update(TopicSettings settings) => Apply(_entries.Of(Entries.Metadata(
        into => TopicCommands.WriteUpdateTopic(into, Topic, TopicSettingParts.All, settings))));

    private void Compact()
    {
        var version = _machine.TryGetTopic(Topic, out var topic) ? topic.SettingsVersion : 0;
        Apply(_entries.Of(Entries.Metadata(
            into => TopicCommands.WriteCompactTopic(into, topic.Number, version, Next))));
    }

    /// <summary>What was applied since becomes a sealed segment.</summary>
    private void Seal()
    {
        var first = _segments.Count == 0 ? new LogIndex(1) : _segments[^1].Last.Next();
        var last = _log[^1].Index;
        if (first <= last)
        {
            _folder.Seal(_machine, first.Value, last.Value);
            _segments.Add(new SealedSegment(first, last, 1_000_000, IsDamaged: false));
        }
    }

    private Learnt Learn(TopicStateMachine machine, List<LogEntry> log)
    {
        var thinning = machine.LookForThinning()!;
        while (thinning.Learn(_segments, Reader(log), 200) > 0)
        {
            // A piece at a time.
        }

        return new Learnt(this, log);
    }

    private List<LogEntry> Thin(TopicStateMachine machine, SealedSegment segment, List<LogEntry>? log = null)
    {
        var thinner = machine.LookForThinning()!.TryBegin(segment.First, segment.Last)!;
        return (log ?? _log).GetRange(
            (int)segment.First.Value - 1, (int)(segment.Last - segment.First) + 1).ConvertAll(thinner.Thin);
    }

    private CompactTopicCommand? Duty(long? nowUnixMs = null)
    {
        var command = new ArrayBufferWriter<byte>();
        if (!_machine.TryWriteDuty(nowUnixMs ?? _machine.LastTimestampUnixMs, command))
        {
            return null;
        }

        var sequence = new CommandSequence(command.WrittenSpan);
        Assert.True(sequence.MoveNext());
        Assert.Equal(CommandKind.CompactTopic, sequence.Current.Kind);
        return TopicCommands.ReadCompactTopic(sequence.Current);
    }

    private sealed class Learnt(CompactionTests tests, List<LogEntry> log)
    {
        /// <summary>The log with every segment written anew.</summary>
        public List<LogEntry> Thinned()
        {
            var thinned = log.ToList();
            tests._segments.ForEach(segment => Replace(thinned, tests.Thin(tests._machine, segment, log)));
            return thinned;
        }
    }
}

using Broker.Domain;
using Broker.Storage;
using Broker.Tests.Simulation;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Broker.Tests.Unit.Storage;

/// <summary>A group's log on a simulated disk, with small segments.</summary>
internal sealed class LogFixture(SimulatedDevice device)
{
    public const string Folder = "/data/groups/3";
    public static readonly GroupId Group = new(3);
    public static readonly Guid StoreId = new("6f0f5d2e-58d5-4c2c-9a55-0d6f1d7f0a01");

    public LogFixture(int seed = 1)
        : this(new SimulatedDevice(seed))
    {
    }

    public SimulatedDevice Device { get; } = device;

    public static StorageOptions SmallOptions()
    {
        var nonce = 0x1234_5678_9ABC_DEF0UL;
        return new StorageOptions
        {
            FirstSegmentBytes = 8 * 1024,
            SegmentBytes = 16 * 1024,
            ZeroAheadBytes = 1024,
            OpenSealedSegments = 2,
            LoadedSealedSegments = 2,
            NewNonce = () => nonce = (nonce * 6364136223846793005UL) + 1442695040888963407UL,
        };
    }

    public GroupLog Open(Guid? storeId = null, GroupId? group = null, bool isKnown = false) => GroupLog.Open(
        Device, Folder, group ?? Group, storeId ?? StoreId, SmallOptions(), NullLogger.Instance, isKnown);

    public GroupLog Open(IStorageDevice device) =>
        GroupLog.Open(device, Folder, Group, StoreId, SmallOptions(), NullLogger.Instance);

    public string PathOf(string name) => Path.Combine(Folder, name);

    public string SegmentPath(long first) => PathOf(GroupFolder.SegmentName(new LogIndex(first)));

    public List<string> SegmentNames() =>
        [.. Device.List(Folder).Where(static name => name.EndsWith(".log", StringComparison.Ordinal))];

    /// <summary>The names in quarantine.</summary>
    public IReadOnlyList<string> Quarantined() => Device.List(PathOf(GroupFolder.QuarantineName));

    public static LogEntry Entry(long index, long term = 1, int bodyBytes = 100)
    {
        var body = new byte[bodyBytes];
        new Random(HashCode.Combine(index, term, bodyBytes)).NextBytes(body);
        var kind = bodyBytes == 0 ? EntryKind.Noop : EntryKind.Commands;
        var timestampUnixMs = 1_700_000_000_000 + index;
        return new LogEntry(
            new LogIndex(index), new Term(term), kind, bodyBytes % 7, timestampUnixMs, Crc32C.Compute(body), body);
    }

    /// <summary>The same entry with as little of its body as may be.</summary>
    public static LogEntry Less(LogEntry entry) => new(
        entry.Index, entry.Term, entry.Kind, entry.Count, entry.TimestampUnixMs, Crc32C.Compute([]), default);

    public static LogWrite Append(params LogEntry[] entries)
    {
        var write = new LogWrite();
        write.Entries.AddRange(entries);
        return write;
    }

    public static LogWrite AppendRange(long from, long to, long term = 1, int bodyBytes = 100) =>
        Append([.. Enumerable.Range(0, (int)(to - from + 1)).Select(i => Entry(from + i, term, bodyBytes))]);

    public static List<LogEntry> ReadAll(GroupLog log)
    {
        var entries = new List<LogEntry>();
        log.Read(log.FirstIndex, log.LastIndex, int.MaxValue / 2, entries);
        Assert.Equal(log.LastIndex - log.Base.Index, entries.Count);
        return entries;
    }

    public static bool AreSame(LogEntry left, LogEntry right) =>
        left.Index == right.Index && left.Term == right.Term && left.Kind == right.Kind && left.Count == right.Count
        && left.TimestampUnixMs == right.TimestampUnixMs && left.BodyCrc32C == right.BodyCrc32C
        && left.Body.Span.SequenceEqual(right.Body.Span);

    public static void AssertSame(IReadOnlyList<LogEntry> expected, IReadOnlyList<LogEntry> actual)
    {
        Assert.Equal(expected.Count, actual.Count);
        for (var i = 0; i < expected.Count; i++)
        {
            Assert.True(AreSame(expected[i], actual[i]), $"entry {expected[i].Index} differs");
        }
    }
}

using Broker.Domain;
using Broker.Replication;
using Broker.Storage;
using Broker.Tests.Unit.Storage;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Broker.Tests.Unit.Replication;

/// <summary>How entries enter a log, and what time they get.</summary>
public sealed class LogEntriesTests : IDisposable
{
    private static readonly Term Term1 = new(1);

    private readonly ManualTime _time = new();
    private readonly LogFixture _fixture = new();
    private readonly GroupLog _log;
    private readonly LogEntries _entries;

    public LogEntriesTests()
    {
        _log = _fixture.Open();
        _log.Write(LogFixture.AppendRange(1, 3));
        var traces = new EntryTraces(LogFixture.Group, new TestGroup(1)[1].Machine, _time);
        _entries = new LogEntries(LogFixture.Group, _log, traces, _time, NullLogger.Instance);
    }

    private static long LastOnDiskUnixMs => LogFixture.Entry(3).TimestampUnixMs;

    private long NowUnixMs => _time.GetUtcNow().ToUnixTimeMilliseconds();

    public void Dispose() => _log.Dispose();

    [Fact]
    public void An_entry_has_the_time_of_the_clock_and_none_before_that_of_the_one_before_it()
    {
        _entries.Make(new LogIndex(4), Term1, EntryKind.Noop, 0, []);
        var first = NowUnixMs;
        _time.Skew = TimeSpan.FromHours(-1);
        _entries.Make(new LogIndex(5), Term1, EntryKind.Noop, 0, []);

        Assert.Equal([first, first], Read(4, 5).Select(static entry => entry.TimestampUnixMs));
    }

    [Fact]
    public void A_leaders_entry_does_not_precede_one_that_came_from_another_leader()
    {
        var ahead = NowUnixMs + 60_000;
        _entries.Take(
            new LogEntry(new LogIndex(4), Term1, EntryKind.Noop, 0, ahead, Crc32C.Compute([]), Array.Empty<byte>()));
        _entries.Make(new LogIndex(5), new Term(2), EntryKind.Noop, 0, []);

        Assert.Equal(ahead, Read(5, 5).Single().TimestampUnixMs);
    }

    [Fact]
    public void After_a_start_the_time_of_the_last_entry_on_the_disk_counts()
    {
        _time.Skew = TimeSpan.FromDays(-365 * 10);
        Assert.True(NowUnixMs < LastOnDiskUnixMs);
        _entries.LearnLastTimestamp(LogIndex.None, appliedUnixMs: 0);
        _entries.Make(new LogIndex(4), Term1, EntryKind.Noop, 0, []);

        Assert.Equal(LastOnDiskUnixMs, Read(4, 4).Single().TimestampUnixMs);
    }

    [Fact]
    public void When_the_last_entry_cannot_be_read_its_time_is_known_only_when_it_is_applied_or_gone()
    {
        var thirdFrame = SegmentHeader.SizeBytes + (2 * 168);
        _fixture.Device.Flip(_fixture.SegmentPath(1), thirdFrame + 100, 1);
        _entries.LearnLastTimestamp(LogIndex.None, appliedUnixMs: 0);
        Assert.False(_entries.IsTimeKnown(new LogIndex(2)));
        Assert.True(_entries.IsTimeKnown(new LogIndex(3)));

        _entries.TruncateFrom(new LogIndex(3));

        Assert.True(_entries.IsTimeKnown(new LogIndex(2)));
    }

    [Fact]
    public void A_read_begins_on_the_disk_and_goes_on_in_memory()
    {
        _entries.Make(new LogIndex(4), Term1, EntryKind.Noop, 0, []);

        Assert.Equal([2, 3, 4], Read(2, 4).Select(static entry => entry.Index.Value));
        Assert.Equal(0, _entries.ReadFromMemory(new LogIndex(3), new LogIndex(4), int.MaxValue, new List<LogEntry>()));
    }

    private List<LogEntry> Read(long from, long to)
    {
        var read = new List<LogEntry>();
        Assert.True(_entries.TryRead(new LogIndex(from), new LogIndex(to), int.MaxValue, read));
        return read;
    }
}

using Broker.Domain;
using Broker.Storage;
using Broker.Tests.Simulation;
using Xunit;

namespace Broker.Tests.Unit.Storage;

public sealed class GroupLogTests
{
    private readonly LogFixture _fixture = new();

    [Fact]
    public void New_log_is_empty()
    {
        using var log = _fixture.Open();
        Assert.Equal(0, log.LastIndex.Value);
        Assert.Equal(default, log.HardState);
        Assert.Empty(log.TermRuns);
        Assert.Equal(0, log.Read(new LogIndex(1), new LogIndex(9), 1000, new List<LogEntry>()));
    }

    [Fact]
    public void Written_entries_are_read_back_and_survive_a_restart()
    {
        LogEntry[] written =
        [
            LogFixture.Entry(1, 1, 0), LogFixture.Entry(2, 1, 5),
            LogFixture.Entry(3, 2, 1000), LogFixture.Entry(4, 2, 8),
        ];
        using (var log = _fixture.Open())
        {
            log.Write(LogFixture.Append(written));
            LogFixture.AssertSame(written, LogFixture.ReadAll(log));
        }

        using var reopened = _fixture.Open();
        LogFixture.AssertSame(written, LogFixture.ReadAll(reopened));
        Assert.Equal([new TermRun(new(1), new(1)), new TermRun(new(3), new(2))], reopened.TermRuns);
        Assert.True(reopened.TrySizeBytesOf(new LogIndex(3), out var sizeBytes), "the active segment is known");
        Assert.Equal(64 + 1000, sizeBytes);
    }

    [Fact]
    public void Hard_state_survives_a_restart()
    {
        var voted = new HardState(new Term(7), new NodeId(2));
        using (var log = _fixture.Open())
        {
            log.Write(new LogWrite { HardState = voted });
            Assert.Equal(voted, log.HardState);
        }

        using var reopened = _fixture.Open();
        Assert.Equal(voted, reopened.HardState);
    }

    [Fact]
    public void Full_segment_is_followed_by_a_larger_one()
    {
        using (var log = _fixture.Open())
        {
            for (var i = 1; i <= 100; i++)
            {
                log.Write(LogFixture.AppendRange(i, i, bodyBytes: 300));
            }
        }

        var segments = _fixture.SegmentNames();
        Assert.InRange(segments.Count, 3, 6);
        Assert.Equal(8 * 1024, _fixture.Device.Length(_fixture.PathOf(segments[0])));
        Assert.Equal(16 * 1024, _fixture.Device.Length(_fixture.PathOf(segments[1])));
        using var reopened = _fixture.Open();
        LogFixture.AssertSame(LogFixture.AppendRange(1, 100, bodyBytes: 300).Entries, LogFixture.ReadAll(reopened));
    }

    [Fact]
    public void One_write_may_span_segments()
    {
        var write = LogFixture.AppendRange(1, 200, bodyBytes: 333);
        using (var log = _fixture.Open())
        {
            log.Write(write);
            LogFixture.AssertSame(write.Entries, LogFixture.ReadAll(log));
        }

        using var reopened = _fixture.Open();
        LogFixture.AssertSame(write.Entries, LogFixture.ReadAll(reopened));
    }

    [Fact]
    public void Entry_larger_than_a_segment_gets_a_segment_of_its_size()
    {
        LogEntry[] written = [LogFixture.Entry(1), LogFixture.Entry(2, 1, 50_000), LogFixture.Entry(3)];
        using (var log = _fixture.Open())
        {
            foreach (var entry in written)
            {
                log.Write(LogFixture.Append(entry));
            }
        }

        Assert.Equal(4096 + 64 + 50_000, _fixture.Device.Length(_fixture.SegmentPath(2)));
        using var reopened = _fixture.Open();
        LogFixture.AssertSame(written, LogFixture.ReadAll(reopened));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(20)]
    [InlineData(11)]
    [InlineData(60)]
    public void Truncation_replaces_the_suffix(int from)
    {
        using (var log = _fixture.Open())
        {
            log.Write(LogFixture.AppendRange(1, 60, term: 1, bodyBytes: 300));
            var write = LogFixture.AppendRange(from, from + 2, term: 2, bodyBytes: 200);
            write.TruncateFrom = new LogIndex(from);
            write.HardState = new HardState(new Term(2), NodeId.None);
            log.Write(write);
            Check(log);
        }

        using var reopened = _fixture.Open();
        Check(reopened);

        void Check(GroupLog log)
        {
            LogEntry[] expected =
            [
                .. LogFixture.AppendRange(1, from - 1, term: 1, bodyBytes: 300).Entries,
                .. LogFixture.AppendRange(from, from + 2, term: 2, bodyBytes: 200).Entries,
            ];
            LogFixture.AssertSame(expected, LogFixture.ReadAll(log));
            TermRun[] runs = [new(new(1), new(1)), new(new(from), new(2))];
            Assert.Equal(from == 1 ? runs[1..] : runs, log.TermRuns);
            Assert.Equal(new Term(2), log.HardState.Term);
        }
    }

    [Fact]
    public void Truncation_beyond_the_end_changes_nothing()
    {
        using var log = _fixture.Open();
        log.Write(LogFixture.AppendRange(1, 3));
        var write = LogFixture.AppendRange(4, 4);
        write.TruncateFrom = new LogIndex(4);
        log.Write(write);
        LogFixture.AssertSame(LogFixture.AppendRange(1, 4).Entries, LogFixture.ReadAll(log));
    }

    [Fact]
    public void Gap_between_entries_is_a_broken_invariant()
    {
        using var log = _fixture.Open();
        log.Write(LogFixture.AppendRange(1, 3));
        Assert.Throws<InvariantException>(() => log.Write(LogFixture.AppendRange(5, 5)));
    }

    [Fact]
    public void Read_stops_at_its_budget_but_takes_one_entry_always()
    {
        using var log = _fixture.Open();
        log.Write(LogFixture.AppendRange(1, 100, bodyBytes: 336));
        var into = new List<LogEntry>();
        Assert.Equal(1, log.Read(new LogIndex(5), new LogIndex(90), 1, into));
        Assert.Equal(5, into[0].Index.Value);
        Assert.Equal(50, log.Read(new LogIndex(6), new LogIndex(90), 400 * 50, into));
        Assert.Equal(Enumerable.Range(5, 51).Select(i => (long)i), into.Select(entry => entry.Index.Value));
        Assert.Equal(3, log.Read(new LogIndex(98), new LogIndex(1000), int.MaxValue, into));
        Assert.Throws<ArgumentOutOfRangeException>(() => log.Read(new LogIndex(0), new LogIndex(1), 1, into));
        Assert.Throws<ArgumentOutOfRangeException>(() => log.TrySizeBytesOf(new LogIndex(101), out _));
    }

    [Fact]
    public void More_parts_than_one_system_call_takes_are_written()
    {
        using var log = _fixture.Open();
        log.Write(LogFixture.AppendRange(1, 1500, bodyBytes: 1));
        LogFixture.AssertSame(LogFixture.AppendRange(1, 1500, bodyBytes: 1).Entries, LogFixture.ReadAll(log));
    }

    [Theory]
    [InlineData(SimulatedDeviceOperation.Write)]
    [InlineData(SimulatedDeviceOperation.Sync)]
    public void Failed_write_or_flush_poisons_the_log(SimulatedDeviceOperation failing)
    {
        var log = _fixture.Open();
        log.Write(LogFixture.AppendRange(1, 3));
        _fixture.Device.Fault = (operation, _) =>
            operation == failing ? SimulatedDeviceFault.IoError : SimulatedDeviceFault.None;
        Assert.Throws<StorageException>(() => log.Write(LogFixture.AppendRange(4, 4)));
        _fixture.Device.Fault = null;
        Assert.Throws<StorageException>(() => log.Write(LogFixture.AppendRange(4, 4)));
        Assert.Throws<StorageException>(() => log.Read(new LogIndex(1), new LogIndex(3), 1000, new List<LogEntry>()));
        Assert.Equal(3, log.LastIndex.Value);
        log.Dispose();

        _fixture.Device.Crash(SimulatedDeviceCrash.DropUnsynced);
        using var reopened = _fixture.Open();
        LogFixture.AssertSame(LogFixture.AppendRange(1, 3).Entries, LogFixture.ReadAll(reopened));
    }

    [Fact]
    public void Full_disk_refuses_the_whole_write_and_the_log_goes_on()
    {
        using (var log = _fixture.Open())
        {
            log.Write(LogFixture.AppendRange(1, 5, bodyBytes: 300));
            _fixture.Device.CapacityBytes = 30 * 1024;
            Assert.Throws<DiskFullException>(() => log.Write(LogFixture.AppendRange(6, 200, bodyBytes: 300)));
            LogFixture.AssertSame(LogFixture.AppendRange(1, 5, bodyBytes: 300).Entries, LogFixture.ReadAll(log));

            log.Write(LogFixture.AppendRange(6, 6, bodyBytes: 300));
            _fixture.Device.CapacityBytes = long.MaxValue;
            log.Write(LogFixture.AppendRange(7, 100, bodyBytes: 300));
        }

        var names = _fixture.Device.List(LogFixture.Folder);
        Assert.DoesNotContain(names, name => name.EndsWith(".tmp", StringComparison.Ordinal));
        using var reopened = _fixture.Open();
        LogFixture.AssertSame(LogFixture.AppendRange(1, 100, bodyBytes: 300).Entries, LogFixture.ReadAll(reopened));
    }

    [Fact]
    public void Full_disk_at_the_first_write_leaves_an_empty_log()
    {
        using var log = _fixture.Open();
        _fixture.Device.CapacityBytes = 9 * 1024;
        Assert.Throws<DiskFullException>(() => log.Write(LogFixture.AppendRange(1, 1)));
        _fixture.Device.CapacityBytes = long.MaxValue;
        log.Write(LogFixture.AppendRange(1, 2));
        LogFixture.AssertSame(LogFixture.AppendRange(1, 2).Entries, LogFixture.ReadAll(log));
    }

    [Fact]
    public async Task Readers_beside_appends_and_truncations_see_only_what_was_written()
    {
        using var log = _fixture.Open();
        log.Write(LogFixture.AppendRange(1, 50));
        using var stop = new CancellationTokenSource();
        var readers = Enumerable.Range(0, 2)
            .Select(seed => Task.Run(() => ReadUntil(log, seed, stop.Token), CancellationToken.None)).ToArray();
        var random = new Random(5);
        for (var term = 2; term < 300; term++)
        {
            var from = random.Next(20, (int)log.LastIndex.Value + 2);
            var write = LogFixture.AppendRange(from, from + random.Next(1, 60), term, bodyBytes: random.Next(300));
            write.TruncateFrom = new LogIndex(from);
            log.Write(write);
        }

        await stop.CancelAsync();
        var counts = await Task.WhenAll(readers);
        Assert.All(counts, count => Assert.True(count > 0));
    }

    private static int ReadUntil(GroupLog log, int seed, CancellationToken stop)
    {
        var random = new Random(seed);
        var total = 0;
        while (!stop.IsCancellationRequested || total == 0)
        {
            var into = new List<LogEntry>();
            var from = random.Next(1, 120);
            total += log.Read(new LogIndex(from), new LogIndex(from + 40), 10_000, into);
            for (var i = 0; i < into.Count; i++)
            {
                Assert.Equal(from + i, into[i].Index.Value);
                var expected = LogFixture.Entry(from + i, into[i].Term.Value, into[i].Body.Length);
                Assert.True(LogFixture.AreSame(expected, into[i]));
            }
        }

        return total;
    }
}

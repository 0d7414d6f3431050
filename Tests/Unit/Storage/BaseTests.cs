using Broker.Domain;
using Broker.Storage;
using Broker.Tests.Simulation;
using Xunit;

namespace Broker.Tests.Unit.Storage;

/// <summary>
/// Logs that begin after a base: by dropping, and by a snapshot; what the vote file remembers beside.
/// </summary>
public sealed class BaseTests
{
    private static readonly GroupConfiguration Members = new(LogIndex.None, [new(1), new(2), new(3)], []);
    private readonly LogFixture _fixture = new();

    [Fact]
    public void Dropped_entries_and_their_files_are_gone_and_the_rest_stays()
    {
        SmallLog.Write(_fixture);
        using (var log = _fixture.Open())
        {
            var through = log.SealedSegments[0].Last;
            log.Snapshots.Write(new LogPosition(through, new Term(3)), Members, new byte[10]);
            log.Indexes.Write(new LogIndex(1), through, new byte[10], new byte[10]);
            log.Write(new LogWrite { DropThrough = through });
            Check(log, through);
            var into = new List<LogEntry>();
            Assert.Equal(0, log.Read(through, log.LastIndex, 1000, into));
            Assert.Throws<ArgumentOutOfRangeException>(() => log.TrySizeBytesOf(through, out _));
        }

        Assert.DoesNotContain(
            _fixture.Device.List(LogFixture.Folder), name => name.Contains("000001.", StringComparison.Ordinal));
        using (var reopened = _fixture.Open())
        {
            var through = reopened.Base.Index;
            Assert.Equal(11, through.Value);
            Check(reopened, through);
            reopened.Write(LogFixture.AppendRange(SmallLog.LastIndex + 1, SmallLog.LastIndex + 1, term: 3));
        }
    }

    [Fact]
    public void All_sealed_segments_may_be_dropped()
    {
        SmallLog.Write(_fixture);
        LogIndex through;
        using (var log = _fixture.Open())
        {
            through = log.SealedSegments[^1].Last;
            log.Snapshots.Write(new LogPosition(through, new Term(3)), Members, new byte[10]);
            log.Write(new LogWrite { DropThrough = through });
            Check(log, through);
        }

        using var reopened = _fixture.Open();
        Check(reopened, through);
        Assert.Empty(reopened.SealedSegments);
    }

    [Fact]
    public void Nothing_is_dropped_without_a_snapshot_at_the_new_base()
    {
        SmallLog.Write(_fixture);
        using var log = _fixture.Open();
        log.Write(new LogWrite { DropThrough = log.SealedSegments[0].Last });
        Assert.Equal(LogPosition.None, log.Base);
        Assert.Equal(SmallLog.LastIndex, LogFixture.ReadAll(log).Count);
    }

    [Fact]
    public void Nothing_is_dropped_when_the_snapshot_at_the_new_base_is_damaged()
    {
        SmallLog.Write(_fixture);
        using (var log = _fixture.Open())
        {
            foreach (var segment in log.SealedSegments.Take(2))
            {
                log.Snapshots.Write(new LogPosition(segment.Last, new Term(3)), Members, new byte[10]);
            }

            var (bad, good) = (log.SealedSegments[0].Last, log.SealedSegments[1].Last);
            var name = _fixture.Device.List(LogFixture.Folder).First(
                name => name.EndsWith(".snap", StringComparison.Ordinal));
            _fixture.Device.Flip(Path.Combine(LogFixture.Folder, name), 4096 + 5, 0x01);
            log.Write(new LogWrite { DropThrough = bad });
            Assert.Equal(LogPosition.None, log.Base);
            Assert.Equal(SmallLog.LastIndex, LogFixture.ReadAll(log).Count);
            log.Write(new LogWrite { DropThrough = good });
            Assert.Equal(good, log.Base.Index);
        }

        using var reopened = _fixture.Open();
        Assert.NotEqual(LogPosition.None, reopened.Base);
        Assert.Equal(LogPosition.None, reopened.Fence);
    }

    [Fact]
    public void A_segment_that_a_truncation_emptied_makes_room_for_one_that_holds_a_large_entry()
    {
        SmallLog.Write(_fixture);
        var large = LogFixture.Entry(12, term: 4, bodyBytes: 50_000);
        using (var log = _fixture.Open())
        {
            var through = log.SealedSegments[0].Last;
            Assert.Equal(large.Index, through.Next());
            log.Write(new LogWrite { TruncateFrom = large.Index });
            log.Write(new LogWrite { HardState = new HardState(large.Term, NodeId.None) });
            log.Write(LogFixture.Append(large));
            Assert.Equal([through], log.SealedSegments.Select(segment => segment.Last));
            log.Snapshots.Write(new LogPosition(through, new Term(3)), Members, new byte[10]);
            log.Write(new LogWrite { DropThrough = through });
            LogFixture.AssertSame([large], LogFixture.ReadAll(log));
        }

        using var reopened = _fixture.Open();
        LogFixture.AssertSame([large], LogFixture.ReadAll(reopened));
        Assert.Equal(LogPosition.None, reopened.Fence);
    }

    [Fact]
    public void Snapshots_before_the_base_go_and_those_after_it_stay()
    {
        SmallLog.Write(_fixture);
        using var log = _fixture.Open();
        foreach (var segment in log.SealedSegments)
        {
            log.Snapshots.Write(new LogPosition(segment.Last, new Term(3)), Members, new byte[10]);
        }

        log.Write(new LogWrite { DropThrough = log.SealedSegments[0].Last });
        Assert.Equal([11L, 44L], log.Snapshots.List().Select(index => index.Value));
        log.Write(new LogWrite { DropThrough = log.SealedSegments[0].Last });
        Assert.Equal([44L], log.Snapshots.List().Select(index => index.Value));
    }

    [Theory]
    [InlineData(20)]
    [InlineData(1000)]
    public void Snapshot_replaces_the_whole_log(long index)
    {
        SmallLog.Write(_fixture);
        var position = new LogPosition(new LogIndex(index), new Term(5));
        var configuration = Members.At(new LogIndex(7));
        var hardState = new HardState(new Term(6), NodeId.None);
        using (var log = _fixture.Open())
        {
            log.Indexes.Write(new LogIndex(1), new LogIndex(11), new byte[10], new byte[10]);
            log.Snapshots.Write(new LogPosition(new(44), new(3)), Members, new byte[10]);
            var write = LogFixture.AppendRange(index + 1, index + 3, term: 6);
            write.HardState = hardState;
            write.Snapshot = new StateSnapshot(position, configuration, new byte[] { 1, 2, 3 });
            log.Write(write);
            CheckInstalled(log);
        }

        using var reopened = _fixture.Open();
        CheckInstalled(reopened);

        void CheckInstalled(GroupLog log)
        {
            Assert.Equal(position, log.Base);
            Assert.Equal(hardState, log.HardState);
            Assert.Equal(configuration, log.Configuration);
            Assert.Equal(index + 3, log.LastIndex.Value);
            Assert.Equal([new TermRun(new(index + 1), new(6))], log.TermRuns);
            var entries = LogFixture.AppendRange(index + 1, index + 3, term: 6).Entries;
            LogFixture.AssertSame(entries, LogFixture.ReadAll(log));
            Assert.Equal([position.Index], log.Snapshots.List());
            Assert.True(log.Snapshots.TryRead(position.Index, out var snapshot));
            Assert.Equal(new byte[] { 1, 2, 3 }, snapshot.Data.ToArray());
            Assert.Empty(log.Indexes.List());
        }
    }

    [Fact]
    public void Snapshot_without_room_changes_nothing_but_the_hard_state()
    {
        SmallLog.Write(_fixture);
        using var log = _fixture.Open();
        var write = new LogWrite
        {
            HardState = new HardState(new Term(9), new NodeId(1)),
            Snapshot = new StateSnapshot(new LogPosition(new(99), new(8)), Members, new byte[500_000]),
        };
        _fixture.Device.CapacityBytes = 100_000;
        Assert.Throws<DiskFullException>(() => log.Write(write));
        Assert.Equal(write.HardState, log.HardState);
        Assert.Equal(LogPosition.None, log.Base);
        LogFixture.AssertSame(SmallLog.Entries, LogFixture.ReadAll(log));
        _fixture.Device.CapacityBytes = long.MaxValue;
        log.Write(write);
        Assert.Equal(99, log.LastIndex.Value);
    }

    [Fact]
    public void Configurations_and_fence_survive_a_power_cut()
    {
        var log = _fixture.Open();
        Assert.Null(log.Configuration);
        var write = LogFixture.AppendRange(1, 5);
        write.PreviousConfiguration = Members;
        write.Configuration = new GroupConfiguration(new LogIndex(4), [new(1), new(2)], [new(9)]);
        write.Fence = new LogPosition(new(70), new(2));
        write.HardState = HardState.Lost with { PassiveUntil = new LogIndex(4) };
        log.Write(write);
        _fixture.Device.Crash(SimulatedDeviceCrash.DropUnsynced);
        using var reopened = _fixture.Open();
        Assert.Equal(write.Configuration, reopened.Configuration);
        Assert.Equal(Members, reopened.PreviousConfiguration);
        Assert.Equal(write.Fence, reopened.Fence);
        Assert.Equal(write.HardState, reopened.HardState);
        reopened.Write(new LogWrite { Fence = LogPosition.None });
        Assert.Equal(LogPosition.None, reopened.Fence);
    }

    [Fact]
    public void Configuration_whose_entry_did_not_become_durable_does_not_hold()
    {
        var log = _fixture.Open();
        log.Write(LogFixture.AppendRange(1, 5));
        _fixture.Device.Fault = (operation, path) =>
            operation == SimulatedDeviceOperation.Write && !path.Contains("vote", StringComparison.Ordinal)
                ? SimulatedDeviceFault.IoError
                : SimulatedDeviceFault.None;
        var write = LogFixture.AppendRange(6, 6);
        write.PreviousConfiguration = Members;
        write.Configuration = Members.At(new LogIndex(6));
        Assert.Throws<StorageException>(() => log.Write(write));
        _fixture.Device.Fault = null;
        _fixture.Device.Kill();
        using (var reopened = _fixture.Open())
        {
            Assert.Equal(Members, reopened.Configuration);
            Assert.Null(reopened.PreviousConfiguration);
            reopened.Write(LogFixture.AppendRange(6, 8));
        }

        // Another entry has come to the index of the one that was lost.
        using var later = _fixture.Open();
        Assert.Equal(Members, later.Configuration);
        Assert.Null(later.PreviousConfiguration);
    }

    [Fact]
    public void Truncated_entries_do_not_come_back_when_the_power_is_cut_before_they_are_wiped()
    {
        var log = _fixture.Open();
        log.Write(LogFixture.AppendRange(1, 6));
        _fixture.Device.Fault = (operation, path) =>
            operation == SimulatedDeviceOperation.Write && !path.Contains("vote", StringComparison.Ordinal)
                ? SimulatedDeviceFault.IoError
                : SimulatedDeviceFault.None;
        var write = new LogWrite { TruncateFrom = new LogIndex(3), Configuration = Members };
        Assert.Throws<StorageException>(() => log.Write(write));
        _fixture.Device.Fault = null;
        _fixture.Device.Kill();
        using var reopened = _fixture.Open();
        Assert.Equal(2, reopened.LastIndex.Value);
        Assert.Equal(LogPosition.None, reopened.Fence);
        Assert.Equal(Members, reopened.Configuration);
    }

    private static void Check(GroupLog log, LogIndex through)
    {
        Assert.Equal(new LogPosition(through, new Term(3)), log.Base);
        Assert.Equal(through.Next(), log.FirstIndex);
        Assert.Equal([new TermRun(through.Next(), new Term(3))], log.TermRuns);
        var into = new List<LogEntry>();
        log.Read(log.FirstIndex, log.LastIndex, int.MaxValue, into);
        LogFixture.AssertSame(SmallLog.Entries[(int)through.Value..], into);
    }
}

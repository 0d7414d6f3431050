using Broker.Cluster;
using Broker.Domain;
using Broker.Storage;
using Broker.Tests.Unit.PeerStreams;
using Broker.Tests.Unit.Storage;
using Broker.Transport;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Broker.Tests.Unit.Membership;

/// <summary>A damaged segment of a real log is mended with the entries of another real log, over loopback.</summary>
public sealed class LogRepairTests
{
    private const int DamagedOffset = 5_000;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_damaged_segment_is_mended_over_the_wire_and_stays_so()
    {
        var (mine, theirs) = (new LogFixture(seed: 1), new LogFixture(seed: 2));
        SmallLog.Write(mine);
        SmallLog.Write(theirs);
        mine.Device.Flip(mine.SegmentPath(1), DamagedOffset, 1);
        await using var nodes = await TestNodes.StartAsync(2);
        using var peer = theirs.Open();
        nodes.Gates[1].Log = new LogSource(peer);
        using (var log = mine.Open())
        {
            Assert.Throws<StorageCorruptException>(() => LogFixture.ReadAll(log));

            Assert.Equal((1, 0), await RepairOf(log, nodes).MendAllAsync(Stop));

            Assert.True(LogFixture.ReadAll(log).Zip(SmallLog.Entries, LogFixture.AreSame).All(same => same));
            Assert.DoesNotContain(log.SealedSegments, segment => segment.IsDamaged);
            Assert.Equal((0, 0), await RepairOf(log, nodes).MendAllAsync(Stop));
        }

        using var again = mine.Open();
        Assert.Equal(SmallLog.LastIndex, LogFixture.ReadAll(again).Count);
    }

    [Fact]
    public async Task A_segment_that_is_damaged_at_the_peer_too_waits_for_another_peer()
    {
        var (mine, theirs, others) = (new LogFixture(seed: 1), new LogFixture(seed: 2), new LogFixture(seed: 3));
        foreach (var fixture in new[] { mine, theirs, others })
        {
            SmallLog.Write(fixture);
        }

        mine.Device.Flip(mine.SegmentPath(1), DamagedOffset, 1);
        theirs.Device.Flip(theirs.SegmentPath(1), DamagedOffset, 1);
        await using var nodes = await TestNodes.StartAsync(3);
        using var damaged = theirs.Open();
        using var intact = others.Open();
        using var log = mine.Open();
        nodes.Gates[1].Log = new LogSource(damaged);
        nodes.Gates[2].Log = new LogSource(damaged);
        Assert.Throws<StorageCorruptException>(() => LogFixture.ReadAll(log));

        Assert.Equal((0, 1), await RepairOf(log, nodes).MendAllAsync(Stop));
        nodes.Gates[2].Log = new LogSource(intact);
        Assert.Equal((1, 0), await RepairOf(log, nodes).MendAllAsync(Stop));
        Assert.Equal(SmallLog.LastIndex, LogFixture.ReadAll(log).Count);
    }

    [Fact]
    public async Task A_peer_that_gave_the_entries_up_mends_nothing_and_makes_nothing_lost()
    {
        var (mine, theirs, others) = (new LogFixture(seed: 1), new LogFixture(seed: 2), new LogFixture(seed: 3));
        foreach (var fixture in new[] { mine, theirs, others })
        {
            SmallLog.Write(fixture);
        }

        mine.Device.Flip(mine.SegmentPath(1), DamagedOffset, 1);
        others.Device.Flip(others.SegmentPath(1), DamagedOffset, 1);
        await using var nodes = await TestNodes.StartAsync(3);
        using var hollow = theirs.Open();
        using (var rewrite = hollow.HollowSegment(new LogIndex(1)))
        {
            SmallLog.Entries[..11].ForEach(entry => rewrite.Add(LogFixture.Less(entry)));
            rewrite.Finish();
        }

        using var damaged = others.Open();
        using var log = mine.Open();
        nodes.Gates[1].Log = nodes.Gates[2].Log = new LogSource(hollow);
        Assert.Throws<StorageCorruptException>(() => LogFixture.ReadAll(log));
        var repair = RepairOf(log, nodes);

        Assert.Equal((0, 1), await repair.MendAllAsync(Stop));
        Assert.Equal(0, repair.CountLost(LogFixture.Group));
        nodes.Gates[2].Log = new LogSource(damaged);
        Assert.Equal((0, 1), await repair.MendAllAsync(Stop));
        Assert.Equal(1, repair.CountLost(LogFixture.Group)); // Nobody is left who could have it.
    }

    private static SegmentRepair RepairOf(GroupLog log, TestNodes nodes) => new(
        [new Repairable(log)],
        () => [.. Enumerable.Range(2, nodes.Transports.Count - 1).Select(node => new NodeId(node))],
        nodes.Transports[0].FetchEntriesAsync,
        TimeProvider.System,
        new Random(1),
        NullLogger.Instance);

    private sealed class Repairable(GroupLog log) : IRepairable
    {
        public GroupId Group => LogFixture.Group;

        public IReadOnlyList<DamagedSegment> DamagedSegments =>
        [
            .. log.SealedSegments.Where(static segment => segment.IsDamaged).Select(static segment =>
                new DamagedSegment(
                    segment.First, new LogPosition(segment.Last, SmallLog.Voted.Term), segment.SizeBytes)),
        ];

        public void ReplaceSegment(LogIndex first, IEnumerable<LogEntry> entries) =>
            log.ReplaceSegment(first, entries);
    }

    private sealed class LogSource(GroupLog log) : IEntrySource
    {
        public LogIndex FirstIndex => log.FirstIndex;

        public LogIndex CommittedIndex => log.LastIndex;

        public Term TermAt(LogIndex index) => SmallLog.Voted.Term;

        public bool HasGivenUp(LogIndex first, LogIndex last) => log.SealedSegments.Any(
            segment => segment.First <= last && segment.HollowThrough >= first);

        public int Read(LogIndex from, LogIndex to, int maxBytes, ICollection<LogEntry> into) =>
            log.Read(from, to, maxBytes, into);
    }
}

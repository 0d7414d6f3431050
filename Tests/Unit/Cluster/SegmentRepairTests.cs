using System.Runtime.CompilerServices;
using Broker.Cluster;
using Broker.Domain;
using Grpc.Core;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Broker.Tests.Unit.Membership;

public sealed class SegmentRepairTests
{
    private static readonly NodeId Two = new(2);
    private static readonly NodeId Three = new(3);

    private readonly DamagedLog _log = new();
    private readonly List<NodeId> _asked = [];
    private readonly HashSet<NodeId> _helpless = [];
    private readonly HashSet<NodeId> _damagedToo = [];

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_damaged_segment_is_replaced_by_the_entries_of_a_peer()
    {
        Damage(5, 9);

        Assert.Equal((1, 0), await Repair().MendAllAsync(Stop));
        Assert.Equal([5, 6, 7, 8, 9], _log.Replaced[new LogIndex(5)]);
        Assert.Single(_asked);
    }

    [Fact]
    public async Task A_peer_that_cannot_help_is_passed_over()
    {
        Damage(5, 9);
        _helpless.Add(Two);
        for (var seed = 0; seed < 8; seed++)
        {
            _log.Replaced.Clear();
            Damage(5, 9);
            Assert.Equal((1, 0), await Repair(seed).MendAllAsync(Stop));
        }

        Assert.Contains(Two, _asked);
        Assert.Contains(Three, _asked);
    }

    [Fact]
    public async Task Without_any_help_the_log_stays_as_it_is_and_each_peer_is_asked_once_a_round()
    {
        Damage(5, 9);
        _helpless.UnionWith([Two, Three]);

        Assert.Equal((0, 1), await Repair().MendAllAsync(Stop));
        Assert.Empty(_log.Replaced);
        Assert.Equal([Two, Three], _asked.OrderBy(node => node.Value));
    }

    [Fact]
    public async Task What_every_peer_has_damaged_too_is_known_as_lost_until_one_of_them_gets_it_back()
    {
        Damage(5, 9);
        _damagedToo.UnionWith([Two, Three]);
        var repair = Repair();
        Assert.Equal((0, 1), await repair.MendAllAsync(Stop));
        Assert.Equal(new LogIndex(9), repair.LostThrough(new GroupId(4), new LogIndex(7)));
        Assert.Equal(LogIndex.None, repair.LostThrough(new GroupId(4), new LogIndex(10)));
        Assert.Equal(LogIndex.None, repair.LostThrough(new GroupId(3), new LogIndex(7)));
        Assert.Equal(1, repair.CountLost(new GroupId(4)));

        _damagedToo.Remove(Three);
        Assert.Equal((1, 0), await repair.MendAllAsync(Stop));
        Assert.Equal(0, repair.CountLost(new GroupId(4)));
    }

    [Fact]
    public async Task What_was_lost_and_purged_is_not_called_lost_any_more()
    {
        Damage(5, 9);
        _damagedToo.UnionWith([Two, Three]);
        var repair = Repair();
        await repair.MendAllAsync(Stop);
        Assert.Equal(1, repair.CountLost(new GroupId(4)));

        _log.Damaged.Clear();
        Assert.Equal((0, 0), await repair.MendAllAsync(Stop));
        Assert.Equal(0, repair.CountLost(new GroupId(4)));
    }

    [Fact]
    public async Task What_a_peer_that_is_away_may_have_is_not_called_lost()
    {
        Damage(5, 9);
        _damagedToo.Add(Two);
        _helpless.Add(Three);
        var repair = Repair();
        Assert.Equal((0, 1), await repair.MendAllAsync(Stop));
        Assert.Equal(0, repair.CountLost(new GroupId(4)));
    }

    [Fact]
    public async Task A_fetch_that_breaks_half_way_touches_nothing()
    {
        Damage(5, 9);
        Damage(10, 12);
        var repair = new SegmentRepair(
            [_log], () => [Two], BreakAt(new LogIndex(7)), TimeProvider.System, new Random(1), NullLogger.Instance);

        Assert.Equal((1, 1), await repair.MendAllAsync(Stop));
        Assert.Equal([10, 11, 12], _log.Replaced[new LogIndex(10)]);
        Assert.Single(_log.Replaced);
    }

    [Fact]
    public async Task A_log_that_refuses_the_entries_does_not_end_the_repair_of_others()
    {
        Damage(5, 9);
        var refusing = new DamagedLog { Failure = new IOException("Not the entries of this log.") };
        refusing.Damaged[new LogIndex(1)] = new LogPosition(new LogIndex(4), new Term(2));
        var repair = new SegmentRepair(
            [refusing, _log], () => [Two, Three], FetchAsync, TimeProvider.System, new Random(1), NullLogger.Instance);

        Assert.Equal((1, 1), await repair.MendAllAsync(Stop));
    }

    [Fact]
    public async Task More_than_a_segment_can_hold_is_not_collected()
    {
        Damage(1, 100_000);
        var large = new LogEntry(
            new LogIndex(1), new Term(2), EntryKind.Commands, 1, 0, 0, new byte[Limits.EntryBytes]);
        var given = 0;
        async IAsyncEnumerable<LogEntry> Flood([EnumeratorCancellation] CancellationToken cancellationToken)
        {
            while (!cancellationToken.IsCancellationRequested)
            {
                await Task.Yield();
                given++;
                yield return large;
            }
        }

        var repair = new SegmentRepair(
            [_log],
            () => [Two],
            (_, _, _, _, _, _, stop) => Flood(stop),
            TimeProvider.System,
            new Random(1),
            NullLogger.Instance);
        Assert.Equal((0, 1), await repair.MendAllAsync(Stop));
        Assert.InRange(given, 2, (DamagedLog.SizeBytes / Limits.EntryBytes) + 1);
    }

    [Fact]
    public async Task The_loop_finds_new_damage_tries_again_and_ends_when_it_is_told()
    {
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(Stop);
        var time = new PeerStreams.ManualTime();
        _helpless.UnionWith([Two, Three]);
        var repair = new SegmentRepair(
            [_log], () => [Two, Three], FetchAsync, time, new Random(1), NullLogger.Instance);
        var running = repair.RunAsync(ended.Token);
        Damage(5, 9);
        Assert.Empty(_asked);
        var rounds = 0;
        for (var second = 0; second < 600; second++)
        {
            var before = _asked.Count;
            time.Advance(TimeSpan.FromSeconds(1));
            rounds += _asked.Count > before ? 1 : 0;
        }

        // 1, 2, 4 ... 60 s, of which half is chance: not every second, and not never.
        Assert.InRange(rounds, 10, 30);
        _helpless.Clear();
        time.Advance(TimeSpan.FromMinutes(1));
        Assert.Single(_log.Replaced);

        await ended.CancelAsync();
        await running.WaitAsync(TimeSpan.FromSeconds(10), Stop);
    }

    private SegmentRepair Repair(int seed = 1) =>
        new([_log], () => [Two, Three], FetchAsync, TimeProvider.System, new Random(seed), NullLogger.Instance);

    private void Damage(long first, long last) =>
        _log.Damaged[new LogIndex(first)] = new LogPosition(new LogIndex(last), new Term(2));

    private static FetchEntries BreakAt(LogIndex broken)
    {
        async IAsyncEnumerable<LogEntry> Give(LogIndex first, LogIndex last)
        {
            await Task.CompletedTask;
            for (var index = first; index <= last; index = index.Next())
            {
                yield return index == broken
                    ? throw new RpcException(new Status(StatusCode.Unavailable, "gone"))
                    : Entry(index);
            }
        }

        return (_, _, first, last, _, _, _) => Give(first, last);
    }

    private static LogEntry Entry(LogIndex index) => new(index, new Term(2), EntryKind.Noop, 0, 0, 0, default);

    private async IAsyncEnumerable<LogEntry> FetchAsync(
        NodeId peer,
        GroupId group,
        LogIndex first,
        LogIndex last,
        Term lastTerm,
        bool orLater,
        [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        Assert.Equal((new GroupId(4), new Term(2)), (group, lastTerm));
        _asked.Add(peer);
        await Task.CompletedTask;
        if (_damagedToo.Contains(peer))
        {
            throw new RpcException(new Status(StatusCode.DataLoss, "damaged here, too"));
        }

        if (_helpless.Contains(peer))
        {
            throw new RpcException(new Status(StatusCode.NotFound, "not here"));
        }

        for (var index = first; index <= last; index = index.Next())
        {
            cancellationToken.ThrowIfCancellationRequested();
            yield return Entry(index);
        }
    }

    private sealed class DamagedLog : IRepairable
    {
        public const long SizeBytes = 64 * 1024 * 1024;

        public Dictionary<LogIndex, LogPosition> Damaged { get; } = [];

        public Dictionary<LogIndex, List<long>> Replaced { get; } = [];

        public IOException? Failure { get; init; }

        public GroupId Group => new(4);

        public IReadOnlyList<DamagedSegment> DamagedSegments =>
            [.. Damaged.Select(each => new DamagedSegment(each.Key, each.Value, SizeBytes))];

        public void ReplaceSegment(LogIndex first, IEnumerable<LogEntry> entries)
        {
            if (Failure is not null)
            {
                throw Failure;
            }

            Replaced[first] = [.. entries.Select(each => each.Index.Value)];
            Damaged.Remove(first);
        }
    }
}

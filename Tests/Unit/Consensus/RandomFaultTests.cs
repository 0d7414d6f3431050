using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

/// <summary>
/// Five replicas whose members change, whose logs are dropped and whose disks lose things, under every kind of fault,
/// drawn from a seed. What is committed once stays; a term has one leader; a read misses nothing; and when all is well
/// again, all five vote and hold the same log.
/// </summary>
public sealed class RandomFaultTests
{
    private const int Size = 5;

    private static readonly Func<RaftOptions, RaftOptions> SmallMessages =
        o => o with { MaxAppendBytes = 300, MaxInFlightBytes = 900, SnapshotTimeout = TimeSpan.FromSeconds(2) };

    private readonly Dictionary<Term, NodeId> _leaders = [];
    private readonly List<Item> _committed = [];
    private readonly List<Packet> _network = [];
    private readonly HashSet<(int, int)> _cut = [];
    private readonly Dictionary<long, int> _reads = [];
    private readonly int[] _readsSeen = new int[Size + 1];
    private Replica[] _replicas = [];
    private Random _random = new(0);
    private long _nowMs;
    private int _value;
    private int _losses;

    [Theory]
    [MemberData(nameof(Seeds))]
    public void Committed_entries_survive_changes_of_membership_and_damage(int seed)
    {
        _random = new Random(seed);
        _replicas = [.. Enumerable.Range(1, Size).Select(id => new Replica(id, 3, (seed * 10) + id, 0, SmallMessages))];
        foreach (var replica in _replicas)
        {
            replica.AutoPersist = false;
        }

        for (var step = 0; step < 4_000; step++)
        {
            Disturb();
            Advance(lossy: true);
        }

        Heal();
        Assert.True(_committed.Count > 20, $"{_committed.Count} entries committed");
    }

    public static TheoryData<int> Seeds() => [.. Enumerable.Range(1, 12)];

    private void Disturb()
    {
        var replica = _replicas[_random.Next(Size)];
        switch (_random.Next(160))
        {
            case 0 when replica.IsUp:
                Crash(replica);
                break;
            case 1:
                _cut.Add((_random.Next(1, Size + 1), _random.Next(1, Size + 1)));
                break;
            case < 5:
                _cut.Clear();
                break;
            case < 8 when !replica.IsUp:
                replica.Restart(_nowMs);
                break;
            case 8 when replica.IsUp && replica.Node.CommitIndex.Value > replica.Node.BaseIndex.Value + 5:
                replica.Compact(new LogIndex(_random.NextInt64(
                    replica.Node.BaseIndex.Value + 1, replica.Node.CommitIndex.Value + 1)));
                break;
            case 9 when MayLose():
                Lose(replica);
                break;
            case < 12 when replica is { IsUp: true, Node.Role: RaftRole.Leader }:
                // Nobody who is well goes while another has lost its disk: together they may be a majority.
                var kind = (MembershipChangeKind)_random.Next(1, MayLose() ? 4 : 3);
                replica.Change(kind, _random.Next(1, Size + 1));
                break;
            case < 14 when replica is { IsUp: true, Node.Role: RaftRole.Leader }:
                replica.Node.TryTransferLeadership(new NodeId(_random.Next(1, Size + 1)));
                replica.Drain();
                break;
            default:
                Work(replica);
                break;
        }
    }

    private void Work(Replica replica)
    {
        if (replica is not { IsUp: true, Node.Role: RaftRole.Leader })
        {
            return;
        }

        if (_random.Next(3) == 0)
        {
            ChangeTowardsAll(replica);
        }
        else if (_random.Next(3) == 0)
        {
            _reads[++_value] = _committed.Count;
            replica.Node.TryReadIndex(_value);
            replica.Drain();
        }
        else if (replica.Node.TryPropose(100, out _) == ProposeResult.Accepted)
        {
            replica.Log.Add(new Item(replica.Node.Term, ++_value));
            replica.Drain();
        }
    }

    /// <summary>What a caller does that wants all five to be voters.</summary>
    private static void ChangeTowardsAll(Replica leader)
    {
        var configuration = leader.Node.Configuration;
        foreach (var follower in leader.Node.Followers)
        {
            var kind = follower switch
            {
                { IsLost: true, IsLearner: false } => MembershipChangeKind.Remove,
                { IsLost: true } => MembershipChangeKind.AddLearner,
                { IsLearner: true, IsCaughtUp: true } => MembershipChangeKind.Promote,
                _ => default,
            };
            if (kind != default)
            {
                leader.Change(kind, follower.NodeId.Value);
                return;
            }
        }

        for (var node = 1; node <= Size; node++)
        {
            if (!configuration.Contains(new NodeId(node)))
            {
                leader.Change(MembershipChangeKind.AddLearner, node);
                return;
            }
        }
    }

    /// <summary>
    /// One replica at a time, and only where a majority is left without it: else what was committed is truly gone.
    /// </summary>
    private bool MayLose() => Array.TrueForAll(
        _replicas,
        r => r.IsUp && !r.Node.IsPassive && !r.Node.IsFenced && r.Node.Configuration.Voters.Length >= 3);

    private void Lose(Replica replica)
    {
        _losses++;
        if (_random.Next(2) == 0)
        {
            replica.LoseDisk(_random.Next());
        }
        else if (replica.DurableLog.Count > replica.Node.BaseIndex.Value)
        {
            replica.LoseEnd(_random.Next((int)replica.Node.BaseIndex.Value, replica.DurableLog.Count));
        }

        // Its connections end with its process.
        _network.RemoveAll(p => p.Message.From == replica.Id || p.Message.To == replica.Id);
        replica.Crash();
        replica.Restart(_nowMs);
    }

    private void Crash(Replica replica)
    {
        for (var whole = _random.Next(replica.PendingWrites + 1); whole > 0; whole--)
        {
            replica.FinishWrite(report: false);
        }

        if (replica.PendingWrites > 0 && _random.Next(2) == 0)
        {
            replica.TearWrite();
        }

        replica.Crash();
    }

    private void Advance(bool lossy)
    {
        _nowMs += 5;
        foreach (var replica in _replicas.Where(r => r.IsUp))
        {
            replica.Tick(_nowMs);
            if (replica.PendingWrites > 0 && _random.Next(4) != 0)
            {
                replica.FinishWrite();
            }

            _network.AddRange(replica.Sent);
            replica.Sent.Clear();
        }

        for (var count = _network.Count; count > 0 && _network.Count > 0; count--)
        {
            Deliver(lossy);
        }

        Check();
    }

    private void Deliver(bool lossy)
    {
        // Mostly in order; now and then late, twice, or not at all.
        var fate = lossy ? _random.Next(40) : 39;
        var at = fate < 4 ? _random.Next(_network.Count) : 0;
        var packet = _network[at];
        if (fate != 0)
        {
            _network.RemoveAt(at);
        }

        var to = _replicas[packet.Message.To.Value - 1];
        if (fate == 1 || !to.IsUp || _cut.Contains((packet.Message.From.Value, packet.Message.To.Value)))
        {
            if (packet.Message.Kind == RaftMessageKind.InstallSnapshot)
            {
                _replicas[packet.Message.From.Value - 1].Node.ReportSnapshot(to.Id, sent: false);
            }

            return;
        }

        to.Receive(packet);
        _network.AddRange(to.Sent);
        to.Sent.Clear();
    }

    private void Check()
    {
        foreach (var replica in _replicas)
        {
            if (replica.IsUp && replica.Node.Role == RaftRole.Leader)
            {
                _leaders.TryAdd(replica.Node.Term, replica.Id);
                Assert.Equal(_leaders[replica.Node.Term], replica.Id);
            }

            for (var i = 0; i < replica.Applied.Count; i++)
            {
                if (i == _committed.Count)
                {
                    _committed.Add(replica.Applied[i]);
                }

                Assert.True(_committed[i] == replica.Applied[i], $"replica {replica.Id} applied another entry {i + 1}");
            }

            for (var seen = _readsSeen[replica.Id.Value]; seen < replica.Reads.Count; seen++)
            {
                var read = replica.Reads[seen];
                Assert.True(read.Refused || read.Index.Value >= _reads[read.Context], "a read misses nothing");
            }

            _readsSeen[replica.Id.Value] = replica.Reads.Count;
        }
    }

    private void Heal()
    {
        _cut.Clear();
        foreach (var replica in _replicas.Where(r => !r.IsUp))
        {
            replica.Restart(_nowMs);
        }

        const string all = "1 2 3 4 5 at";
        for (var end = _nowMs + 60_000; !IsWhole(all); Advance(lossy: false))
        {
            Assert.True(_nowMs < end, $"all is well again ({_losses} losses)\n{Describe()}");
            foreach (var leader in _replicas.Where(r => r.Node.Role == RaftRole.Leader))
            {
                ChangeTowardsAll(leader);
            }
        }
    }

    private bool IsWhole(string all) => Array.TrueForAll(
        _replicas,
        r => r.Node.Configuration.ToString().StartsWith(all, StringComparison.Ordinal)
            && r.Node.CommitIndex == _replicas[0].Node.CommitIndex
            && r.Node.CommitIndex == r.Node.LastIndex
            && r.DurableLog.Count == r.Node.LastIndex.Value
            && !r.Node.IsPassive && !r.Node.IsFenced);

    private string Describe() => string.Join('\n', _replicas.Select(r =>
        $"{r.Id} {r.Node.Role} t{r.Node.Term} base {r.Node.BaseIndex} commit {r.Node.CommitIndex} "
        + $"flushed {r.Node.FlushedIndex} last {r.Node.LastIndex} [{r.Node.Configuration}] leader {r.Node.Leader} "
        + $"fenced {r.Node.IsFenced} passive {r.Node.IsPassive} {string.Join("; ", r.Node.Followers)}"));
}

using Broker.Consensus;
using Broker.Domain;
using Google.Protobuf;

namespace Broker.Tests.Simulation;

/// <summary>
/// Links between nodes, each direction on its own: delay, loss, duplication, reordering, cuts. A stream that breaks
/// loses what was under way in it, and the nodes may be told.
/// </summary>
internal sealed class SimulatedNetwork(World world, int seed)
{
    private const long HealthyDelayMaxUs = 2_000;
    private const double DamageRate = 0.001;

    /// <summary>A snapshot takes so many times as long as a message, at most.</summary>
    private const int SnapshotSlowness = 8;

    /// <summary>As the transport: a transfer that is not answered for so long has failed.</summary>
    private const long SnapshotTimeoutUs = 5_000_000;

    private readonly WireFrames _frames = new(world, seed);
    private readonly HashSet<(int From, int To)> _cut = [];

    /// <summary>Nodes that fall silent after so many more messages with entries; they go on hearing.</summary>
    private readonly Dictionary<int, int> _mutedAfter = [];

    /// <summary>When the last message of a stream arrives: none overtakes it.</summary>
    private readonly Dictionary<(int From, int To), long> _lastArrivalUs = [];

    /// <summary>Counts the connections of a link; what a broken one carried never arrives.</summary>
    private readonly Dictionary<(int From, int To), int> _connection = [];

    /// <summary>
    /// Counts the losses of a node's disk: what it sent before, or was sent, never arrives. In production streams die
    /// with the process, so this holds where messages have no streams too.
    /// </summary>
    private readonly Dictionary<int, int> _losses = [];

    /// <summary>Faults are over: nothing is lost any more.</summary>
    public bool IsHealed { get; private set; }

    private Scenario Scenario => world.Scenario;

    public void Send(Packet packet)
    {
        var link = (packet.Message.From.Value, packet.Message.To.Value);
        if (_cut.Contains(link) || IsMuted(packet.Message))
        {
            return;
        }

        if (!IsHealed && world.Random.NextDouble() < Scenario.LossRate)
        {
            world.Figures.Count(Figure.MessageLost);
            if (Scenario.HasStreams)
            {
                Break(link.Item1, link.Item2);
            }

            return;
        }

        if (!IsHealed && _frames.TryHurt(packet.Wire, out var arrives))
        {
            if (arrives is null)
            {
                // It was noticed, as it must be: the connection ends, and its message is lost.
                Break(link.Item1, link.Item2);
            }
            else
            {
                Deliver(packet with { Wire = arrives }, link);
            }

            return;
        }

        Deliver(Damage(packet), link);
        if (!IsHealed && world.Random.NextDouble() < Scenario.DuplicateRate)
        {
            world.Figures.Count(Figure.MessageDuplicated);
            Deliver(packet, link);
        }
    }

    /// <summary>
    /// Gives a snapshot to a node beside the messages, and its answer back. Either may be lost; then it has failed for
    /// the sender, whatever became of it.
    /// </summary>
    public void SendSnapshot(int from, int to, Action<Action<bool>> receive, Action<bool> done)
    {
        var isOver = false;
        void Finish(bool isDone)
        {
            if (!isOver)
            {
                isOver = true;
                done(isDone);
            }
        }

        world.Figures.Count(Figure.SnapshotTransfer);
        world.Scheduler.After(SnapshotTimeoutUs, () => Finish(false));
        Transfer(from, to, () => receive(isDone => Transfer(to, from, () => Finish(isDone), () => Finish(false))),
            () => Finish(false));
        if (!IsHealed && !Scenario.HasStreams && world.Random.Next(2) == 0)
        {
            // An attempt that was given up, and arrives when nobody expects it any more.
            var late = world.Random.NextInt64(SnapshotTimeoutUs);
            var losses = LossesOf(from, to);
            world.Scheduler.After(late, () =>
            {
                if (losses == LossesOf(from, to))
                {
                    receive(_ => { });
                }
            });
        }
    }

    /// <summary>Nothing that a node sent, or was sent, before now arrives.</summary>
    public void Forget(int node) => _losses[node] = _losses.GetValueOrDefault(node) + 1;

    public void Cut(int from, int to)
    {
        if (_cut.Add((from, to)))
        {
            Break(from, to);
        }
    }

    /// <summary>A question would come, and so would its answer.</summary>
    public bool CanAsk(int from, int to) => !_cut.Contains((from, to)) && !_cut.Contains((to, from));

    /// <summary>Cuts a node off from all others, both ways.</summary>
    public void Isolate(int node)
    {
        foreach (var other in world.Machines.Where(n => n.Id.Value != node))
        {
            Cut(node, other.Id.Value);
            Cut(other.Id.Value, node);
        }
    }

    public void Mend()
    {
        var mended = _cut.ToArray();
        _cut.Clear();
        foreach (var (from, to) in mended)
        {
            TellReachable(from, to);
        }
    }

    /// <summary>The node's messages get stuck, all of them after so many that carry entries.</summary>
    public void MuteAfter(int node, int messages) => _mutedAfter[node] = messages;

    /// <summary>What got stuck is lost: the streams break.</summary>
    public void Unmute(int node)
    {
        if (_mutedAfter.Remove(node))
        {
            BreakAll(node);
        }
    }

    public void Heal()
    {
        IsHealed = true;
        foreach (var node in _mutedAfter.Keys.Order().ToArray())
        {
            Unmute(node);
        }

        Mend();
    }

    /// <summary>A node's process ended: its connections break, and its peers mostly notice at once.</summary>
    public void BreakAll(int node)
    {
        foreach (var other in world.Machines.Where(n => n.Id.Value != node))
        {
            Break(node, other.Id.Value);
        }
    }

    public void ConnectAll(int node)
    {
        foreach (var other in world.Machines.Where(n => n.Id.Value != node))
        {
            TellReachable(node, other.Id.Value);
        }
    }

    private bool IsMuted(RaftMessage message)
    {
        var node = message.From.Value;
        if (!_mutedAfter.TryGetValue(node, out var left) || left == 0)
        {
            return _mutedAfter.ContainsKey(node);
        }

        _mutedAfter[node] = left - (message.EntryCount > 0 ? 1 : 0);
        return false;
    }

    private (int From, int To) LossesOf(int from, int to) =>
        (_losses.GetValueOrDefault(from), _losses.GetValueOrDefault(to));

    private void Transfer(int from, int to, Action arrived, Action failed)
    {
        var delayMaxUs = Math.Min(Scenario.NetworkDelayMaxUs, IsHealed ? HealthyDelayMaxUs : long.MaxValue);
        var delayUs = world.Random.NextInt64(20, delayMaxUs) * world.Random.Next(1, SnapshotSlowness);
        var connection = _connection.GetValueOrDefault((from, to));
        var losses = LossesOf(from, to);
        var isLost = !IsHealed && world.Random.NextDouble() < Scenario.LossRate;
        world.Scheduler.After(delayUs, () =>
        {
            var arrives = !isLost && !_cut.Contains((from, to)) && losses == LossesOf(from, to)
                && connection == _connection.GetValueOrDefault((from, to));
            (arrives ? arrived : failed)();
        });
    }

    private void Break(int left, int right)
    {
        world.Figures.Count(Figure.BrokenStream, Scenario.HasStreams ? 1 : 0);
        _connection[(left, right)] = _connection.GetValueOrDefault((left, right)) + 1;
        _connection[(right, left)] = _connection.GetValueOrDefault((right, left)) + 1;
        foreach (var (node, peer) in new[] { (left, right), (right, left) })
        {
            if (world.Random.NextDouble() < Scenario.NoticeRate)
            {
                world.Scheduler.After(
                    world.Random.Next(5_000), () => world.MachineOf(node).TellUnreachable(new NodeId(peer)));
            }
        }

        if (!_cut.Contains((left, right)) && !_cut.Contains((right, left)))
        {
            world.Scheduler.After(5_000 + world.Random.Next(20_000), () => TellReachable(left, right));
        }
    }

    private void TellReachable(int left, int right)
    {
        if (!_cut.Contains((left, right)) && !_cut.Contains((right, left)))
        {
            world.MachineOf(left).TellReachable(new NodeId(right));
            world.MachineOf(right).TellReachable(new NodeId(left));
        }
    }

    /// <summary>
    /// A bit of an entry's body flips on the way, past every checksum below ours. The receiver must notice.
    /// </summary>
    private Packet Damage(Packet packet)
    {
        if (IsHealed || packet.Wire is not { Entries.Count: > 0 } wire || world.Random.NextDouble() >= DamageRate)
        {
            return packet;
        }

        var damaged = wire.Clone();
        var entry = damaged.Entries[world.Random.Next(damaged.Entries.Count)];
        var body = entry.Body.ToByteArray();
        if (body.Length == 0)
        {
            return packet;
        }

        world.Figures.Count(Figure.MessageDamaged);
        body[world.Random.Next(body.Length)] ^= (byte)(1 << world.Random.Next(8));
        entry.Body = ByteString.CopyFrom(body);
        return packet with { Wire = damaged };
    }

    private void Deliver(Packet packet, (int From, int To) link)
    {
        var delayMaxUs = Math.Min(Scenario.NetworkDelayMaxUs, IsHealed ? HealthyDelayMaxUs : long.MaxValue);
        var arrivalUs = world.Scheduler.NowUs + world.Random.NextInt64(20, delayMaxUs);
        var lastArrivalUs = _lastArrivalUs.GetValueOrDefault(link);
        if (Scenario.HasStreams)
        {
            arrivalUs = Math.Max(arrivalUs, lastArrivalUs);
        }
        else if (arrivalUs < lastArrivalUs)
        {
            world.Figures.Count(Figure.MessageOvertaken);
        }

        _lastArrivalUs[link] = Math.Max(arrivalUs, lastArrivalUs);

        var connection = _connection.GetValueOrDefault(link);
        var losses = LossesOf(link.From, link.To);
        world.Scheduler.After(arrivalUs - world.Scheduler.NowUs, () =>
        {
            var isSameConnection = !Scenario.HasStreams || connection == _connection.GetValueOrDefault(link);
            if (isSameConnection && !_cut.Contains(link) && losses == LossesOf(link.From, link.To))
            {
                var receiver = world.Groups[packet.Group.Value - 1].NodeOf(link.To);
                receiver.Hear(packet.Message.From);
                receiver.Receive(packet);
            }
        });
    }
}

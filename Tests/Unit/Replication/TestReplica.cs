using Broker.Consensus;
using Broker.Delivery;
using Broker.Diagnostics;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Replication;
using Broker.Storage;
using Broker.Tests.Simulation;
using Broker.Tests.Unit.Storage;
using Broker.Tests.Unit.Topics;
using Broker.Topics;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Broker.Tests.Unit.Replication;

/// <summary>
/// A real group with a real log on a simulated disk. The test is its log writer, its background, its network and its
/// clock; each may be held back.
/// </summary>
internal sealed class TestReplica(TestGroup cluster, int number) : ILogWriter, IBackgroundWork, IPeerSender
{
    public const string Folder = "/data/group-0001";

    private static readonly GroupId Group1 = new(1);
    private static readonly BrokerMetrics Metrics = new();

    private readonly Queue<Action> _background = new();
    private LogWrite? _write;
    private ReplicaGroup? _group;
    private CountingMachine? _machine;
    private GroupLog? _log;
    private SimulatedDevice? _device;
    private bool _isLoopAtWork;
    private bool _isKnown;
    private int _starts;

    public NodeId Id { get; } = new(number);

    public SimulatedDevice Device => _device ??= new SimulatedDevice(number)
    {
        OnTouch = path => Assert.False(_isLoopAtWork, $"the loop of {number} never waits for the disk, as for {path}"),
    };

    public bool IsUp => _group is not null;

    /// <summary>Reads and writes beside the log do not get their turn.</summary>
    public bool HoldsBackground { get; set; }

    /// <summary>The disk hangs under what is written to the log.</summary>
    public bool HoldsWrites { get; set; }

    /// <summary>How often the group asked that something be done sooner.</summary>
    public int Expedited { get; private set; }

    public List<PeerMessage> Sent { get; } = [];

    public int SnapshotsSent { get; private set; }

    /// <summary>What was read from disk for learners.</summary>
    public long CopiedBytes { get; private set; }

    /// <summary>For how long a learner gets no more after each read.</summary>
    public TimeSpan CopyPause { get; set; }

    public ReplicaGroup Group => _group!;

    public CountingMachine Machine => _machine!;

    public GroupLog Log => _log!;

    public GroupStatus Status => Group.Status;

    public int BackgroundCount => _background.Count;

    private static Guid StoreId => LogFixture.StoreId;

    public void Start()
    {
        _log = GroupLog.Open(
            Device, Folder, Group1, StoreId, LogFixture.SmallOptions(), NullLogger.Instance, _isKnown);
        _isKnown = true;
        var topics = new TopicStateMachine(new NoSink());
        topics.AttachIndexes(_log.Indexes.TryReadBody);
        _machine = new CountingMachine(topics);
        var options = new RaftOptions { Id = Id, Voters = cluster.Voters, PreferredLeader = cluster.Voters[0] };
        var random = new Random(HashCode.Combine(number, ++_starts));
        _group = new ReplicaGroup(
            Group1, options, _log, _machine, this, this, this, cluster.Time, random, Metrics, NullLogger.Instance)
        {
            DesiredMembers = cluster.DesiredMembers,
        };
        _group.OnInput(_ => { });
        foreach (var other in cluster.Replicas)
        {
            if (other.IsUp && other != this)
            {
                other.Group.PeerReachable(Id);
                _group.PeerReachable(other.Id);
            }
        }
    }

    /// <summary>Ends in order: the log is closed.</summary>
    public void Stop()
    {
        _log!.Dispose();
        Kill();
    }

    /// <summary>The process dies; what it had written is on the disk.</summary>
    public void Kill()
    {
        _group = null;
        _log = null;
        _write = null;
        _background.Clear();
        Device.Kill();
        foreach (var other in cluster.Replicas)
        {
            if (other.IsUp)
            {
                other.Group.PeerUnreachable(Id);
            }
        }
    }

    public void Restart()
    {
        Stop();
        Start();
    }

    public void Step()
    {
        if (!IsUp)
        {
            return;
        }

        Pump();
        while (!HoldsBackground && _background.TryDequeue(out var work))
        {
            work();
        }

        if (_write is { } write && !HoldsWrites)
        {
            TryWrite(write);
        }

        Pump();
    }

    private void Pump()
    {
        _isLoopAtWork = true;
        Group.Pump();
        _isLoopAtWork = false;
    }

    /// <summary>Reads all files at rest, as the node's scrubber does over time.</summary>
    public void Scrub()
    {
        IScrubbed log = Log;
        foreach (var item in log.ScrubItems())
        {
            for (var cursor = 0L; cursor != ScrubPiece.End;)
            {
                cursor = log.Verify(item, cursor, 64 * 1024).Next;
            }
        }
    }

    public IEnumerable<string> Files(string suffix) =>
        Device.List(Folder).Where(name => name.EndsWith(suffix, StringComparison.Ordinal));

    public string PathOf(string name) => Path.Combine(Folder, name);

    /// <summary>A topic's batches from its first offset on, as a consumer of this replica gets them.</summary>
    public async Task<List<byte[]>> ReadAllAsync(string topic)
    {
        Assert.True(Machine.Topics.TryGetTopic(topic, out var view), $"node {Id} has topic {topic}");
        var reader = new TopicReader(Machine.Topics, new TailSignal(), Group.ReadEntries);
        var read = new List<byte[]>();
        await foreach (var page in reader.ReadAsync(
            topic, view.FirstOffset, follow: false, TestContext.Current.CancellationToken))
        {
            read.AddRange(page.Batches.Select(batch => batch.Batch.ToArray()));
        }

        return read;
    }

    public void Submit(ReplicaGroup group, GroupLog log, LogWrite write)
    {
        Assert.Null(_write);
        _write = write;
    }

    public void Expedite(ReplicaGroup group) => Expedited++;

    public void Run(ReplicaGroup group, Action work) => _background.Enqueue(work);

    public void Send(NodeId to, PeerMessage message)
    {
        Sent.Add(message);
        cluster.Deliver(Id, to, replica => replica.Group.Receive(message));
    }

    public void SendSnapshot(
        NodeId to, GroupId group, PeerMessage message, ReadOnlyMemory<byte> data, Action<bool> done)
    {
        SnapshotsSent++;
        var copy = data.ToArray();
        var isOnItsWay = cluster.Deliver(
            Id, to, replica => replica.Group.ReceiveSnapshot(message, copy, (installed, _) => done(installed)));
        if (!isOnItsWay)
        {
            done(false);
        }
    }

    public TimeSpan ChargeCopy(long bytes)
    {
        CopiedBytes += bytes;
        return CopyPause;
    }

    private void TryWrite(LogWrite write)
    {
        try
        {
            Log.Write(write);
        }
        catch (DiskFullException full)
        {
            _write = null;
            Group.WriteFoundNoSpace(full.Message);
            return;
        }

        _write = null;
        Group.WriteCompleted();
    }
}

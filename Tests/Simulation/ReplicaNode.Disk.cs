using Broker.Domain;
using Broker.Replication;
using Broker.Storage;
using Microsoft.Extensions.Logging.Abstractions;

namespace Broker.Tests.Simulation;

/// <content>The log writer of this node, on virtual time, and what a crash does to its disk.</content>
internal sealed partial class ReplicaNode : ILogWriter
{
    private static readonly Guid StoreId = new("5ca1ab1e-0000-4000-8000-000000000001");

    private readonly SimulatedDevice _device;
    private readonly string _folder;
    private readonly StorageOptions _storageOptions;

    /// <summary>What completed writes have made durable: no crash may take it away.</summary>
    private readonly List<Entry> _durable = [];

    private HardState _durableHardState;

    /// <summary>The write that the writer has, or that a crash interrupted.</summary>
    private LogWrite? _write;

    private GroupLog? _log;

    public override HardState DurableHardState => _durableHardState;

    public override bool IsWriting => IsUp && _write is not null;

    public override bool IsStalled =>
        _status?.Condition is { IsWriteStalled: true } or { IsBackgroundStalled: true };

    public override Entry? DurableAt(LogIndex index) =>
        index.Value >= 1 && index.Value <= _durable.Count ? _durable[(int)index.Value - 1] : null;

    public void Submit(ReplicaGroup group, GroupLog log, LogWrite write)
    {
        World.Check(_write is null || _write == write, $"node {Id} has one write at a time");
        _write = write;
        Machine.Disk.Submit(this);
        if (write.TruncateFrom is not null || write.DropThrough is not null || write.Snapshot is not null
            || (write.HardState is not null && write.Entries.Count > 0))
        {
            World.Faults.OnDelicateWrite(Machine);
        }
    }

    protected override void FinishWriting()
    {
        var write = _write!;
        try
        {
            _log!.Write(write);
        }
        catch (DiskFullException full)
        {
            Say("disk is full");
            World.Figures.Count(Figure.DiskFull);
            EndFlush();
            WhenRunning(() => _group!.WriteFoundNoSpace(full.Message));
            return;
        }
        catch (StorageException failure)
        {
            // The real writer ends the process; whoever watches over it starts it again.
            Say($"ends: {failure.Message}");
            World.Figures.Count(Figure.DiskError);
            Machine.Crash();
            World.Scheduler.After(World.Random.Next(1_000_000), Machine.Start);
            return;
        }

        NoteDurable(write);
        _write = null;
        EndFlush();
        WhenRunning(() => _group!.WriteCompleted());
    }

    private void NoteDurable(LogWrite write)
    {
        NoteHardState(write.HardState ?? _durableHardState);
        if (write.Snapshot is { } install)
        {
            Install(install.Position);
        }

        World.Figures.Count(Figure.LogDropped, write.DropThrough is null ? 0 : 1);
        if (write.TruncateFrom is { } from)
        {
            Cut(from.Previous());
        }

        foreach (var entry in write.Entries)
        {
            AddDurable(entry);
        }

        var isSame = _log!.LastIndex.Value == _durable.Count && _log.HardState == _durableHardState;
        World.Check(isSame, $"node {Id}'s log ends where its writes end");
    }

    /// <summary>The snapshot stands for all committed entries up to its position.</summary>
    private void Install(LogPosition position)
    {
        var last = position.Index;
        World.Check(
            last <= new LogIndex(Group.History.Committed) && Group.History.CommittedAt(last).Term == position.Term,
            $"node {Id} installs a snapshot at {position}, which has not committed");
        Group.History.CheckMembersKnown(this, last, _log!.Configuration?.Index ?? LogIndex.None);
        var removed = _durable.ToArray();
        _durable.Clear();
        for (var index = new LogIndex(1); index <= last; index = index.Next())
        {
            var entry = Group.History.CommittedAt(index);
            var previous = _durable.Count == 0 ? 0 : _durable[^1].Chain;
            _durable.Add(Entry.After(previous, entry.Term, entry.Value, entry.SizeBytes));
        }

        for (var i = 0; i < removed.Length; i++)
        {
            if (i >= _durable.Count || removed[i] != _durable[i])
            {
                Group.History.CheckRemoved(this, new LogIndex(i + 1), removed[i]);
            }
        }
    }

    private void NoteHardState(HardState hardState)
    {
        History.CheckHardState(this, _durableHardState, hardState);
        _durableHardState = hardState;
    }

    private void AddDurable(LogEntry entry)
    {
        var identity = Identify(entry);
        var previous = _durable.Count == 0 ? 0 : _durable[^1].Chain;
        _durable.Add(Entry.After(previous, identity.Term, identity.Value, identity.SizeBytes));
        Group.History.CheckAppended(this, entry.Index, _durable[^1]);
        if (entry.Kind == EntryKind.Configuration
            && GroupConfiguration.TryDecode(entry.Body.Span, entry.Index, out var members))
        {
            Group.History.NoteConfiguration(members);
            Group.History.NoteMemberEntry(entry.Index, entry.Term);
        }
    }

    /// <summary>Raft's log may have lost these entries before; the disk loses them now.</summary>
    private void Cut(LogIndex last)
    {
        if (last.Value < _durable.Count)
        {
            for (var i = (int)last.Value; i < _durable.Count; i++)
            {
                Group.History.CheckRemoved(this, new LogIndex(i + 1), _durable[i]);
            }

            _durable.RemoveRange((int)last.Value, _durable.Count - (int)last.Value);
        }
    }

    /// <summary>An orderly stop: the log's end is known from now on.</summary>
    public override void Close()
    {
        _log!.Dispose();
        _log = null;
    }

    public override void Tear()
    {
        if (_write is { } write && World.Random.Next(4) > 0)
        {
            TearWrite(_log!, write);
        }

        _log = null;
    }

    public override void Open()
    {
        // What a write left half done is mended now: a second crash while that goes on is the harder one. It would also
        // wipe out what makes a replica doubt, which is kept in memory alone.
        if (!Machine.Replicas.Exists(static replica => replica.LosesLast)
            && World.Random.Next(_write is null ? 8 : 2) == 0)
        {
            _device.PowerCutAt = _device.OperationCount + World.Random.Next(1, 10);
        }

        _log = GroupLog.Open(_device, _folder, GroupId, StoreId, _storageOptions, NullLogger.Instance, _isKnownGroup);
        _isKnownGroup = true;
        _device.PowerCutAt = null;
        CheckRecovered();
    }

    private void TearWrite(GroupLog log, LogWrite write)
    {
        // Most writes are a few operations; one that truncates or begins a segment has many.
        _device.PowerCutAt ??= _device.OperationCount + World.Random.Next(1, World.Random.Next(2) == 0 ? 5 : 30);
        try
        {
            log.Write(write);
            Say("crashes after a write that it never learned of");
        }
        catch (DiskFullException)
        {
            Say("crashes after a write that found no space");
        }
        catch (Exception failure) when (failure is SimulatedPowerCutException or StorageException)
        {
            Say("crashes within a write");
            World.Figures.Count(Figure.CrashWithinWrite);
            World.Figures.Count(Figure.CrashWithinTruncation, write.TruncateFrom is null ? 0 : 1);
        }
    }
}

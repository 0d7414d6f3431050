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

    private readonly DurableLog _durable;

    /// <summary>The write that the writer has, or that a crash interrupted.</summary>
    private LogWrite? _write;

    private GroupLog? _log;

    public override HardState DurableHardState => _durable.HardState;

    public override bool IsWriting => IsUp && _write is not null;

    public override bool IsStalled =>
        _status?.Condition is { IsWriteStalled: true } or { IsBackgroundStalled: true };

    public override Entry? DurableAt(LogIndex index) => _durable.At(index);

    public override Entry? CutAt(LogIndex index) => _durable.CutAt(index);

    /// <summary>The entry of the members that its disk knows.</summary>
    private LogIndex KnownMembers => _log!.Configuration?.Index ?? LogIndex.None;

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
        _durable.Note(write.HardState ?? _durable.HardState);
        if (write.Snapshot is { } install)
        {
            _durable.Install(install.Position, KnownMembers);
        }

        World.Figures.Count(Figure.LogDropped, write.DropThrough is null ? 0 : 1);
        if (write.TruncateFrom is { } from)
        {
            _durable.Cut(from.Previous());
        }

        foreach (var entry in write.Entries)
        {
            _durable.Add(entry);
            Group.LargestEntryBytes = Math.Max(Group.LargestEntryBytes, LogEntry.OverheadBytes + entry.Body.Length);
        }

        var isSame = _log!.LastIndex == _durable.LastIndex && _log.HardState == _durable.HardState;
        World.Check(isSame, $"node {Id}'s log ends where its writes end");
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

using System.Buffers.Binary;
using Broker.Domain;
using Broker.Replication;
using Broker.Storage;

namespace Broker.Tests.Simulation;

/// <content>Damage of this node's files, and what finds and mends it, on virtual time.</content>
internal sealed partial class ReplicaNode
{
    private const string VoteName = "vote";

    /// <summary>Far more often than in production, where a pass over all files takes a day.</summary>
    private const long ScrubIntervalUs = 2_000_000;

    private const long RepairIntervalUs = 500_000;

    /// <summary>What damage took away and the replica knows to lack, by its fence or as lost.</summary>
    private readonly Dictionary<LogIndex, Entry> _lost = [];

    /// <summary>The last entry of its disk was damaged, which looks like a write that never returned.</summary>
    private bool _losesLast;

    /// <summary>The file that has it.</summary>
    private string _lastFile = "";

    private bool _isKnownGroup;

    /// <summary>The names of segments that damage may hit, chosen before the process ends.</summary>
    private HashSet<string> _hurtable = [];

    private long _scrubDueUs;
    private long _repairDueUs;
    private bool _isRepairing;

    /// <summary>Passes over all files since this start.</summary>
    private int _scrubbed;

    public override Entry? LostAt(LogIndex index) => _lost.TryGetValue(index, out var entry) ? entry : null;

    public override bool CanBeHurt => _isKnownGroup;

    public override bool LosesLast => _losesLast;

    /// <summary>
    /// The process ends, and some of its files are not what they were when it starts again. The last write before a
    /// power cut has no proof behind it (see Broker/Storage/README.md), so the end of the log is damaged only after an
    /// orderly stop.
    /// </summary>
    public override void ChooseDamage(bool isOrderly)
    {
        _hurtable = [];
        if (IsUp && _write?.TruncateFrom is null && _write?.Snapshot is null)
        {
            _hurtable.UnionWith(_log!.SealedSegments.Select(static segment => GroupFolder.SegmentName(segment.First)));
        }

        if (isOrderly)
        {
            _hurtable.Add(GroupFolder.SegmentName(_log!.SealedThrough.Next()));
        }
    }

    public override void Hurt()
    {
        IsHurt = true;
        if (World.Random.Next(8) == 0)
        {
            Wipe();
            return;
        }

        for (var count = World.Random.Next(1, 4); count > 0; count--)
        {
            var names = _device.List(_folder).Where(name => !name.EndsWith(".log", StringComparison.Ordinal)
                || _hurtable.Contains(name)).ToArray();
            if (names.Length > 0)
            {
                Damage(names[World.Random.Next(names.Length)]);
            }
        }
    }

    public override bool TryChooseLast()
    {
        if (_write is not null || !Machine.Disk.IsSound || _log!.LastIndex != LastIndex)
        {
            return false;
        }

        var before = LogIndex.Max(_log.SealedThrough, _log.Base.Index);
        _lastFile = $"{_folder}/{GroupFolder.SegmentName(before.Next())}";
        return before < LastIndex;
    }

    public override void LoseLast(bool isProven)
    {
        FlipLastFrame(_lastFile);
        IsHurt = true;
        _losesLast = !isProven;
    }

    private void FlipLastFrame(string path)
    {
        var bytes = new byte[_device.Length(path)];
        using (var file = _device.Open(path, create: false))
        {
            file.Read(0, bytes);
        }

        var at = bytes.AsSpan().LastIndexOf(FrameHeader.Magic);
        while (at % FrameHeader.AlignmentBytes != 0)
        {
            at = bytes.AsSpan(0, at).LastIndexOf(FrameHeader.Magic);
        }

        var bodyBytes = BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(at + 8));
        var offset = at + World.Random.Next(FrameHeader.SizeBytes + bodyBytes);
        Say($"finds a bit of its last entry {_durable.Count} flipped at {offset}");
        World.Figures.Count(Figure.LastFrameLost);
        _device.Flip(path, offset, (byte)(1 << World.Random.Next(8)));
    }

    private void Wipe()
    {
        Say("loses all files");
        World.Figures.Count(Figure.DiskWiped);
        foreach (var name in _device.List(_folder))
        {
            _device.Delete($"{_folder}/{name}");
        }

        _device.SyncFolder(_folder);
    }

    private void Damage(string name)
    {
        var path = $"{_folder}/{name}";
        var length = _device.Length(path);
        switch (World.Random.Next(name == VoteName ? 8 : 4))
        {
            case 0:
                Say($"loses {name}");
                World.Figures.Count(Figure.FileDeleted);
                _device.Delete(path);
                _device.SyncFolder(_folder);
                break;
            case 1 when length > 0:
                var shorter = World.Random.NextInt64(length);
                Say($"finds {name} cut short to {shorter} of {length}");
                World.Figures.Count(Figure.FileCutShort);
                _device.SetLength(path, shorter);
                break;
            default:
                for (var flips = World.Random.Next(1, 4); flips > 0 && length > 0; flips--)
                {
                    var offset = World.Random.NextInt64(length);
                    Say($"finds a bit of {name} flipped at {offset} of {length}");
                    World.Figures.Count(Figure.BitFlip);
                    _device.Flip(path, offset, (byte)(1 << World.Random.Next(8)));
                }

                break;
        }
    }

    private void BeginUpkeep()
    {
        _scrubDueUs = World.Scheduler.NowUs + World.Random.NextInt64(ScrubIntervalUs);
        _scrubbed = 0;
        _isRepairing = false;
        if (IsHurt)
        {
            World.Figures.Count(Figure.SegmentDamaged, _status!.Condition.DamagedSegments);
            World.Figures.Count(Figure.ReplicaFenced, _log!.Fence == LogPosition.None ? 0 : 1);
            World.Figures.Count(Figure.ReplicaLost, _log.HardState.IsLost ? 1 : 0);
        }
    }

    private void LookAfterDisk()
    {
        if (!IsHurt || !IsUp)
        {
            return;
        }

        var now = World.Scheduler.NowUs;
        if (now >= _scrubDueUs)
        {
            _scrubDueUs = now + ScrubIntervalUs;
            Scrub();
        }

        if (now >= _repairDueUs && !_isRepairing)
        {
            _repairDueUs = now + RepairIntervalUs;
            Repair();
        }

        if (_scrubbed > 0 && HasEverything())
        {
            Say("has healed");
            _losesLast = false;
            World.Figures.Count(Figure.NodeHealed);
            IsHurt = false;
            _lost.Clear();
        }
    }

    /// <summary>Reads what nobody reads. What it finds is marked by the log itself.</summary>
    private void Scrub()
    {
        foreach (var segment in _log!.SealedSegments)
        {
            try
            {
                _log.Read(segment.First, segment.Last, int.MaxValue, _read);
            }
            catch (StorageCorruptException damage)
            {
                Say($"finds damage: {damage.Message}");
            }
        }

        _read.Clear();
        foreach (var index in _log.Snapshots.List())
        {
            _log.Snapshots.TryRead(index, out _);
        }

        _scrubbed++;
    }

    private bool HasEverything()
    {
        var condition = _status!.Condition;
        var committed = Group.History.Committed;
        return !(condition.IsFenced || condition.IsLost || condition.IsPassive || condition.IsApplyBlocked)
            && _log!.Fence == LogPosition.None && !_log.SealedSegments.Any(static segment => segment.IsDamaged)
            && Members.IsVoter(Id) && _durable.Count >= committed
            && (committed == 0 || Group.History.IsCommitted(new LogIndex(committed), _durable[committed - 1]));
    }

    /// <summary>As SegmentRepair: all entries from a peer that has them committed, then the file is new.</summary>
    private void Repair()
    {
        var damaged = _log!.SealedSegments.Where(static segment => segment.IsDamaged).ToArray();
        if (damaged.Length == 0)
        {
            return;
        }

        var segment = damaged[World.Random.Next(damaged.Length)];
        var peers = Group.Nodes.OfType<ReplicaNode>().Where(node => node != this && node.IsUp).ToArray();
        if (peers.Length == 0)
        {
            return;
        }

        var peer = peers[World.Random.Next(peers.Length)];
        var term = _durable[(int)segment.Last.Value - 1].Term;
        var life = Life;
        _isRepairing = true;
        World.Scheduler.After(World.Random.NextInt64(20, 2 * World.Scenario.NetworkDelayMaxUs), () =>
        {
            var entries = peer.ReadForPeer(segment, term);
            World.Scheduler.After(World.Random.NextInt64(20, 2 * World.Scenario.NetworkDelayMaxUs), () =>
            {
                if (life == Life)
                {
                    _isRepairing = false;
                    WhenRunning(() => Replace(segment, entries));
                }
            });
        });
    }

    private void Replace(SealedSegment segment, List<LogEntry>? entries)
    {
        if (entries is null)
        {
            return;
        }

        try
        {
            _log!.ReplaceSegment(segment.First, entries);
            Say($"mends segment {segment.First} to {segment.Last}");
            World.Figures.Count(Figure.SegmentMended);
        }
        catch (IOException failure)
        {
            Say($"cannot mend segment {segment.First} to {segment.Last}: {failure.Message}");
        }
    }

    /// <summary>Null when it does not have them all, committed.</summary>
    private List<LogEntry>? ReadForPeer(SealedSegment segment, Term term)
    {
        if (!IsUp || IsPaused || _log is null || segment.First < _log.FirstIndex
            || _status!.CommitIndex < segment.Last || DurableAt(segment.Last)?.Term != term)
        {
            return null;
        }

        var entries = new List<LogEntry>();
        try
        {
            while (entries.Count < segment.Last - segment.First + 1
                && _log.Read(segment.First + entries.Count, segment.Last, int.MaxValue, entries) > 0)
            {
            }
        }
        catch (StorageCorruptException)
        {
            return null;
        }

        return entries;
    }

    /// <summary>
    /// A replica that is whole again must have what it had, as far as it was committed: from now on it votes for whom
    /// it likes.
    /// </summary>
    private void NoteCondition(GroupCondition before, GroupCondition now)
    {
        World.Figures.Count(Figure.SegmentDamaged, Math.Max(0, now.DamagedSegments - before.DamagedSegments));
        if (!now.Configuration.Equals(before.Configuration))
        {
            var isPromoted = now.Configuration.IsVoter(Id) && !before.Configuration.IsVoter(Id);
            World.Figures.Count(Figure.MemberPromoted, isPromoted ? 1 : 0);
            Say($"has the members {now.Configuration} of entry {now.Configuration.Index}");
        }

        var wasShort = before.IsFenced || before.IsLost || before.IsPassive;
        if (wasShort && IsHurt && !(now.IsFenced || now.IsLost || now.IsPassive))
        {
            foreach (var (index, entry) in _lost)
            {
                var isBack = !Group.History.IsCommitted(index, entry)
                    || (DurableAt(index) is { } durable && Group.History.IsCommitted(index, durable));
                World.Check(isBack, $"node {Id} is whole again, but lacks committed entry {index}");
            }

            _lost.Clear();
        }
    }
}

using Broker.Cluster;
using Broker.Domain;
using Broker.Replication;
using Broker.Storage;

namespace Broker.Tests.Simulation;

/// <content>Damage of this node's files, and what finds and mends it, on virtual time.</content>
internal sealed partial class ReplicaNode
{
    /// <summary>Far more often than in production, where a pass over all files takes a day.</summary>
    private const long ScrubIntervalUs = 2_000_000;

    private const long RepairIntervalUs = 500_000;

    private readonly FileDamage _fileDamage;

    /// <summary>The last entry of its disk was damaged, which looks like a write that never returned.</summary>
    private bool _losesLast;

    /// <summary>The segment that has it.</summary>
    private string _lastSegment = "";

    private LogIndex _baseAtDamage;

    private bool _isKnownGroup;

    /// <summary>The names of segments that damage may hit, chosen before the process ends.</summary>
    private HashSet<string> _hurtable = [];

    private long _scrubDueUs;
    private long _repairDueUs;
    private bool _isRepairing;

    /// <summary>Passes over all files since this start.</summary>
    private int _scrubbed;

    public override Entry? LostAt(LogIndex index) => _durable.LostAt(index);

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
        _durable.CommittedAtLoss = Group.History.Committed;
        _fileDamage.Strike(_hurtable);
    }

    /// <summary>The process ends, and starts again with nothing of this group.</summary>
    public void LoseAll()
    {
        Machine.Crash();
        IsHurt = true;
        _durable.CommittedAtLoss = Group.History.Committed;
        World.Network.Forget(Id.Value);
        _fileDamage.Wipe();
        Machine.Start();
    }

    public override bool TryChooseLast()
    {
        if (_write is not null || !Machine.Disk.IsSound || _log!.LastIndex != LastIndex)
        {
            return false;
        }

        var before = LogIndex.Max(_log.SealedThrough, _log.Base.Index);
        _lastSegment = GroupFolder.SegmentName(before.Next());
        return before < LastIndex;
    }

    public override void LoseLast(bool isProven)
    {
        _fileDamage.FlipLastFrame(_lastSegment, _durable.Count);
        IsHurt = true;
        _losesLast = !isProven;
    }

    /// <summary>
    /// Chooses a sealed segment that lies before an entry, of which another replica has a snapshot; false: there is
    /// none.
    /// </summary>
    public bool TryChooseUnapplied(LogIndex before, out LogIndex last)
    {
        var sealedBefore = IsUp ? _log!.SealedSegments.Where(segment => segment.Last <= before).ToArray() : [];
        last = LogIndex.None;
        if (sealedBefore.Length == 0)
        {
            return false;
        }

        var segment = sealedBefore[World.Random.Next(sealedBefore.Length)];
        last = segment.Last;
        _lastSegment = GroupFolder.SegmentName(segment.First);
        _baseAtDamage = _log!.Base.Index;
        return true;
    }

    /// <summary>
    /// Damages that one while the process is down, and whatever could be restored behind it; false: it is not there.
    /// </summary>
    public bool TryLoseUnapplied()
    {
        var isLost = _fileDamage.TryLoseUnapplied(_lastSegment, _baseAtDamage);
        IsHurt |= isLost;
        return isLost;
    }

    /// <summary>
    /// Chooses the sealed segment that has the last entry which has committed, and others behind it; false: there is
    /// none.
    /// </summary>
    public bool TryChooseReopened()
    {
        var commit = _status?.CommitIndex ?? LogIndex.None;
        foreach (var segment in IsUp ? _log!.SealedSegments : [])
        {
            if (segment.First <= commit && commit < segment.Last)
            {
                _lastSegment = GroupFolder.SegmentName(segment.First);
                return true;
            }
        }

        return false;
    }

    /// <summary>Damages what a truncation will leave of that one, while the process is down.</summary>
    public void LoseReopened()
    {
        IsHurt = true;
        _fileDamage.FlipFirstFrame(_lastSegment);
    }

    /// <summary>What an operator's tools would see of it; null while it is down.</summary>
    public ReplicaFacts? Facts => _status is null ? null : ReplicaFacts.Of(Id, _status);

    public bool IsSuperseded => _status is { Condition.IsSuperseded: true };

    public override void LosePromises(bool isEnd)
    {
        IsHurt = true;
        _durable.CommittedAtLoss = 0;
        World.Network.Forget(Id.Value);
        _fileDamage.LosePromises(_lastSegment, isEnd);
    }

    /// <summary>What its disk has does not count any more, and it knows that from its next start on.</summary>
    public void NoteSuperseded()
    {
        World.Figures.Count(Figure.ReplicaSuperseded);
        _durable.CommittedAtLoss = 0;
        IsHurt = true;
    }

    /// <summary>An operator has the group go on from here.</summary>
    public void ForceRecovery(IReadOnlyCollection<NodeId> others, Term above) => WhenRunning(() =>
    {
        Say($"is the one from which the group shall go on; {string.Join(' ', others)} give up their votes");
        _calls.AddRecovery(_group!.ForceRecoveryAsync(others, above, CancellationToken.None));
    });

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
        var now = World.Scheduler.NowUs;
        if (IsUp && now >= _repairDueUs && !_isRepairing && (IsHurt || _log!.HollowSegments > 0))
        {
            _repairDueUs = now + RepairIntervalUs;
            Repair();
        }

        if (!IsHurt || !IsUp)
        {
            return;
        }

        if (now >= _scrubDueUs)
        {
            _scrubDueUs = now + ScrubIntervalUs;
            Scrub();
        }

        if (_scrubbed > 0 && HasEverything())
        {
            Say("has healed");
            _losesLast = false;
            World.Figures.Count(Figure.NodeHealed);
            IsHurt = false;
            _durable.ForgetLost();
        }
    }

    /// <summary>Reads what nobody reads. What it finds is marked by the log itself.</summary>
    private void Scrub()
    {
        foreach (var segment in _log!.SealedSegments.Where(static segment => !segment.IsHollow))
        {
            try
            {
                _log.Read(LogIndex.Max(segment.First, segment.HollowThrough.Next()), segment.Last, int.MaxValue, _read);
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

    private bool HasEverything() =>
        IsWholeButSegments() && !_log!.SealedSegments.Any(static segment => segment.IsDamaged);

    private bool IsWholeButSegments()
    {
        var condition = _status!.Condition;
        return !(condition.IsFenced || condition.IsLost || condition.IsPassive || condition.IsApplyBlocked)
            && _log!.Fence == LogPosition.None && IsWhatItShouldBe && _durable.HasCommitted();
    }

    /// <summary>
    /// It has all but damaged segments that no other replica can give it, and of which nobody wants anything: they go
    /// when its own log is dropped, and nobody can say when that is.
    /// </summary>
    public bool IsPastMending => IsUp && IsHurt && _scrubbed > 0 && IsWholeButSegments()
        && _log!.SealedSegments.Where(static segment => segment.IsDamaged).All(segment =>
            segment.Last < _group!.Machine.FirstNeeded && Group.Nodes.OfType<ReplicaNode>().All(node => node == this
                || (node.IsUp
                    && node.ReadForPeer(segment, _durable[(int)segment.Last.Value - 1].Term, orLater: false) is null)));

    /// <summary>As SegmentRepair: all entries from a peer that has them committed, then the file is new.</summary>
    private void Repair()
    {
        var damaged = _log!.SealedSegments.Where(segment => GroupRepair.IsWanted(segment, _group!)).ToArray();
        if (damaged.Length == 0)
        {
            return;
        }

        var segment = damaged[World.Random.Next(damaged.Length)];
        var peers = Group.Nodes.OfType<ReplicaNode>().Where(node => node != this && node.IsUp
            && (!segment.IsHollow || Members.IsVoter(node.Id))).ToArray();
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
            var entries = peer.ReadForPeer(segment, term, orLater: segment.IsHollow);
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
            _repairDueUs = World.Scheduler.NowUs; // The next one at once, if there is one.
            World.Figures.Count(segment.IsHollow ? Figure.SegmentFilled : Figure.SegmentMended);
        }
        catch (IOException failure)
        {
            Say($"cannot mend segment {segment.First} to {segment.Last}: {failure.Message}");
        }
    }

    /// <summary>Null when it does not have them all, committed.</summary>
    private List<LogEntry>? ReadForPeer(SealedSegment segment, Term term, bool orLater)
    {
        var first = orLater && _log is not null ? LogIndex.Max(segment.First, _log.FirstIndex) : segment.First;
        if (!IsUp || IsPaused || _log is null || first < _log.FirstIndex || first > segment.Last
            || _status!.CommitIndex < segment.Last || DurableAt(segment.Last)?.Term != term)
        {
            return null;
        }

        var entries = new List<LogEntry>();
        try
        {
            while (entries.Count < segment.Last - first + 1
                && _log.Read(first + entries.Count, segment.Last, int.MaxValue, entries) > 0)
            {
            }
        }
        catch (StorageCorruptException)
        {
            return null;
        }

        return entries;
    }

    /// <summary>Of what is hollow no entry can be read, from wherever somebody begins.</summary>
    private void CheckHollowIsNotRead()
    {
        foreach (var segment in _log!.SealedSegments.Where(static segment => segment.IsHollow))
        {
            foreach (var from in new[] { segment.First, segment.First.Next(), segment.HollowThrough })
            {
                World.Check(
                    from > segment.HollowThrough || !CanRead(from),
                    $"node {Id} reads entry {from}, and has given up what it says");
            }
        }
    }

    private bool CanRead(LogIndex index)
    {
        _read.Clear();
        try
        {
            return _log!.Read(index, index, int.MaxValue, _read) > 0;
        }
        catch (StorageCorruptException)
        {
            return false;
        }
    }

    private void NoteCondition(GroupCondition before, GroupCondition now)
    {
        World.Figures.Count(Figure.SegmentDamaged, Math.Max(0, now.DamagedSegments - before.DamagedSegments));
        if (now.HollowSegments > before.HollowSegments)
        {
            World.Figures.Count(Figure.SegmentHollowed, now.HollowSegments - before.HollowSegments);
            World.Check(
                !now.Configuration.IsVoter(Id),
                $"node {Id} gives up what entries say, and votes by {now.Configuration}");
            CheckHollowIsNotRead();
        }

        if (!now.Configuration.Equals(before.Configuration))
        {
            var isPromoted = now.Configuration.IsVoter(Id) && !before.Configuration.IsVoter(Id);
            World.Check(
                !isPromoted || now.HollowSegments == 0, $"node {Id} comes to vote, and does not keep what entries say");
            World.Figures.Count(Figure.MemberPromoted, isPromoted ? 1 : 0);
            Say($"has the members {now.Configuration} of entry {now.Configuration.Index}");
        }

        var wasShort = before.IsFenced || before.IsLost || before.IsPassive;
        if (wasShort && IsHurt && !(now.IsFenced || now.IsLost || now.IsPassive))
        {
            _durable.CheckLostIsBack();
        }
    }
}

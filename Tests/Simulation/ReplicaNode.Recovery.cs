using Broker.Domain;
using Broker.Storage;

namespace Broker.Tests.Simulation;

/// <content>What a disk gives back after a crash, against what was durable before.</content>
internal sealed partial class ReplicaNode
{
    /// <summary>
    /// All that was durable is there, and beyond it only what the interrupted write held: each of its steps is done or
    /// not, and of its entries any first part. A damaged disk may have lost its end, when it knows that.
    /// </summary>
    private void CheckRecovered()
    {
        var log = _log!;
        CheckHardStateRecovered(log.HardState);
        World.Check(
            IsHurt || (log.Fence == LogPosition.None && !log.HardState.IsLost),
            $"node {Id} finds damage where there is none: it ends at {log.LastIndex}, its fence is {log.Fence}");
        if (_write?.Snapshot is { } install && log.Base == install.Position)
        {
            _durable.Install(install.Position, KnownMembers);
        }

        var found = ReadRecovered();
        var keptAtLeast = _write?.TruncateFrom is { } from ? Math.Min(from.Value - 1, _durable.Count) : _durable.Count;
        if (IsHurt && found.Count < keptAtLeast)
        {
            CheckLossIsKnown(new LogIndex(keptAtLeast), isOnlyLast: _losesLast && found.Count == keptAtLeast - 1);
            _durable.Lose(found.Count);
            keptAtLeast = found.Count;
        }

        var same = 0;
        while (same < Math.Min(found.Count, _durable.Count) && found[same].Entry.Term == _durable[same].Term
            && found[same].Entry.Value == _durable[same].Value)
        {
            same++;
        }

        World.Check(same >= keptAtLeast, $"node {Id} recovers {same} of {keptAtLeast} durable entries");
        for (var i = same; i < found.Count; i++)
        {
            var position = i - keptAtLeast;
            var isOfWrite = _write is not null && position >= 0 && position < _write.Entries.Count
                && Entry.Identify(_write.Entries[(int)position]) == found[i].Entry;
            World.Check(isOfWrite, $"node {Id} recovers entry {i + 1}, which nobody wrote there");
        }

        _durable.Cut(new LogIndex(same));
        foreach (var (_, entry) in found.Skip(same))
        {
            _durable.Add(entry!);
        }

        _write = null;
    }

    private void CheckHardStateRecovered(HardState hardState)
    {
        if (IsHurt && hardState.IsLost)
        {
            _durable.LoseHardState(hardState);
            return;
        }

        World.Check(
            hardState == _durable.HardState || (_write?.HardState is { } torn && hardState == torn),
            $"node {Id} recovers {hardState}; {_durable.HardState} was durable");
        _durable.Note(hardState);
    }

    /// <summary>
    /// The log from its first entry on. What lies before its base, or in a segment that waits for repair, is what it
    /// was.
    /// </summary>
    private List<(Entry Entry, LogEntry? Read)> ReadRecovered()
    {
        var log = _log!;
        var found = new List<(Entry, LogEntry?)>();
        var read = new List<LogEntry>();
        AddKnown(log.Base.Index);
        while (found.Count < log.LastIndex.Value)
        {
            var next = new LogIndex(found.Count + 1);
            read.Clear();
            try
            {
                var count = log.Read(next, log.LastIndex, int.MaxValue, read);
                World.Check(count > 0, $"node {Id} can read entry {next} of its recovered log");
                found.AddRange(read.Select(static entry => (Entry.Identify(entry), (LogEntry?)entry)));
            }
            catch (StorageCorruptException damage) when (IsHurt || damage is HollowSegmentException)
            {
                found.AddRange(read.Select(static entry => (Entry.Identify(entry), (LogEntry?)entry)));
                next = new LogIndex(found.Count + 1);
                var damaged = log.SealedSegments
                    .Where(segment => segment.First <= next && segment.Last >= next).ToArray();
                World.Check(damaged.Length == 1, $"node {Id} recovers entry {next} as whole, and cannot read it");
                AddKnown(damaged[0].Last);
            }
        }

        return found;

        void AddKnown(LogIndex through)
        {
            World.Check(through.Value <= _durable.Count, $"node {Id}'s log reaches {through} without entries");
            while (found.Count < through.Value)
            {
                found.Add((_durable[found.Count], null));
            }
        }
    }

    /// <summary>
    /// A replica that may have acknowledged what its log lacks knows how far that went; of the last entry it may have
    /// no more than a doubt.
    /// </summary>
    private void CheckLossIsKnown(LogIndex last, bool isOnlyLast)
    {
        var position = new LogPosition(last, _durable[(int)last.Value - 1].Term);
        World.Check(
            _log!.HardState.IsLost || _log.Fence >= position || (isOnlyLast && _log.Doubt.Index >= last),
            $"node {Id} has lost entries up to {position}, its fence is {_log.Fence}, its doubt {_log.Doubt}");
    }
}

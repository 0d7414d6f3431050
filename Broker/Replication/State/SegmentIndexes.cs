using System.Buffers;
using Broker.Domain;
using Broker.Storage;

namespace Broker.Replication;

/// <summary>
/// The index files of sealed segments: written when apply has passed a segment, so that memory need not hold where its
/// messages are, and used by the state machine from when they are durable.
/// </summary>
internal sealed class SegmentIndexes(
    IGroupLoop loop, GroupLog log, IStateMachine machine, GroupBackground background, ILogger logger)
{
    /// <summary>
    /// Index files found at the start, by the first entry of their segment: used when apply has passed the segment.
    /// </summary>
    private readonly Dictionary<LogIndex, ReadOnlyMemory<byte>> _found = [];

    /// <summary>Passed segments whose index file is not in use yet, in log order.</summary>
    private readonly Queue<SealedSegment> _toIndex = new();

    /// <summary>
    /// The directories in use, by their segments' first entries. A file that takes another's place must have the same
    /// one: readers look into it by what the machine has learned from the old one.
    /// </summary>
    private readonly SortedDictionary<LogIndex, uint> _directoryCrc32Cs = [];

    /// <summary>The background has written a file: the state may be replaced.</summary>
    public event Action? Written;

    /// <summary>The background reads what memory holds: the state must not be replaced meanwhile.</summary>
    public bool IsWriting { get; private set; }

    /// <summary>
    /// The first entry of which memory may be asked still, among those of sealed segments that apply has passed.
    /// </summary>
    public LogIndex FirstNotInUse =>
        _toIndex.TryPeek(out var segment) ? segment.First : new LogIndex(long.MaxValue);

    /// <summary>
    /// At a start: the first entry of the first segment without an index file; beyond all, when each has one.
    /// </summary>
    public LogIndex Find(IReadOnlyList<SealedSegment> segments)
    {
        var end = new LogIndex(long.MaxValue);
        if (!machine.KeepsIndexes)
        {
            return end;
        }

        foreach (var segment in segments)
        {
            if (log.Indexes.TryReadDirectory(segment.First, out var last, out var directory) && last == segment.Last)
            {
                _found[segment.First] = directory;
            }
            else
            {
                end = LogIndex.Min(end, segment.First);
            }
        }

        return end;
    }

    /// <summary>
    /// At a start, of a state that was restored at an entry: uses the files of the segments before it. Null, or the
    /// first of them that does not fit, by the first entry of its segment, and why.
    /// </summary>
    public (LogIndex First, string Why)? UseFound(IReadOnlyList<SealedSegment> segments, LogIndex at)
    {
        _directoryCrc32Cs.Clear();
        foreach (var segment in segments)
        {
            if (segment.Last <= at && _found.TryGetValue(segment.First, out var directory)
                && Use(segment, directory) is { } why)
            {
                return (segment.First, why);
            }
        }

        return null;
    }

    /// <summary>At a start: a file that was found does not fit.</summary>
    public void DeleteFound(LogIndex first)
    {
        _found.Remove(first);
        log.Indexes.Delete(first);
    }

    /// <summary>Apply has passed the last entry of a segment.</summary>
    public void Pass(SealedSegment segment)
    {
        if (machine.KeepsIndexes)
        {
            _toIndex.Enqueue(segment);
            Start();
        }
    }

    /// <summary>The state was replaced by that of a snapshot, which knows no segments before it.</summary>
    public void Clear()
    {
        _toIndex.Clear();
        _directoryCrc32Cs.Clear();
    }

    /// <summary>The log was replaced too, and its files with it.</summary>
    public void ForgetFound() => _found.Clear();

    /// <summary>The log was dropped through here.</summary>
    public void DropThrough(LogIndex through)
    {
        machine.DropIndexes(through);
        foreach (var first in _directoryCrc32Cs.Keys.Where(first => first <= through).ToList())
        {
            _directoryCrc32Cs.Remove(first);
        }
    }

    public int CountDamaged()
    {
        var count = 0;
        foreach (var first in _directoryCrc32Cs.Keys)
        {
            count += log.Indexes.IsDamaged(first) ? 1 : 0;
        }

        return count;
    }

    /// <summary>The first file in use that is damaged, and the directory that it must have again.</summary>
    public bool TryFindDamaged(out SealedSegment damaged, out uint directoryCrc32C)
    {
        foreach (var segment in log.SealedSegments)
        {
            if (log.Indexes.IsDamaged(segment.First)
                && _directoryCrc32Cs.TryGetValue(segment.First, out directoryCrc32C))
            {
                damaged = segment;
                return true;
            }
        }

        (damaged, directoryCrc32C) = (default, 0);
        return false;
    }

    /// <summary>
    /// Segments of which nothing is wanted have become one, whose index file takes the place of theirs; without it the
    /// next start makes one.
    /// </summary>
    public void TakeMerged(SealedSegment merged, ReadOnlyMemory<byte> directory)
    {
        foreach (var first in _directoryCrc32Cs.Keys.Where(first => first >= merged.First && first <= merged.Last)
            .ToList())
        {
            _directoryCrc32Cs.Remove(first);
        }

        var misfit = Use(merged, directory);
        Invariant.Check(misfit is null, "an index of nothing fits");
    }

    public bool IsInUse(LogIndex first) => _directoryCrc32Cs.ContainsKey(first);

    /// <summary>The file of the segment is damaged, and cannot be made anew while the node runs.</summary>
    public void GiveUp(LogIndex first) => _directoryCrc32Cs.Remove(first);

    private void Start()
    {
        if (IsWriting || !_toIndex.TryPeek(out var segment))
        {
            return;
        }

        IsWriting = true;
        if (_found.Remove(segment.First, out var found))
        {
            Finish(segment, found, isFound: true, failure: null);
            return;
        }

        background.Run(() =>
        {
            var directory = new ArrayBufferWriter<byte>();
            var body = new ArrayBufferWriter<byte>();
            var failure = GroupBackground.Attempt(() =>
            {
                var isKept = machine.TryWriteIndex(segment.First, segment.Last, directory, body);
                Invariant.Check(isKept, "memory holds what no index file covers");
                log.Indexes.Write(segment.First, segment.Last, directory.WrittenSpan, body.WrittenSpan);
            });
            loop.Resume(() => Finish(segment, directory.WrittenMemory, isFound: false, failure));
        });
    }

    /// <summary>
    /// What failed is tried again at the next seal; memory holds it until then. A file of an earlier life that does not
    /// fit is written anew at once.
    /// </summary>
    private void Finish(SealedSegment segment, ReadOnlyMemory<byte> directory, bool isFound, string? failure)
    {
        IsWriting = false;
        Written?.Invoke();
        if (_toIndex.Count == 0 || _toIndex.Peek().First != segment.First)
        {
            // The state was replaced meanwhile. The file stays when the segment does: the next start can use it.
            if (segment.Last <= loop.Raft.BaseIndex)
            {
                background.Run(() => log.Indexes.Delete(segment.First));
            }

            return;
        }

        failure ??= Use(segment, directory);
        if (failure is null)
        {
            _toIndex.Dequeue();
            Start();
            return;
        }

        ReplicationEvents.IndexNotUsed(logger, loop.Id.Value, segment.First.Value, segment.Last.Value, failure);
        if (isFound)
        {
            Start();
        }
    }

    /// <summary>Null, or why the machine cannot use it; then nothing has changed.</summary>
    private string? Use(SealedSegment segment, ReadOnlyMemory<byte> directory)
    {
        try
        {
            machine.UseIndex(segment.First, segment.Last, directory);
            _directoryCrc32Cs[segment.First] = Crc32C.Compute(directory.Span);
            return null;
        }
        catch (InvalidDataException unusable)
        {
            return unusable.Message;
        }
    }
}

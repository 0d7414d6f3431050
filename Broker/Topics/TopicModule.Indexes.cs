using System.Buffers;
using Broker.Domain;
using Broker.State;

namespace Broker.Topics;

/// <summary>Sealed segments' index files, which say where batches are, so that memory need not.</summary>
public sealed partial class TopicModule
{
    private ReadIndexBody? _readIndexBody;

    // Where the batches of entries through here are, memory may have forgotten.
    private LogIndex _indexedThrough;
    private LogIndex _firstNeeded = new(long.MaxValue);
    private bool _firstNeededIsStale;

    internal override LogIndex FirstNeeded
    {
        get
        {
            if (_firstNeededIsStale)
            {
                _firstNeeded = new LogIndex(long.MaxValue);
                foreach (var topic in _topics.Numbered)
                {
                    _firstNeeded = LogIndex.Min(_firstNeeded, topic.Parts.FirstNeeded ?? _firstNeeded);
                }

                _firstNeededIsStale = false;
            }

            return _firstNeeded;
        }
    }

    /// <summary>Says how index files are read; before the first read. Without it there are none.</summary>
    public void AttachIndexes(ReadIndexBody readIndexBody) => Volatile.Write(ref _readIndexBody, readIndexBody);

    bool IIndexedModule.TryWriteIndex(
        LogIndex first, LogIndex last, IBufferWriter<byte> directory, IBufferWriter<byte> body)
    {
        if (last <= _indexedThrough)
        {
            return false;
        }

        SegmentIndex.Write(Topics.All, first, last, isComplete: _restoredThrough < first, directory, body);
        return true;
    }

    void IIndexedModule.UseIndex(LogIndex first, LogIndex last, ReadOnlyMemory<byte> directory)
    {
        var runs = SegmentIndex.ReadDirectory(first, directory.Span, out var isComplete);
        foreach (var (number, run) in runs)
        {
            if (number >= _topics.NextNumber || _topics.Find(number)?.Parts.Fits(run) == false)
            {
                throw new InvalidDataException(
                    $"The index of segment {first} names offsets {run.BaseOffset} to {run.EndOffset} of topic "
                    + $"{number}, which this state does not have there.");
            }
        }

        foreach (var (number, run) in runs)
        {
            // One that is not there any more was deleted since.
            if (_topics.Find(number) is { } topic)
            {
                topic.Parts = topic.Parts.With(run);
            }
        }

        if (isComplete)
        {
            _incomplete.Remove(first);
        }
        else
        {
            _incomplete.Add(first);
        }

        _indexedThrough = LogIndex.Max(_indexedThrough, last);
        _firstNeededIsStale = true;
    }

    void IIndexedModule.DropIndexes(LogIndex through)
    {
        foreach (var topic in _topics.Numbered)
        {
            var parts = topic.Parts;
            var kept = parts.WithoutRunsThrough(through);
            if (!ReferenceEquals(parts, kept))
            {
                topic.Parts = kept;
            }
        }

        _incomplete.RemoveWhere(first => first <= through);
        _firstNeededIsStale = true;
    }
}

using Broker.Domain;
using Broker.Replication;
using Broker.State;

namespace Broker.Topics;

/// <summary>What of the log is still wanted, so that the rest of it can be given back.</summary>
public sealed partial class TopicModule
{
    /// <summary>
    /// Segments, by their first entries, whose index files lack batches: the state was restored within them. What else
    /// is not in an index file was purged, deleted or refused before the file was written.
    /// </summary>
    private readonly HashSet<LogIndex> _incomplete = [];

    // The last entry of the snapshot that the state began with.
    private LogIndex _restoredThrough;

    // A restored state begins with nothing.
    private CompactionMemory _compaction = new();

    IEntryThinner IIndexedModule.MakeHollower(LogIndex first, LogIndex last) => SegmentThinner.OfAll(first, last);

    ILogThinning? IIndexedModule.LookForThinning() => _readIndexBody is { } readBody
        ? new TopicThinning(_topics, [.. _incomplete], _compaction, readBody)
        : null;

    private void NoteThinned(TopicState topic, in PublishCommand publish, long baseOffset)
    {
        if (!publish.Remains.IsEmpty)
        {
            var reader = new PayloadReader(publish.Remains);
            Invariant.Check(
                reader.TakeVarint32() == topic.Number && (long)reader.TakeVarint() == baseOffset,
                "a thinned batch gets the offset that it had");
        }

        _applied.OnThinned(topic.Name, baseOffset, publish.RecordCount);
    }
}

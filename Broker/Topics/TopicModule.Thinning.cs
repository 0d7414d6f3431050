using System.Buffers;
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

    /// <summary>
    /// Takes the table as it is now: after a snapshot was restored the new one would know nothing of older segments.
    /// </summary>
    ILogThinning? IIndexedModule.LookForThinning() => _readIndexBody is { } readBody
        ? new Thinning(_topics, [.. _incomplete], readBody)
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

    private sealed class Thinning(TopicTable topics, HashSet<LogIndex> incomplete, ReadIndexBody readBody)
        : ILogThinning
    {
        public void AddKeptBytes(Dictionary<LogIndex, long> bySegment)
        {
            foreach (var topic in topics.All)
            {
                var commandBytes = TopicCommands.PublishSizeBytes(topic.Name, 0);
                foreach (ref readonly var run in topic.Parts.Runs)
                {
                    bySegment[run.SegmentFirst] = bySegment.GetValueOrDefault(run.SegmentFirst)
                        + run.SizeBytes + ((long)run.Count * commandBytes);
                }
            }

            foreach (var first in incomplete)
            {
                bySegment[first] = long.MaxValue;
            }
        }

        public void WriteGoneIndex(IBufferWriter<byte> directory) => SegmentIndex.Write(
            [], LogIndex.None, LogIndex.None, isComplete: true, directory, new ArrayBufferWriter<byte>());

        public IEntryThinner? TryBegin(LogIndex first, LogIndex last) =>
            incomplete.Contains(first) ? null : SegmentThinner.TryMake(first, last, topics.All, readBody);
    }
}

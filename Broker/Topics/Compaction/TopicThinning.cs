using System.Buffers;
using Broker.Domain;
using Broker.Replication;
using Broker.Storage;

namespace Broker.Topics;

/// <summary>
/// What of the log a shard's topics still want, as of when it was made: after a snapshot was restored a new table would
/// know nothing of older segments.
/// </summary>
/// <param name="topics">The topics.</param>
/// <param name="incomplete">Segments whose index files lack batches.</param>
/// <param name="compaction">What was found of compacted topics.</param>
/// <param name="readBody">How index files are read.</param>
internal sealed class TopicThinning(
    TopicTable topics, HashSet<LogIndex> incomplete, CompactionMemory compaction, ReadIndexBody readBody)
    : ILogThinning
{
    public long Learn(
        IReadOnlyList<SealedSegment> segments,
        Func<LogIndex, LogIndex, int, ICollection<LogEntry>, int> readEntries,
        int maxBytes) => compaction.Learn(topics, readBody, segments, readEntries, maxBytes);

    public bool TryLearnAgain() => compaction.TryLookAgain();

    public void AddKeptBytes(Dictionary<LogIndex, long> bySegment)
    {
        foreach (var topic in topics.All)
        {
            var commandBytes = TopicCommands.PublishSizeBytes(topic.Name, 0);
            foreach (ref readonly var run in topic.Parts.Runs)
            {
                bySegment[run.SegmentFirst] = bySegment.GetValueOrDefault(run.SegmentFirst)
                    + (compaction.KeptBytes(topic, run, commandBytes)
                        ?? run.SizeBytes + ((long)run.Count * commandBytes));
            }
        }

        foreach (var first in incomplete)
        {
            bySegment[first] = long.MaxValue;
        }
    }

    public void WriteGoneIndex(IBufferWriter<byte> directory) => SegmentIndex.Write(
        [], LogIndex.None, LogIndex.None, isComplete: true, directory, new ArrayBufferWriter<byte>());

    public IEntryThinner? TryBegin(LogIndex first, LogIndex last) => incomplete.Contains(first)
        ? null
        : SegmentThinner.TryMake(first, last, topics.All, compaction, readBody);
}

using Broker.Domain;
using Broker.State;

namespace Broker.Topics;

/// <summary>The topics in a snapshot; <see cref="TopicSection"/> has the bytes.</summary>
public sealed partial class TopicModule
{
    internal override byte SectionFormat => TopicSection.Format;

    internal override void Write(ref SnapshotWriter writer) => TopicSection.Write(_topics, ref writer);

    internal override Action Read(ref SnapshotReader reader, byte format, in SnapshotMoment moment)
    {
        var topics = TopicSection.Read(ref reader, format, _bounds, moment.TimestampUnixMs);
        var through = moment.Index;
        return () => Put(topics, through);
    }

    internal override void Clear() => Put(new TopicTable(), LogIndex.None);

    internal override void EndRestore() => _applied.OnRestored();

    /// <summary>Readers go over to the new state; those that wait are told to look again.</summary>
    private void Put(TopicTable topics, LogIndex through)
    {
        _indexedThrough = _restoredThrough = through;
        _incomplete.Clear();
        _firstNeededIsStale = true;
        _producers = 0;
        _compaction = new CompactionMemory();
        _retention = new Retention(_compaction);
        _partitions.Clear();
        foreach (var topic in topics.Numbered)
        {
            _producers += topic.Producers?.Count ?? 0;
            _retention.Note(topic, TopicSettings.Default);
            _partitions.Add(topic);
        }

        Volatile.Write(ref _topics, topics);
    }
}

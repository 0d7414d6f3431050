using System.Buffers;
using Broker.Domain;
using Broker.Replication;
using Broker.State;

namespace Broker.Topics;

/// <summary>Topics that are made, changed and removed by request, and what their settings do not keep.</summary>
public sealed partial class TopicModule
{
    private Retention _retention;

    private CommandResult ApplyCreate(in ApplyStep step, in TopicSettingsCommand create, int partitions)
    {
        var result = new CommandResult { TimestampUnixMs = step.Entry.TimestampUnixMs };
        step.Hash.Add(StableHash.Compute(create.Topic));
        create.Settings.AddTo(ref step.Hash);
        if (_topics.TryGet(create.Topic, out var topic))
        {
            result.Duplicate = topic.Settings == create.Settings && (topic.Partitions?.Length ?? 1) == partitions;
            result.Code = result.Duplicate ? RefusalCode.None : RefusalCode.AlreadyExists;
        }
        else if (_topics.Count >= _bounds.Topics)
        {
            result.Code = RefusalCode.ResourceExhausted;
        }
        else
        {
            topic = NewTopic(create.Topic, create.Settings);
            topic.HasPartitions(partitions);
            Add(topic);
        }

        return result;
    }

    private CommandResult ApplyUpdate(in ApplyStep step, in TopicSettingsCommand update)
    {
        var result = new CommandResult { TimestampUnixMs = step.Entry.TimestampUnixMs };
        step.Hash.Add(StableHash.Compute(update.Topic));
        if (!_topics.TryGet(update.Topic, out var topic))
        {
            result.Code = RefusalCode.NotFound;
            return result;
        }

        var before = topic.Settings;
        var settings = update.Settings.Over(before, update.Parts);
        if (settings.Contradiction is not null)
        {
            result.Code = RefusalCode.InvalidArgument;
            return result;
        }

        topic.Settings = settings;
        topic.SettingsVersion++;
        topic.Settings.AddTo(ref step.Hash);
        _retention.Note(topic, before);
        if (topic.Partitions is not null)
        {
            _partitions.Touch();
        }

        return result;
    }

    internal void Add(TopicState topic)
    {
        var isAdded = _topics.TryAdd(topic);
        Invariant.Check(isAdded, "a new topic is not there yet");
        _retention.Note(topic, TopicSettings.Default);
        _partitions.Add(topic);
        _applied.OnTopicChanged(topic.Name);
    }

    internal void Remove(TopicState topic)
    {
        _topics.Remove(topic);
        _retention.Remove(topic);
        _producers -= topic.Producers?.Count ?? 0;
        _firstNeededIsStale = true;
        _partitions.Remove(topic);
        RemoveDelayed(topic);
        _applied.OnTopicChanged(topic.Name);
    }

    /// <summary>
    /// All that the topic had goes: offsets begin at 0 again under that name, and no producer is remembered.
    /// </summary>
    private CommandResult ApplyDelete(in ApplyStep step, ReadOnlySpan<byte> name)
    {
        var result = new CommandResult { TimestampUnixMs = step.Entry.TimestampUnixMs };
        step.Hash.Add(StableHash.Compute(name));
        if (!_topics.TryGet(name, out var topic))
        {
            result.Code = RefusalCode.NotFound;
            return result;
        }

        Remove(topic);
        return result;
    }

    private CommandResult ApplyTrim(in ApplyStep step, in TrimTopicCommand trim)
    {
        var result = new CommandResult { TimestampUnixMs = step.Entry.TimestampUnixMs };
        _retention.BeginRound();

        // It may be deleted since the leader looked at it, or have settings by which more is kept. What was stored
        // since then is younger than what is trimmed.
        if (_topics.Find(trim.Number) is { } topic && topic.SettingsVersion == trim.SettingsVersion)
        {
            var next = topic.Parts.Memory.NextOffset;
            Invariant.Check(trim.BeforeOffset <= next, "what is trimmed was stored before");
            PurgeBefore(topic, trim.BeforeOffset);
            result.BaseOffset = topic.Parts.FirstOffset;
        }

        return result;
    }

    private CommandResult ApplyCompact(in ApplyStep step, in CompactTopicCommand compact)
    {
        var now = step.Entry.TimestampUnixMs;
        var result = new CommandResult { TimestampUnixMs = now };
        _retention.BeginRound();

        // As for a trim: by settings of before nothing goes. What is gone stays gone, whatever the settings say later.
        if (_topics.Find(compact.Number) is { Settings.Compact: true } topic
            && topic.SettingsVersion == compact.SettingsVersion)
        {
            Invariant.Check(compact.Through <= topic.Parts.Memory.NextOffset, "what is compacted was stored before");
            topic.Compacted = new CompactedTo(
                Math.Max(topic.Compacted.Through, compact.Through),
                Math.Max(topic.Compacted.MarkersMs, now - topic.Settings.DeleteMarkerMs));
            step.Hash.Add(topic.Compacted.MarkersMs);
            result.BaseOffset = topic.Compacted.Through;
        }

        return result;
    }

    internal override bool TryWriteDuty(long nowUnixMs, IBufferWriter<byte> command)
    {
        if (_retention.TryWriteDuty(nowUnixMs, command) || _duties?.TryWrite(command) == true)
        {
            return true;
        }

        _retention.BeginRound();
        return false;
    }
}

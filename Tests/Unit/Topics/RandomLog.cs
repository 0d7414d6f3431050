using System.Buffers;
using Broker.Domain;
using Broker.Topics;

namespace Broker.Tests.Unit.Topics;

/// <summary>
/// Log entries as clients of every kind would cause them: new batches, repetitions, gaps, newer and older epochs, more
/// producers and topics than are remembered, producers that are silent for long, purges of what is there and of what is
/// not, partitions of topics of any age, several publishes at once, records that are delayed, due or cancelled.
/// </summary>
internal sealed class RandomLog(int seed, int topics = 5, int producers = 6)
{
    public const int MaxTopics = 4;
    public const int MaxProducers = 3;

    private readonly Random _random = new(seed);
    private readonly Entries _entries = new();

    /// <summary>As a leader's, which says what is due.</summary>
    private readonly TopicStateMachine _machine = NewMachine();
    private readonly List<(string Topic, PublishStamp Stamp, int Records)> _sent = [];
    private readonly Dictionary<(string Topic, ulong Id, uint Epoch), ulong> _next = [];

    public static TopicStateMachine NewMachine() => new(new NoSink(), new TopicBounds
    {
        Topics = MaxTopics,
        ProducersPerTopic = MaxProducers,
        Producers = MaxTopics * MaxProducers * 2 / 3,
        ProducerExpiryMs = 300,
        Delayed = 6,
    });

    public List<LogEntry> Take(int entries) => [.. Enumerable.Range(0, entries).Select(_ => Next())];

    private LogEntry Next()
    {
        var entry = _entries.Of([.. Enumerable.Range(0, _random.Next(1, 5)).Select(_ => Command())]);
        _machine.Apply(entry, []);
        return entry;
    }

    private byte[]? TryTakeDuty()
    {
        var into = new ArrayBufferWriter<byte>();
        return _machine.Module<DelayModule>().TryWriteDuty(_entries.TimeMs, into) ? into.WrittenSpan.ToArray() : null;
    }

    private byte[] Command()
    {
        var topic = $"t{_random.Next(topics)}.é";
        switch (_random.Next(24))
        {
            case 16 when _random.Next(3) == 0:
                return Entries.Metadata(into => PartitionCommands.WriteCreateTopic(
                    into, "p.é", _random.Next(2, 5), Settings()));
            case 17:
                return PartitionCommand("p.é");
            case 18:
                return Entries.Metadata(into => TopicCommands.WriteCompactTopic(
                    into, _random.Next(6), _random.Next(3), through: 0));
            case 19 or 20:
                return Entries.Atomic([.. Enumerable.Range(0, _random.Next(1, 4)).Select(_ => Part())]);
            case 21:
                return PublishDelayed(topic);
            case 22 when _random.Next(2) == 0 && TryTakeDuty() is { } duty:
                return duty;
            case 22:
                return Entries.Metadata(into => DelayCommands.WriteDue(into, _random.Next(8), [_random.Next(90)]));
            case 23 when _random.Next(3) == 0:
                return Entries.Metadata(into => DelayCommands.WriteCancel(into, _random.Next(8), [_random.Next(90)]));
            case 12:
                return Entries.Metadata(into => TopicCommands.WriteCreateTopic(into, topic, Settings()));
            case 13:
                return Entries.Metadata(into => TopicCommands.WriteUpdateTopic(
                    into, topic, (TopicSettingParts)_random.Next(128), Settings()));
            case 14 when _random.Next(3) == 0:
                return Entries.Metadata(into => TopicCommands.WriteDeleteTopic(into, topic));
            case 15:
                return Entries.PublishCommand(
                    topic, Entries.Batch(2), 2, expectedOffset: _random.Next(2) == 0 ? 0 : _random.Next(60));
            case 0:
                return Entries.PurgeCommand(topic, _random.Next(3) == 0 ? -1 : _random.Next(60));
            case 1 or 2:
                return Publish(topic, default, _random.Next(1, 4));
            case 3 or 4 or 5 when _sent.Count > 0:
                // Mostly a recent one, as a client would.
                var again = _sent[_sent.Count - 1 - Math.Min(_random.Next(8) * _random.Next(8), _sent.Count - 1)];
                return Publish(again.Topic, again.Stamp, again.Records);
            default:
                return PublishNew(topic);
        }
    }

    /// <summary>Of a new batch mostly, so that all of them may be stored; or of one that was sent before.</summary>
    private byte[] Part()
    {
        var topic = $"t{_random.Next(topics)}.é";
        return _random.Next(4) switch
        {
            0 when _sent.Count > 0 && _sent[^1] is var again => Publish(again.Topic, again.Stamp, again.Records),
            1 => Publish(topic, default, _random.Next(1, 4)),
            _ => PublishNew(topic),
        };
    }

    /// <summary>Numbers of topics rise by and by, so any small one may be of the past, of now or to come.</summary>
    private byte[] PartitionCommand(string topic) => _random.Next(4) switch
    {
        0 => Entries.Metadata(into => PartitionCommands.WriteMakePartitions(
            into,
            new TopicState(topic, 0, _random.Next(6), new TopicParts(0, new BatchIndex(0, 0)), Settings())
            {
                SettingsVersion = _random.Next(3),
            },
            [1 + _random.Next(2)])),
        1 => Entries.Metadata(into => PartitionCommands.WritePlacePartitions(
            into, _random.Next(8), [new PlacedPartition(1, _random.Next(9))])),
        2 => Entries.Metadata(
            into => PartitionCommands.WriteRemovePartitions(into, [_random.Next(9), _random.Next(9)])),
        _ => Entries.PublishCommand(
            PartitionName.Of(topic, _random.Next(3)), Entries.Batch(2), 2, topicNumber: _random.Next(9)),
    };

    private TopicSettings Settings() => new()
    {
        MaxAgeMs = _random.Next(3) * 100,
        MaxBytes = _random.Next(3) * 20,
        MaxRecords = _random.Next(3),
        MaxMessageBytes = _random.Next(2) == 0 ? Limits.RecordBytes : 1,
        Compact = _random.Next(2) == 0,
        CompactAfterMs = _random.Next(2) * 150,
        DeleteMarkerMs = _random.Next(2) == 0 ? TopicSettings.DefaultDeleteMarkerMs : _random.Next(200),
    };

    private byte[] PublishNew(string topic)
    {
        var (id, epoch) = ((ulong)_random.Next(1, producers + 1), (uint)(_random.Next(10) == 0 ? 1 : 0));
        var next = _next.GetValueOrDefault((topic, id, epoch), (ulong)_random.Next(3));
        var sequence = _random.Next(15) == 0 ? next + 2 : next;
        var records = _random.Next(1, 4);
        _next[(topic, id, epoch)] = next + (ulong)records;
        var stamp = new PublishStamp(id, epoch, sequence);
        _sent.Add((topic, stamp, records));
        return Publish(topic, stamp, records);
    }

    /// <summary>The log's time goes from 1,000 to a few thousand.</summary>
    private byte[] PublishDelayed(string topic)
    {
        var dueMs = Enumerable.Range(0, _random.Next(1, 4)).Select(_ =>
            _random.Next(3) == 0 ? 0 : _random.NextInt64(6_000)).ToArray();
        var (delayed, batch) = (new PublishStamp((ulong)producers + 1, 0, 0), Entries.DelayedBatch(dueMs));
        return Entries.PublishCommand(
            topic, batch, dueMs.Length, _random.Next(9) == 0 ? delayed : default, isDelayed: true);
    }

    private static byte[] Publish(string topic, PublishStamp stamp, int records) =>
        Entries.PublishCommand(topic, Entries.Batch(records), records, stamp);
}

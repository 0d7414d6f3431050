using System.Buffers.Binary;
using System.Runtime.ExceptionServices;
using Broker.Delivery;
using Broker.Domain;
using Broker.Topics;

namespace Broker.Tests.Simulation;

/// <content>Readers of this node's topics, against what was stored.</content>
internal sealed partial class ReplicaNode
{
    private const int ReadAtOnce = 300;

    private readonly TailSignal _tail = new();

    /// <summary>A part of a topic, from anywhere.</summary>
    public override void ReadTopic() => WhenRunning(() =>
    {
        var topics = ((RecordingMachine)_group!.Machine).Topics.ListTopics();
        if (topics.Count > 0)
        {
            var topic = topics[World.Random.Next(topics.Count)];
            var first = topic.FirstOffset + World.Random.NextInt64(topic.NextOffset - topic.FirstOffset + 1);
            ReadTopic(topic, first, Math.Min(first + ReadAtOnce, topic.NextOffset), mustWork: false);
        }
    });

    /// <summary>All that its topics keep.</summary>
    public override void ReadTopics()
    {
        foreach (var topic in ((RecordingMachine)_group!.Machine).Topics.ListTopics())
        {
            ReadTopic(topic, topic.FirstOffset, topic.NextOffset, mustWork: true);
        }
    }

    private static void Take(CommittedBatch batch, List<(long Offset, long Number)> into)
    {
        var offset = batch.BaseOffset;
        var left = batch.Batch.Span;
        for (; RecordBatchScanner.TryTakeRecord(ref left, out var record); offset++)
        {
            into.Add((offset, BinaryPrimitives.ReadInt64LittleEndian(record[^sizeof(long)..])));
        }

        World.Check(offset == batch.BaseOffset + batch.Count, "a batch has as many records as is said of it");
    }

    private void ReadTopic(TopicView topic, long first, long end, bool mustWork)
    {
        // Without following nobody waits for anything.
        var reading = ReadTopicAsync(topic, first, end, mustWork);
        World.Check(reading.IsCompleted, $"node {Id} reads {topic.Name} without waiting");
        if (reading.Exception is { } failure)
        {
            ExceptionDispatchInfo.Throw(failure.InnerException!);
        }
    }

    private async Task ReadTopicAsync(TopicView topic, long first, long end, bool mustWork)
    {
        var machine = (RecordingMachine)_group!.Machine;
        var reader = new TopicReader(machine.Topics, _tail, _group.ReadEntries);
        var read = new List<(long Offset, long Number)>();
        var last = new List<(long Offset, long Number)>();
        try
        {
            await foreach (var page in topic.Name != KeyOwner.Topic ? AsyncEnumerable.Empty<ReadPage>()
                : reader.ReadLastPerKeyAsync(topic.Name, follow: false, CancellationToken.None))
            {
                foreach (var batch in page.Batches)
                {
                    Take(batch, last);
                }
            }

            await foreach (var page in reader.ReadAsync(topic.Name, first, follow: false, CancellationToken.None))
            {
                foreach (var batch in page.Batches)
                {
                    Take(batch, read);
                }

                if (page.NextOffset >= end)
                {
                    break;
                }
            }
        }
        catch (BrokerException refusal) when (refusal.Code == RefusalCode.ReadElsewhere)
        {
            // Damage of the log or of an index file; or a leader's snapshot took the place of a damaged log.
            World.Check(
                !mustWork || _status!.Condition.DamagedIndexes > 0 || _hasAdopted,
                $"node {Id} reads {topic.Name}: {refusal.Message}");
            return;
        }

        read.RemoveAll(record => record.Offset < first || record.Offset >= end);
        Group.History.CheckRead(this, machine.NameOf(topic), first, end, read);
        if (topic.Name == KeyOwner.Topic)
        {
            Group.History.CheckLast(this, machine.NameOf(topic), topic, [.. last.Select(static each => each.Offset)]);
        }
    }
}

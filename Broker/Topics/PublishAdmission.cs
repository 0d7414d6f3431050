using Broker.Domain;
using Broker.Replication;

namespace Broker.Topics;

/// <summary>
/// Whether a publish is stored, by what its topic and its shard have; the same on every replica. It changes nothing.
/// </summary>
internal sealed class PublishAdmission(TopicBounds bounds)
{
    /// <param name="publish">What is to be stored.</param>
    /// <param name="topic">Where.</param>
    /// <param name="isNew">The topic comes to be with it.</param>
    /// <param name="shard">What the shard has.</param>
    /// <param name="timestampUnixMs">The time of the entry.</param>
    /// <param name="refusal">Why it is not.</param>
    /// <param name="stage">What is to be stored together with it, and was admitted before it; null: nothing.</param>
    public bool Admits(
        in PublishCommand publish,
        TopicState topic,
        bool isNew,
        ShardCounts shard,
        long timestampUnixMs,
        out CommandResult refusal,
        AtomicStage? stage = null)
    {
        refusal = default;
        if (isNew && shard.Topics + (stage?.NewTopicsBut(topic.Name) ?? 0) >= bounds.Topics)
        {
            refusal.Code = RefusalCode.ResourceExhausted;
            return false;
        }

        // Of the records themselves only a topic with a limit of its own needs to know more: Api has checked the rest.
        var largest = topic.Settings.MaxMessageBytes;
        if (largest < Limits.RecordBytes && publish.BatchBytes > largest
            && ThinnedPublish.LargestValueOf(publish) > largest)
        {
            refusal.Code = RefusalCode.MessageTooLarge;
            refusal.Expected = (ulong)largest;
            return false;
        }

        return AdmitsProducer(publish, topic, shard, stage, out refusal)
            && AdmitsOffset(publish, topic, stage?.RecordsOf(topic.Name) ?? 0, out refusal)
            && (!publish.MayBeDelayed || AdmitsDelayed(publish, shard, timestampUnixMs, stage, out refusal));
    }

    /// <summary>The last question: what it counts is delayed, if all other parts are admitted, too.</summary>
    private bool AdmitsDelayed(
        in PublishCommand publish,
        ShardCounts shard,
        long timestampUnixMs,
        AtomicStage? stage,
        out CommandResult refusal)
    {
        refusal = default;
        var more = DeliveryTimes.FindDelayed(publish, timestampUnixMs).Count;
        if (more > 0 && more > bounds.Delayed - shard.Delayed - (stage?.Delayed ?? 0))
        {
            refusal.Code = RefusalCode.TooManyDelayed;
            return false;
        }

        if (stage is not null)
        {
            stage.Delayed += more;
        }

        return true;
    }

    private static bool AdmitsOffset(
        in PublishCommand publish, TopicState topic, long recordsBefore, out CommandResult refusal)
    {
        refusal = default;
        var next = topic.Parts.Memory.NextOffset + recordsBefore;
        if (publish.ExpectedOffset < 0 || publish.ExpectedOffset == next)
        {
            return true;
        }

        refusal.Code = RefusalCode.UnexpectedOffset;
        refusal.Expected = (ulong)next;
        return false;
    }

    private bool AdmitsProducer(
        in PublishCommand publish,
        TopicState topic,
        ShardCounts shard,
        AtomicStage? stage,
        out CommandResult refusal)
    {
        refusal = default;
        if (publish.Stamp.IsNone)
        {
            return true;
        }

        // The producer's next sequence must be a number, too.
        if (publish.Stamp.Sequence > ulong.MaxValue - (ulong)publish.RecordCount)
        {
            refusal.Code = RefusalCode.InvalidArgument;
            return false;
        }

        if (stage is not null && stage.TryJudge(topic.Name, publish.Stamp, out refusal))
        {
            return refusal.Code == RefusalCode.None;
        }

        var producers = topic.Producers;
        var isKnown = producers?.Knows(publish.Stamp.ProducerId) == true;
        var more = 1 + (stage?.NewProducersOf(topic.Name) ?? 0);
        if (!isKnown && (producers?.HasRoomFor(more) == false || more > bounds.ProducersPerTopic
            || shard.Producers + (stage?.NewProducers ?? 0) >= bounds.Producers))
        {
            // To forget another one instead would store its batch twice when it is sent again.
            refusal.Code = RefusalCode.TooManyProducers;
            return false;
        }

        return producers is null || producers.Admits(publish.Stamp, publish.RecordCount, out refusal);
    }
}

/// <summary>What a shard has, over all its topics.</summary>
internal readonly record struct ShardCounts(int Topics, int Producers, int Delayed);

using Broker.Domain;
using Broker.Replication;
using Broker.Topics;

namespace Broker.Tests.Simulation;

/// <summary>
/// A client that publishes to a topic of its own, one record at a time, as an idempotent producer: it sends again,
/// anywhere, until it is answered. Each record must be stored exactly once, so its offset is its sequence, however
/// often it was sent.
/// </summary>
internal sealed class Publisher(World world, int id)
{
    private const long AnswerWithinUs = 1_000_000;

    private readonly string _topic = $"publisher.{id}";
    private long _sequence;
    private long _number;

    /// <summary>Counts attempts: an answer to an earlier one is checked and otherwise ignored.</summary>
    private int _attempt;

    public long Stored => _sequence;

    public void Begin() => Next();

    private void Next()
    {
        _number = world.NextValue();
        world.Scheduler.After(world.Random.NextInt64(world.ProposeIntervalMaxUs), Send);
    }

    private void Send()
    {
        if (world.ClientsAreDone)
        {
            return;
        }

        var attempt = ++_attempt;
        var node = Choose();
        var sequence = _sequence;
        var stamp = new PublishStamp((ulong)id, 1, (ulong)sequence);
        node?.Publish(_topic, stamp, _number, (result, refusal) => Take(attempt, sequence, result, refusal));
        world.Scheduler.After(AnswerWithinUs, () => Retry(attempt));
    }

    private ReplicaNode? Choose()
    {
        var leaders = world.Nodes.OfType<ReplicaNode>().Where(node => node.IsLeader).ToArray();
        return leaders.Length == 0 ? null : leaders[world.Random.Next(leaders.Length)];
    }

    private void Take(int attempt, long sequence, CommandResult? answer, BrokerException? refusal)
    {
        if (answer is { } result)
        {
            World.Check(result.Code == RefusalCode.None, $"{_topic}: sequence {sequence} is answered {result.Code}");
            World.Check(
                result.BaseOffset == sequence,
                $"{_topic}: sequence {sequence} is stored at offset {result.BaseOffset}, so not exactly once");
        }

        if (attempt != _attempt || sequence != _sequence)
        {
            return;
        }

        if (answer is not null)
        {
            _sequence++;
            Next();
        }
        else if (refusal is not null)
        {
            world.Scheduler.After(5_000 + world.Random.Next(50_000), () => Retry(attempt));
        }
    }

    private void Retry(int attempt)
    {
        if (attempt == _attempt)
        {
            Send();
        }
    }
}

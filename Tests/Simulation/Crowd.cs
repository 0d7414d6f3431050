using Broker.Domain;
using Broker.Topics;

namespace Broker.Tests.Simulation;

/// <summary>
/// Many producers on one topic, more than it may remember: each publishes one batch, and sends it again now and then. A
/// topic never forgets one of them to make room for another, so that a batch is stored again only when its producer was
/// silent for long; <see cref="History.CheckStored"/> looks.
/// </summary>
internal sealed class Crowd(SimulatedGroup group)
{
    public const string Topic = "crowd";

    /// <summary>What a topic of the simulation remembers.</summary>
    public const int MostProducers = 12;

    private const int FirstProducer = 1_000;

    private readonly List<(PublishStamp Stamp, long Number)> _sent = [];

    private World World => group.World;

    public void Begin() => World.Scheduler.After(World.Random.NextInt64(World.ProposeIntervalMaxUs), () =>
    {
        if (World.ClientsAreDone)
        {
            return;
        }

        if (!World.ClientsRest)
        {
            Send();
        }

        Begin();
    });

    private void Send()
    {
        var leaders = group.Nodes.OfType<ReplicaNode>().Where(node => node.IsLeader).ToArray();
        if (leaders.Length == 0)
        {
            return;
        }

        if (_sent.Count == 0 || World.Random.Next(3) == 0)
        {
            _sent.Add((new PublishStamp((ulong)(FirstProducer + _sent.Count), 1, 0), World.NextValue()));
        }

        var (stamp, number) = _sent[_sent.Count - 1 - World.Random.Next(Math.Min(_sent.Count, 2 * MostProducers))];
        leaders[World.Random.Next(leaders.Length)].Publish(Topic, stamp, count: 1, number, dueMs: 0, (result, _) =>
        {
            if (result is { } answer)
            {
                World.Figures.Count(Figure.DuplicateAnswers, answer.Duplicate ? 1 : 0);
                World.Figures.Count(Figure.RefusedProducers, answer.Code == RefusalCode.TooManyProducers ? 1 : 0);
                World.Check(
                    answer.Code is RefusalCode.None or RefusalCode.TooManyProducers,
                    $"{Topic}: producer {stamp.ProducerId} is answered {answer.Code}");
            }
        });
    }
}

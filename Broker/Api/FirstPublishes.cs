using System.Collections.Concurrent;
using Broker.Cluster;
using Broker.Domain;
using Broker.Topics;

namespace Broker.Api;

/// <summary>
/// Publishes to topics that are not there, where the policies have something to say: the topic is made by its template
/// first, or the publish is refused. The node that leads the topic's shard decides, for it alone knows whether the
/// topic is there. Before it does, it has applied all that was acknowledged in the shard and in the policies. What
/// comes to the topic meanwhile waits behind the first, so that a stream keeps its order.
/// </summary>
internal sealed class FirstPublishes(BrokerNode node, TopicMaker maker, TimeProvider time)
{
    /// <summary>Until all partitions of a new topic are made; beyond it the publish is to be sent again.</summary>
    private static readonly TimeSpan FollowPatience = TimeSpan.FromSeconds(4);

    private static readonly TimeSpan FollowInterval = TimeSpan.FromMilliseconds(5);

    private readonly ConcurrentDictionary<string, Queue<HeldPublish>> _held = new(StringComparer.Ordinal);
    private readonly Lock _gate = new();
    private long _heldBytes;
    private int _heldCount;

    /// <param name="SizeBytes">What holding it costs.</param>
    /// <param name="GoOn">It is known what becomes of the topic.</param>
    /// <param name="Refuse">The publish is refused.</param>
    private readonly record struct HeldPublish(int SizeBytes, Action GoOn, Action<BrokerException> Refuse);

    /// <summary>
    /// False, as mostly: whoever publishes to an unknown name makes a topic with default settings, and nobody waits.
    /// Any thread.
    /// </summary>
    public bool HaveRules => !node.TopicPolicies.IsDefault || Volatile.Read(ref _heldCount) > 0;

    /// <summary>Whether a topic of that name may be made by being published to.</summary>
    public bool MayBeMade(string topic) =>
        node.TopicPolicies is { AutoCreate: true } policies && !policies.TryMatch(topic, out _);

    /// <summary>Whether a publish goes on at once: nothing is to be decided, and nobody waits before it.</summary>
    public bool MayPass(string topic, bool isThere) =>
        !_held.ContainsKey(topic) && (isThere || MayBeMade(topic));

    /// <summary>Holds a publish until it is known what becomes of its topic.</summary>
    /// <param name="home">The topic's shard, which this node leads.</param>
    /// <param name="topic">Its name.</param>
    /// <param name="sizeBytes">What holding the publish costs.</param>
    /// <param name="goOn">What to do when it is known.</param>
    /// <param name="refuse">What to do when there is to be no such topic.</param>
    public void Hold(GroupId home, string topic, int sizeBytes, Action goOn, Action<BrokerException> refuse)
    {
        bool isFirst, isFull;
        lock (_gate)
        {
            isFull = _heldCount >= Limits.WaitingProposalsPerGroup
                || _heldBytes + sizeBytes > Limits.WaitingProposalBytesPerGroup;
            isFirst = !isFull && !_held.ContainsKey(topic);
            if (!isFull)
            {
                _held.GetOrAdd(topic, static _ => new Queue<HeldPublish>())
                    .Enqueue(new HeldPublish(sizeBytes, goOn, refuse));
                _heldCount++;
                _heldBytes += sizeBytes;
            }
        }

        if (isFull)
        {
            refuse(Refusal.Overloaded(
                "The queue of publishes to topics that are being made", TimeSpan.FromMilliseconds(100)));
        }
        else if (isFirst)
        {
            _ = Task.Run(() => DecideAsync(home, topic));
        }
    }

    /// <summary>Ends when the topic is there, or may be made by being published to.</summary>
    /// <exception cref="BrokerException">
    /// AutoCreateOff: there is no such topic. NoLeader: nobody can tell now whether there is to be one. What the making
    /// of a topic is refused for.
    /// </exception>
    public async Task SettleAsync(GroupId home, string topic, CancellationToken cancellationToken)
    {
        var policies = await maker.LatestPoliciesAsync(cancellationToken);
        try
        {
            await node.Group(home).ReadIndexAsync(cancellationToken);
        }
        catch (BrokerException refusal) when (refusal.Code is RefusalCode.NotLeader or RefusalCode.NoLeader)
        {
            return; // Another node leads by now, and decides anew.
        }

        if (node.TopicsOf(home).TryGetTopic(topic, out _))
        {
            return;
        }

        if (!policies.AutoCreate)
        {
            throw Refusal.AutoCreateOff(topic, NearestNames.Find(topic, KnownNames()));
        }

        if (policies.TryMatch(topic, out _))
        {
            await MakeAsync(home, topic, policies, cancellationToken);
        }
    }

    private async Task MakeAsync(
        GroupId home, string topic, TopicPolicies policies, CancellationToken cancellationToken)
    {
        var plan = maker.Plan(policies, topic);
        try
        {
            var result = await node.ProposeAsync(home, plan.Command.WrittenMemory, cancellationToken);
            if (result.Code is not (RefusalCode.None or RefusalCode.AlreadyExists))
            {
                throw Refusal.TooManyTopics(topic);
            }
        }
        catch (BrokerException refusal) when (refusal.Code == RefusalCode.OutcomeUnknown)
        {
            // The topic may be there or not; of the publish nothing is stored.
            throw Refusal.NoLeader(home);
        }

        var began = time.GetTimestamp();
        while (node.TopicsOf(home).TryGetTopic(topic, out var made) && !made.IsComplete
            && time.GetElapsedTime(began) < FollowPatience)
        {
            await Task.Delay(FollowInterval, time, cancellationToken);
        }
    }

    private IEnumerable<string> KnownNames() => node.DataShards.SelectMany(
        static shard => shard.Machine.ListTopics(limit: Limits.NamesLookedAt), static (_, topic) => topic.Name);

    private async Task DecideAsync(GroupId home, string topic)
    {
        BrokerException? refusal = null;
        try
        {
            await SettleAsync(home, topic, CancellationToken.None);
        }
        catch (BrokerException refused)
        {
            refusal = refused;
        }
        catch (ObjectDisposedException)
        {
            refusal = Refusal.Stopping();
        }
        catch (Exception unexpected)
        {
            // Whatever waits here would wait for ever.
            node.Fail(unexpected);
            return;
        }

        while (TryPeek(topic, out var next))
        {
            if (refusal is null)
            {
                next.GoOn();
            }
            else
            {
                next.Refuse(refusal);
            }

            Dequeue(topic);
        }
    }

    private bool TryPeek(string topic, out HeldPublish next)
    {
        lock (_gate)
        {
            return _held[topic].TryPeek(out next) || !_held.TryRemove(topic, out _);
        }
    }

    /// <summary>It has left; what comes now must not pass those that still wait.</summary>
    private void Dequeue(string topic)
    {
        lock (_gate)
        {
            _heldBytes -= _held[topic].Dequeue().SizeBytes;
            _heldCount--;
        }
    }
}

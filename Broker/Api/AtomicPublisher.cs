using Broker.Cluster;
using Broker.Delivery;
using Broker.Diagnostics;
using Broker.Domain;
using Broker.Protocol;
using Broker.Protocol.Wire;
using Broker.Topics;
using Broker.Transport;
using Grpc.Core;
using WireClient = Broker.Protocol.Wire.Broker.BrokerClient;

namespace Broker.Api;

/// <summary>
/// Several publishes that are stored together or not at all: one entry of one shard's log. So all of them must belong
/// to one shard; topics whose names share a word in braces do (<see cref="ShardMap"/>).
/// </summary>
internal sealed class AtomicPublisher(
    BrokerNode node,
    LeaderDirectory leaders,
    LeaderForwarder forwarder,
    FirstPublishes firsts,
    IConsumerGroups groups,
    BrokerMetrics metrics) : IDisposable
{
    private readonly PeerChannels _channels = new(watched: true);

    /// <exception cref="BrokerException">Why nothing is stored, or that the outcome is not known.</exception>
    public async Task<PublishAtomicResponse> PublishAsync(
        PublishAtomicRequest request, bool forwarded, CancellationToken cancellationToken)
    {
        var batches = Check(request);
        var finished = new FinishedRecords(request.Acks, groups);
        var homes = request.Parts.Select(part => node.Shards.GroupOf(part.Topic)).ToArray();
        await SettleAsync(request, homes, cancellationToken);
        var parts = request.Parts.Select((part, at) => Aim(part, homes[at], batches[at])).ToArray();
        var group = parts[0].Target.Group;
        if (Array.Exists(parts, part => part.Target.Group != group) || finished.Shards.Any(shard => shard != group))
        {
            throw Refusal.DifferentShards(parts
                .Select(static part => (Shard: part.Target.Group, part.Target.Name))
                .Concat(finished.Orders.Zip(finished.Shards, (order, shard) =>
                    (Shard: shard, Name: NameOf(shard, order))))
                .GroupBy(static place => place.Shard)
                .OrderBy(static shard => shard.Key.Value)
                .Select(static shard => (shard.Key, shard.Select(static place => place.Name).Distinct())));
        }

        var call = new AtomicCall(group, parts, finished, leaders, metrics);
        if (call.SizeBytes > Limits.AtomicPublishBytes)
        {
            throw Refusal.TooLarge("An atomic publish", call.SizeBytes, Limits.AtomicPublishBytes);
        }

        var leader = await node.WaitForLeaderAsync(group, cancellationToken);
        if (leader == node.Options.NodeId || forwarded)
        {
            if (node.RefusalForSpace is { } refusal)
            {
                throw refusal;
            }

            if (finished.Orders.Count == 0)
            {
                node.Group(group).Propose(call);
            }
            else
            {
                await groups.PublishAsync(group, finished.Orders, call, call.Answer, cancellationToken);
            }

            return await call.Answer.WaitAsync(cancellationToken);
        }

        return await ForwardAsync(leader, request, call, cancellationToken);
    }

    public void Dispose() => _channels.Dispose();

    /// <summary>Answers what each batch has.</summary>
    private static BatchScan[] Check(PublishAtomicRequest request)
    {
        if (request.Parts.Count is 0 or > Limits.AtomicParts)
        {
            throw Refusal.InvalidArgument(
                $"An atomic publish has 1 to {Limits.AtomicParts:N0} parts, not {request.Parts.Count:N0}.");
        }

        var stamped = request.Parts.Count(static part => part.Producer is not null);
        if (stamped > 0 && stamped < request.Parts.Count)
        {
            throw Refusal.InvalidArgument(
                $"{stamped} of {request.Parts.Count} parts have a producer stamp. Give all of them one, so that a "
                + "repetition is known as such, or none.");
        }

        var batches = new BatchScan[request.Parts.Count];
        for (var at = 0; at < batches.Length; at++)
        {
            try
            {
                batches[at] = PublishRouter.Check(request.Parts[at]);
            }
            catch (BrokerException refusal)
            {
                throw Refusal.OfPart(refusal, at);
            }
        }

        return batches;
    }

    /// <summary>
    /// Where a node leads the shard, topics that are not there come to be as the policies say, or are refused. Where it
    /// does not, it must know whether they have several partitions, before it can say where the parts belong.
    /// </summary>
    private async Task SettleAsync(PublishAtomicRequest request, GroupId[] homes, CancellationToken cancellationToken)
    {
        foreach (var home in homes.Distinct())
        {
            var unknown = request.Parts.Where((part, at) => homes[at] == home)
                .Select(static part => part.Topic).Distinct()
                .Where(topic => !node.TopicsOf(home).TryGetTopic(topic, out _)).ToList();
            if (unknown.Count == 0)
            {
                continue;
            }

            if (node.Group(home).Status.Role != Consensus.RaftRole.Leader)
            {
                await node.CatchUpAsync(home, cancellationToken);
            }
            else if (firsts.HaveRules)
            {
                foreach (var topic in unknown)
                {
                    await firsts.SettleAsync(home, topic, cancellationToken);
                }
            }
        }
    }

    /// <summary>The topic of records that were delivered, for words.</summary>
    private string NameOf(GroupId shard, TokenOrder finished) => node.TopicsOf(shard).ListPlaces()
        .Where(topic => topic.Number == finished.Token.Topic)
        .Select(static topic => DueTopic.TargetOf(topic.Name))
        .FirstOrDefault("what was delivered");

    private AtomicTarget Aim(PublishRequest part, GroupId home, BatchScan batch)
    {
        var isThere = node.TopicsOf(home).TryGetTopic(part.Topic, out var topic);
        if (!isThere || topic.Partitions == 1)
        {
            if (part.Partition is > 0)
            {
                throw PublishRouter.NoSuchPartition(part.Topic, part.Partition.Value, 1);
            }

            // Named by its number where it must not come back by itself after somebody deletes it.
            return new AtomicTarget(
                part, new PublishTarget(home, part.Topic, isThere && firsts.HaveRules ? topic.Number : -1), batch);
        }

        var partition = part.Partition is { } wanted
            ? wanted < topic.Partitions
                ? (int)wanted
                : throw PublishRouter.NoSuchPartition(part.Topic, wanted, topic.Partitions)
            : BatchPartitions.Find(part.Batch.Span, topic.Partitions);
        return partition >= 0
            ? new AtomicTarget(part, PublishTarget.Of(home, topic, partition, node.Shards), batch)
            : throw Refusal.InvalidArgument(
                $"Topic '{part.Topic}' has {topic.Partitions} partitions, and the part for it names none: "
                + (partition == BatchPartitions.NoKey ? "its records have no keys" : "its keys belong to several")
                + ". Nothing was stored; name the partition, or make a part for each.");
    }

    private async Task<PublishAtomicResponse> ForwardAsync(
        NodeId leader, PublishAtomicRequest request, AtomicCall call, CancellationToken cancellationToken)
    {
        if (!forwarder.TrySend(call, leader))
        {
            return await call.Answer;
        }

        try
        {
            var peer = node.Directory.Find(leader) ?? throw Refusal.NoLeader(call.Group);
            using var forwarding = new WireClient(_channels.To(peer.Address)).PublishAtomicAsync(
                request,
                new Metadata { { LeaderForwarder.ForwardedHeader, "1" } },
                cancellationToken: cancellationToken);
            var answering = forwarding.ResponseAsync;

            // An old leader that hangs is given up when another one leads.
            return await await Task.WhenAny(answering, call.Answer);
        }
        catch (RpcException failure) when (
            failure.GetRpcStatus() is null && !cancellationToken.IsCancellationRequested)
        {
            throw Sockets.NeverConnected(failure) ? Refusal.NoLeader(call.Group) : Refusal.OutcomeUnknown(call.Group);
        }
        finally
        {
            forwarder.Leave(call);
        }
    }
}

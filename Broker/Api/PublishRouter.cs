using Broker.Client;
using Broker.Cluster;
using Broker.Consensus;
using Broker.Diagnostics;
using Broker.Domain;
using Broker.Protocol.Wire;
using Broker.Topics;
using Google.Protobuf;

namespace Broker.Api;

/// <summary>
/// Checks a publish once and brings it to the leader of its topic's shard: into the local log, or over the forward
/// stream to another node. A forwarded publish is not forwarded again.
/// </summary>
internal sealed class PublishRouter
{
    private readonly BrokerNode _node;
    private readonly LeaderDirectory _leaders;
    private readonly LeaderForwarder _forwarder;
    private readonly FirstPublishes _firsts;
    private readonly BrokerMetrics _metrics;
    private readonly WaitingCalls[] _waiting; // by group
    private uint _turn;

    public PublishRouter(
        BrokerNode node,
        LeaderDirectory leaders,
        LeaderForwarder forwarder,
        FirstPublishes firsts,
        BrokerMetrics metrics)
    {
        _firsts = firsts;
        _node = node;
        _leaders = leaders;
        _forwarder = forwarder;
        _metrics = metrics;
        _waiting = [.. node.Groups.Select(group => new WaitingCalls(node, group.Id, TryDispatch))];
    }

    /// <summary>
    /// Routes the request; its answer goes to sink, now or later. Never throws for what a client sent.
    /// </summary>
    public void Route(
        ulong correlation,
        PublishRequest request,
        bool forwarded,
        IPublishSink sink,
        CancellationToken cancellationToken)
    {
        try
        {
            var batch = Check(request);
            Dispatch(correlation, request, batch, forwarded, sink, cancellationToken);
        }
        catch (BrokerException refusal)
        {
            Refuse(correlation, refusal, sink);
        }
    }

    private void Refuse(ulong correlation, BrokerException refusal, IPublishSink sink)
    {
        _metrics.Refused(refusal.Code);
        sink.Answered(new PublishResult
        {
            Correlation = correlation,
            Status = (uint)StatusMap.ToStatusCode(refusal.Code),
            Reason = StatusMap.ToReason(refusal.Code),
            Message = refusal.Message,
            RetryAfterMs = (uint)refusal.RetryAfter.TotalMilliseconds,
        });
    }

    /// <summary>Answers what the batch has.</summary>
    internal static BatchScan Check(PublishRequest request)
    {
        if (!TopicName.ValidateForPublish(request.Topic, out var reason))
        {
            throw Refusal.InvalidArgument(reason);
        }

        if (request.Batch.Length > Limits.BatchBytes)
        {
            throw Refusal.TooLarge("The batch", request.Batch.Length, Limits.BatchBytes);
        }

        if (request.Producer is { Id: 0 })
        {
            throw Refusal.InvalidArgument(
                "producer.id is 0; choose a random number, or leave producer out for a publish without retries.");
        }

        if (request.ExpectedOffset < 0)
        {
            throw Refusal.InvalidArgument(
                $"expected_offset is {request.ExpectedOffset}; offsets begin at 0. Leave it out for no condition.");
        }

        var scan = RecordBatchScanner.Scan(request.Batch.Span);
        if (!scan.IsValid)
        {
            throw scan.Code switch
            {
                RefusalCode.ResourceExhausted => Refusal.Exhausted(scan.Reason),
                _ => Refusal.InvalidArgument(scan.Reason),
            };
        }

        return scan;
    }

    private void Dispatch(
        ulong correlation,
        PublishRequest request,
        BatchScan batch,
        bool forwarded,
        IPublishSink sink,
        CancellationToken cancellationToken,
        bool isDecided = false)
    {
        var home = _node.Shards.GroupOf(request.Topic);
        var topics = _node.TopicsOf(home);
        var number = -1;
        var isSettled = _firsts.HaveRules && Leads(home);
        if (isSettled
            && !TrySettle(correlation, request, batch, sink, isDecided, cancellationToken, out number))
        {
            return; // It is held, and comes again when the topic is there.
        }

        if (!topics.HasPartitionedTopics || !topics.TryGetTopic(request.Topic, out var topic) || topic.Partitions == 1)
        {
            var only = OnlyPartition(request, home, number);
            Send(correlation, request, only, batch, forwarded, sink, cancellationToken, isSettled);
            return;
        }

        var partition = PartitionOf(request, topic, home);
        if (partition != BatchPartitions.Several)
        {
            var target = PublishTarget.Of(home, topic, partition, _node.Shards);
            Send(correlation, request, target, batch, forwarded, sink, cancellationToken, isSettled);
            return;
        }

        if (request.Producer is not null || request.ExpectedOffset is not null)
        {
            throw Refusal.InvalidArgument(
                $"The keys of the batch belong to several of the {topic.Partitions} partitions of topic "
                + $"'{request.Topic}', and {(request.Producer is null ? "expected_offset" : "a producer's sequence")} "
                + "counts in one. Nothing was stored; send a batch for each partition (see PublishRequest.partition).");
        }

        Split(correlation, request, batch, home, topic, forwarded, sink, cancellationToken);
    }

    /// <summary>
    /// On the node that leads the topic's shard, where the policies say more than that its first publish makes a topic:
    /// one that is there is named by its number, so that it does not come back by itself when it is deleted meanwhile;
    /// for one that is not, the publish waits. False: it is held, and comes again.
    /// </summary>
    private bool TrySettle(
        ulong correlation,
        PublishRequest request,
        BatchScan batch,
        IPublishSink sink,
        bool isDecided,
        CancellationToken cancellationToken,
        out int number)
    {
        var isThere = _node.TopicsOf(_node.Shards.GroupOf(request.Topic)).TryGetTopic(request.Topic, out var topic);
        number = isThere && topic.Partitions == 1 ? topic.Number : -1;
        if (isDecided)
        {
            return isThere || _firsts.MayBeMade(request.Topic) ? true : throw Refusal.PartitionsChanged(request.Topic);
        }

        if (_firsts.MayPass(request.Topic, isThere))
        {
            return true;
        }

        Hold(correlation, request, batch, sink, cancellationToken);
        return false;
    }

    /// <summary>Apart from its caller, so that a publish which is not held makes nothing for it.</summary>
    private void Hold(
        ulong correlation,
        PublishRequest request,
        BatchScan batch,
        IPublishSink sink,
        CancellationToken cancellationToken) => _firsts.Hold(
            _node.Shards.GroupOf(request.Topic),
            request.Topic,
            request.Batch.Length,
            () =>
            {
                try
                {
                    // The partition may lie in a shard that another node leads: one hop more.
                    Dispatch(correlation, request, batch, forwarded: false, sink, cancellationToken, isDecided: true);
                }
                catch (BrokerException refusal)
                {
                    Refuse(correlation, refusal, sink);
                }
            },
            refusal => Refuse(correlation, refusal, sink));

    /// <summary>
    /// A publish that waited until there is a leader, which is this node: as if it had come now, before those behind
    /// it.
    /// </summary>
    private bool SettleWaiting(PublishCall call, bool forwarded)
    {
        try
        {
            if (!TrySettle(
                call.Correlation,
                call.Request,
                call.Batch,
                call,
                isDecided: false,
                CancellationToken.None,
                out var number))
            {
                return true;
            }

            var target = call.Request.Partition is null or 0 && number >= 0
                ? new PublishTarget(call.Group, call.Request.Topic, number)
                : call.Target;
            var settled = new PublishCall(
                call.Correlation, call.Request, target, call.Batch, call, _leaders, _metrics, isSettled: true);
            return TryDispatch(settled, forwarded);
        }
        catch (BrokerException refusal)
        {
            call.Fail(refusal);
            return true;
        }
    }

    /// <summary>
    /// A follower may not know of other partitions yet. The leader does, and is asked; should this node lead by then,
    /// the number that no topic has keeps the publish from being stored.
    /// </summary>
    private PublishTarget OnlyPartition(PublishRequest request, GroupId home, int number)
    {
        if (request.Partition is not > 0)
        {
            return new PublishTarget(home, request.Topic, number);
        }

        return Leads(home)
            ? throw NoSuchPartition(request.Topic, request.Partition.Value, 1)
            : new PublishTarget(home, request.Topic, int.MaxValue, 0, 1, default);
    }

    internal static BrokerException NoSuchPartition(string topic, uint partition, int partitions) =>
        Refusal.InvalidArgument(Refusal.NoSuchPartition(topic, partition, partitions).Message + " Nothing was stored.");

    private bool Leads(GroupId group) => _node.Group(group).Status.Role == RaftRole.Leader;

    private int PartitionOf(PublishRequest request, in TopicView topic, GroupId home)
    {
        if (request.Partition is { } wanted)
        {
            return wanted < topic.Partitions ? (int)wanted
                : Leads(home) ? throw NoSuchPartition(request.Topic, wanted, topic.Partitions)
                : throw Refusal.PartitionsChanged(request.Topic);
        }

        var partition = BatchPartitions.Find(request.Batch.Span, topic.Partitions);
        if (partition == BatchPartitions.NoKey)
        {
            // The leader, should it be another node, must not choose again.
            partition = request.Producer is { } producer
                ? BatchPartitions.OfProducer(producer.Id, topic.Partitions)
                : (int)(Interlocked.Increment(ref _turn) % (uint)topic.Partitions);
            request.Partition = (uint)partition;
        }

        return partition;
    }

    private void Split(
        ulong correlation,
        PublishRequest request,
        BatchScan batch,
        GroupId home,
        in TopicView topic,
        bool forwarded,
        IPublishSink sink,
        CancellationToken cancellationToken)
    {
        var parts = BatchPartitions.Split(request.Batch.Memory, topic.Partitions);
        var targets = new List<PublishTarget>(parts.Count);
        foreach (var part in parts)
        {
            targets.Add(PublishTarget.Of(home, topic, part.Partition, _node.Shards));
        }

        var split = new SplitPublish(correlation, parts, sink);
        foreach (var (number, part) in parts.Index())
        {
            var alone = new PublishRequest
            {
                Topic = request.Topic,
                Batch = UnsafeByteOperations.UnsafeWrap(part.Batch),
            };
            var scan = batch with { Count = part.Records.Count };
            Send(0, alone, targets[number], scan, forwarded, split.SinkOf(number), cancellationToken);
        }
    }

    private void Send(
        ulong correlation,
        PublishRequest request,
        in PublishTarget target,
        BatchScan batch,
        bool forwarded,
        IPublishSink sink,
        CancellationToken cancellationToken,
        bool isSettled = false)
    {
        var call = new PublishCall(correlation, request, target, batch, sink, _leaders, _metrics, isSettled);
        if (_waiting[call.Group.Value] is var waiting && (!waiting.IsEmpty || !TryDispatch(call, forwarded))
            && _forwarder.TryHold(call))
        {
            waiting.Add(call, forwarded, cancellationToken);
        }
    }

    /// <summary>False when no leader is known at the moment.</summary>
    private bool TryDispatch(PublishCall call, bool forwarded)
    {
        var group = _node.Group(call.Group);
        var status = group.Status;
        if (status.Role == RaftRole.Leader || (forwarded && !status.Leader.IsNone))
        {
            if (_node.RefusalForSpace is { } refusal)
            {
                call.Fail(refusal);
                return true;
            }

            if (!call.IsSettled && !call.Target.NamesTopic && status.Role == RaftRole.Leader && _firsts.HaveRules)
            {
                return SettleWaiting(call, forwarded);
            }

            group.Propose(call);
            return true;
        }

        if (status.Leader.IsNone)
        {
            return false;
        }

        if (_forwarder.TryHold(call))
        {
            _forwarder.Forward(status.Leader, call);
        }

        return true;
    }
}

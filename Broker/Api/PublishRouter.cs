using Broker.Client;
using Broker.Cluster;
using Broker.Consensus;
using Broker.Diagnostics;
using Broker.Domain;
using Broker.Protocol.Wire;
using Broker.Topics;

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
    private readonly BrokerMetrics _metrics;
    private readonly WaitingCalls[] _waiting; // by group

    public PublishRouter(
        BrokerNode node, LeaderDirectory leaders, LeaderForwarder forwarder, BrokerMetrics metrics)
    {
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
        PublishCall call;
        try
        {
            call = Check(correlation, request, sink);
        }
        catch (BrokerException refusal)
        {
            _metrics.Refused(refusal.Code);
            sink.Answered(new PublishResult
            {
                Correlation = correlation,
                Status = (uint)StatusMap.ToStatusCode(refusal.Code),
                Reason = StatusMap.ToReason(refusal.Code),
                Message = refusal.Message,
            });
            return;
        }

        if (_waiting[call.Group.Value] is var waiting && (!waiting.IsEmpty || !TryDispatch(call, forwarded))
            && _forwarder.TryHold(call))
        {
            waiting.Add(call, forwarded, cancellationToken);
        }
    }

    private PublishCall Check(ulong correlation, PublishRequest request, IPublishSink sink)
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

        UnimplementedFields.Refuse(request);
        var scan = RecordBatchScanner.Scan(request.Batch.Span);
        if (!scan.IsValid)
        {
            throw scan.Code switch
            {
                RefusalCode.ResourceExhausted => Refusal.Exhausted(scan.Reason),
                RefusalCode.Unimplemented => Refusal.Unimplemented(scan.Reason),
                _ => Refusal.InvalidArgument(scan.Reason),
            };
        }

        return new PublishCall(
            correlation, request, _node.Shards.GroupOf(request.Topic), scan.Count, sink, _leaders, _metrics);
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

using Broker.Diagnostics;
using Broker.Domain;
using Broker.Protocol.Wire;
using Broker.Replication;
using Broker.Topics;

namespace Broker.Api;

/// <summary>
/// Where the answers of publishes go. Called by the replication loop or by a stream to another node: must not block.
/// </summary>
internal interface IPublishSink
{
    void Answered(PublishResult response);
}

/// <summary>
/// One publish on its way: a command for the log when this node leads the topic's shard, a request to forward when not.
/// </summary>
internal sealed class PublishCall : Proposal, IForwardedCall, IPublishSink
{
    private readonly PublishTarget _target;
    private readonly IPublishSink _sink;
    private readonly LeaderDirectory _leaders;
    private readonly BrokerMetrics _metrics;
    private ForwardedCalls? _holder;
    private int _isAnswered;

    public PublishCall(
        ulong correlation,
        PublishRequest request,
        in PublishTarget target,
        BatchScan batch,
        IPublishSink sink,
        LeaderDirectory leaders,
        BrokerMetrics metrics,
        bool isSettled = false)
    {
        IsSettled = isSettled;
        Correlation = correlation;
        Request = request;
        Batch = batch;
        SizeBytes = TopicCommands.PublishSizeBytes(
            target.Name, request.Batch.Length, request.ExpectedOffset, target.Number, batch.MayBeDelayed);
        _target = target;
        _sink = sink;
        _leaders = leaders;
        _metrics = metrics;
    }

    public ulong Correlation { get; }

    /// <summary>
    /// This node led the topic's shard and has asked the policies: what becomes of the topic follows from the target.
    /// </summary>
    public bool IsSettled { get; }

    public PublishRequest Request { get; }

    public PublishTarget Target => _target;

    public GroupId Group => _target.Group;

    /// <summary>What the batch has.</summary>
    public BatchScan Batch { get; }

    public override int SizeBytes { get; }

    public override void Encode(Span<byte> destination) => Encode(destination, Request, _target, Batch);

    /// <summary>Writes the command of a publish; returns the bytes written.</summary>
    internal static int Encode(
        Span<byte> destination, PublishRequest request, in PublishTarget target, BatchScan batch)
    {
        var stamp = request.Producer is { } producer
            ? new PublishStamp(producer.Id, producer.Epoch, producer.Sequence)
            : PublishStamp.None;
        return TopicCommands.WritePublish(
            destination,
            target.Name,
            stamp,
            batch.Count,
            request.Batch.Span,
            request.ExpectedOffset,
            target.Number,
            batch.MayBeDelayed);
    }

    /// <summary>Is counted among what this node holds for others until it is answered; false: it was refused.</summary>
    public bool TryBeHeldBy(ForwardedCalls holder)
    {
        if (_holder is null && holder.TryEnter(this))
        {
            _holder = holder;
        }

        return _holder is not null;
    }

    public override void Complete(in CommandResult result)
    {
        if (result.Code != RefusalCode.None)
        {
            Fail(Describe(result, Request, _target, Batch.Count));
            return;
        }

        if (!result.Duplicate)
        {
            _metrics.Published(result.Count, Request.Batch.Length);
        }

        Answer(_target.ToResponse(result, _leaders.Self));
    }

    public override void Fail(BrokerException refusal)
    {
        _metrics.Refused(refusal.Code);
        Tell(new PublishResult
        {
            Status = (uint)StatusMap.ToStatusCode(refusal.Code),
            Reason = StatusMap.ToReason(refusal.Code),
            Message = refusal.Message,
            RetryAfterMs = (uint)refusal.RetryAfter.TotalMilliseconds,
            Leader = _leaders.Of(Group),
        });
    }

    /// <summary>The leader, on another node, has answered.</summary>
    public void Forwarded(PublishResult response) => Tell(response);

    /// <summary>Another call, which this one became when the policies were asked, was answered.</summary>
    public void Answered(PublishResult response) => Tell(response);

    private void Answer(PublishResponse response) => Tell(new PublishResult { Response = response });

    /// <summary>The first answer counts: a leader that was given up may still send one.</summary>
    private void Tell(PublishResult answer)
    {
        if (Interlocked.Exchange(ref _isAnswered, 1) == 0)
        {
            _holder?.Leave(this);
            answer.Correlation = Correlation;
            _sink.Answered(answer);
        }
    }

    /// <summary>Why what was proposed is refused.</summary>
    internal static BrokerException Describe(
        in CommandResult result, PublishRequest request, in PublishTarget target, int count) => result.Code switch
        {
            RefusalCode.OutOfSequence =>
                Refusal.OutOfSequence(target.Name, result.Expected, request.Producer.Sequence, count),
            RefusalCode.ProducerFenced => Refusal.ProducerFenced((uint)result.Expected, request.Producer.Epoch),
            RefusalCode.ResourceExhausted => Refusal.TooManyTopics(request.Topic),
            RefusalCode.UnexpectedOffset =>
                Refusal.UnexpectedOffset(target.Name, request.ExpectedOffset ?? 0, (long)result.Expected),
            RefusalCode.MessageTooLarge => Refusal.MessageTooLarge(request.Topic, (long)result.Expected),
            RefusalCode.TooManyDelayed => Refusal.TooManyDelayed(request.Topic),
            RefusalCode.TooManyProducers => Refusal.TooManyProducers(target.Name, request.Producer.Id),
            RefusalCode.PartitionsChanged => Refusal.PartitionsChanged(request.Topic),
            RefusalCode.PartlyStored => Refusal.PartlyStored(target.Name),
            RefusalCode.InvalidArgument =>
                Refusal.InvalidArgument("producer.sequence plus the batch's records is beyond 2^64."),
            _ => throw new InvariantException($"Broken invariant: a publish is refused with {result.Code}"),
        };
}

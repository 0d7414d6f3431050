using Broker.Diagnostics;
using Broker.Domain;
using Broker.Groups;
using Broker.Protocol.Wire;
using Broker.Replication;
using Broker.State;
using Broker.Topics;

namespace Broker.Api;

/// <summary>
/// Several publishes that are stored together, and records that are finished with them, on their way: one command for
/// the log when this node leads their shard, a request to the leader when not.
/// </summary>
internal sealed class AtomicCall : Proposal, IForwardedCall
{
    private readonly AtomicTarget[] _parts;
    private readonly FinishedRecords _finished;
    private readonly LeaderDirectory _leaders;
    private readonly BrokerMetrics _metrics;
    private readonly int _partsBytes;
    private readonly TaskCompletionSource<PublishAtomicResponse> _answer = new(
        TaskCreationOptions.RunContinuationsAsynchronously);

    public AtomicCall(
        GroupId group,
        AtomicTarget[] parts,
        FinishedRecords finished,
        LeaderDirectory leaders,
        BrokerMetrics metrics)
    {
        Group = group;
        _parts = parts;
        _finished = finished;
        _leaders = leaders;
        _metrics = metrics;
        _partsBytes = finished.Commands.Length + parts.Sum(static part => part.SizeBytes);
    }

    public GroupId Group { get; }

    public override int SizeBytes => CommandSequence.HeaderBytes + _partsBytes;

    public Task<PublishAtomicResponse> Answer => _answer.Task;

    public override void Encode(Span<byte> destination)
    {
        var kind = _finished.Orders.Count > 0 ? CommandKind.PublishAndSettle : CommandKind.PublishAtomic;
        var written = AtomicCommands.WriteHeader(destination, kind, _partsBytes);
        _finished.Commands.Span.CopyTo(destination[written..]);
        written += _finished.Commands.Length;
        foreach (var part in _parts)
        {
            written += part.Encode(destination[written..]);
        }
    }

    public override void Complete(in CommandResult result)
    {
        if (result.Code != RefusalCode.None)
        {
            if (result.Part == GroupProgressModule.SettlingPart)
            {
                Fail(result.Code == RefusalCode.LeaseLost
                    ? _finished.Lost(result.Topic, result.BaseOffset)
                    : Refusal.TooManyHoles());
                return;
            }

            var refused = _parts[result.Part];
            Fail(Refusal.OfPart(
                PublishCall.Describe(result, refused.Request, refused.Target, refused.Count), result.Part));
            return;
        }

        var response = new PublishAtomicResponse { Duplicate = result.Duplicate };
        foreach (var (at, part) in _parts.Index())
        {
            if (!result.Duplicate)
            {
                _metrics.Published(part.Count, part.Request.Batch.Length);
            }

            response.Parts.Add(part.Target.ToResponse(result.Parts![at], _leaders.Self));
        }

        _answer.TrySetResult(response);
    }

    public override void Fail(BrokerException refusal)
    {
        _metrics.Refused(refusal.Code);
        _answer.TrySetException(refusal);
    }
}

/// <summary>One of several publishes, and where it goes.</summary>
internal sealed class AtomicTarget(PublishRequest request, in PublishTarget target, BatchScan batch)
{
    public PublishRequest Request => request;

    public PublishTarget Target { get; } = target;

    /// <summary>Records in the batch.</summary>
    public int Count => batch.Count;

    public int SizeBytes { get; } = TopicCommands.PublishSizeBytes(
        target.Name, request.Batch.Length, request.ExpectedOffset, target.Number, batch.MayBeDelayed);

    public int Encode(Span<byte> into) => PublishCall.Encode(into, request, Target, batch);
}

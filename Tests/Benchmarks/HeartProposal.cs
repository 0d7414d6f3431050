using System.Diagnostics;
using Broker.Domain;
using Broker.Replication;
using Broker.Topics;

namespace Broker.Tests.Benchmarks;

/// <summary>
/// One publish that proposes itself again as soon as it is committed and applied, until its load ends: what a caller
/// with so many unanswered commands does, without a thread between answer and next command.
/// </summary>
internal sealed class HeartProposal(HeartLoad load, ReplicaGroup group, byte[] batch, int records) : Proposal
{
    private readonly int _sizeBytes = TopicCommands.PublishSizeBytes(HeartLoad.Topic, batch.Length);
    private long _sentAt;

    public override int SizeBytes => _sizeBytes;

    public void Send()
    {
        _sentAt = Stopwatch.GetTimestamp();
        group.Propose(this);
    }

    public override void Encode(Span<byte> destination) =>
        TopicCommands.WritePublish(destination, HeartLoad.Topic, PublishStamp.None, records, batch);

    public override void Complete(in CommandResult result)
    {
        if (load.Answered(records, Stopwatch.GetTimestamp() - _sentAt, isError: result.Code != RefusalCode.None))
        {
            Send();
        }
    }

    // A refused command is not sent again at once: a load that is refused would never let the loop go.
    public override void Fail(BrokerException refusal) => load.Answered(records, 0, isError: true);
}

using System.Buffers;
using Broker.Domain;
using Broker.Replication;
using Broker.Topics;

namespace Broker.Tests.Simulation;

/// <summary>One attempt to purge a topic of all that it holds when the purge is applied.</summary>
internal sealed class PurgeProposal : Proposal
{
    private readonly ReplicaNode _node;
    private readonly ArrayBufferWriter<byte> _command = new();

    public PurgeProposal(ReplicaNode node, string topic)
    {
        _node = node;
        TopicCommands.WritePurgeTopic(_command, topic, beforeOffset: -1);
    }

    public override int SizeBytes => _command.WrittenCount;

    public override void Encode(Span<byte> destination) => _command.WrittenSpan.CopyTo(destination);

    public override void Complete(in CommandResult result) => _node.CountPurge();

    public override void Fail(BrokerException refusal) => _node.NoteRefusal(refusal);
}

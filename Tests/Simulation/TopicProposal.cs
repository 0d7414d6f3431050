using Broker.Domain;
using Broker.Replication;

namespace Broker.Tests.Simulation;

/// <summary>One attempt to have a command carried out that is encoded already.</summary>
internal sealed class TopicProposal(
    ReplicaNode node, byte[] command, long? number, Action<CommandResult?, BrokerException?> answer) : Proposal
{
    public override int SizeBytes => command.Length;

    public override void Encode(Span<byte> destination) => command.CopyTo(destination);

    public override void Complete(in CommandResult result)
    {
        if (number is { } stored && result.Code == RefusalCode.None)
        {
            node.Acknowledge(stored);
        }

        answer(result, null);
    }

    public override void Fail(BrokerException refusal)
    {
        node.NoteRefusal(refusal);
        answer(null, refusal);
    }
}

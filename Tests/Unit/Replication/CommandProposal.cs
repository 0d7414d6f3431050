using Broker.Domain;
using Broker.Replication;

namespace Broker.Tests.Unit.Replication;

/// <summary>A command whose fate a test looks at.</summary>
internal sealed class CommandProposal(byte[] command) : Proposal
{
    public CommandResult? Result { get; private set; }

    public BrokerException? Refusal { get; private set; }

    public bool IsAnswered => Result is not null || Refusal is not null;

    public override int SizeBytes => command.Length;

    public override void Encode(Span<byte> destination) => command.CopyTo(destination);

    public override void Complete(in CommandResult result) => Result = result;

    public override void Fail(BrokerException refusal) => Refusal = refusal;
}

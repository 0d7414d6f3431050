using Broker.Domain;
using Broker.Replication;

namespace Broker.Cluster;

/// <summary>A command given as bytes, for callers that await its fate: metadata changes, not the hot path.</summary>
internal sealed class EncodedProposal(ReadOnlyMemory<byte> command) : Proposal
{
    private readonly TaskCompletionSource<CommandResult> _done = new(
        TaskCreationOptions.RunContinuationsAsynchronously);

    public Task<CommandResult> Done => _done.Task;

    public override int SizeBytes => command.Length;

    public override void Encode(Span<byte> destination) => command.Span.CopyTo(destination);

    public override void Complete(in CommandResult result) => _done.TrySetResult(result);

    public override void Fail(BrokerException refusal) => _done.TrySetException(refusal);
}

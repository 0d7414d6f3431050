using Broker.Consensus;
using Broker.Domain;

namespace Broker.Tests.Unit.Consensus;

/// <summary>What one Ready asks to make durable. The Ready itself is the node's, and changes with the next.</summary>
internal sealed class ScriptWrite(Ready ready, IReadOnlyList<Term> terms)
{
    private readonly LogIndex? _noop = ready.Noop;

    public long Sequence { get; } = ready.PersistSequence;

    public HardState? HardState { get; } = ready.HardState;

    public GroupConfiguration? Configuration { get; } = ready.Configuration;

    public GroupConfiguration? PreviousConfiguration { get; } = ready.PreviousConfiguration;

    public LogPosition? Fence { get; } = ready.Fence;

    public LogPosition? Snapshot { get; } = ready.Snapshot;

    public LogIndex? TruncateFrom { get; } = ready.TruncateFrom;

    public LogIndex First { get; } = ready.AppendFirst;

    public IReadOnlyList<Term> Terms { get; } = terms;

    public override string ToString() =>
        (HardState is { } state ? $" {ScriptDisk.Describe(state)}" : "")
        + (Configuration is { } members ? $" members {ScriptText.Members(members)}" : "")
        + (PreviousConfiguration is { } previous ? $" (before: {ScriptText.Members(previous)})" : "")
        + (Fence is { } fence ? fence == LogPosition.None ? " fence lifted" : $" fence {fence}" : "")
        + (Snapshot is { } snapshot ? $" snapshot {snapshot}" : "")
        + (TruncateFrom is { } from ? $" truncate from {from}" : "")
        + (Terms.Count > 0 ? $" append {ScriptText.Entries(First, Terms)}" : "")
        + (_noop is { } noop ? $" no-op {noop}" : "");
}

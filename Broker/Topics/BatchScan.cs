using System.Diagnostics.CodeAnalysis;
using Broker.Domain;

namespace Broker.Topics;

/// <summary>What a scan of a record batch found.</summary>
/// <param name="Count">Its records; 0 when it is refused.</param>
/// <param name="Code">
/// None, InvalidArgument (malformed or empty) or ResourceExhausted (above a limit).
/// </param>
/// <param name="Reason">Which record breaks which rule, as a sentence for the producer.</param>
/// <param name="MayBeDelayed">Some record says when it is to be delivered.</param>
public readonly record struct BatchScan(int Count, RefusalCode Code, string? Reason, bool MayBeDelayed = false)
{
    [MemberNotNullWhen(false, nameof(Reason))]
    public bool IsValid => Code == RefusalCode.None;
}

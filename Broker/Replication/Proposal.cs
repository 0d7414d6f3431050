using Broker.Domain;

namespace Broker.Replication;

/// <summary>
/// A command that a caller wants in a group's log, and what to do when its fate is known. The callbacks run on the
/// replication loop's thread: they hand the answer on and return at once.
/// </summary>
public abstract class Proposal
{
    /// <summary>Stopwatch timestamp of the moment the caller handed it over; for the commit latency.</summary>
    internal long EnqueuedAt { get; set; }

    /// <summary>Bytes that <see cref="Encode"/> writes.</summary>
    public abstract int SizeBytes { get; }

    /// <summary>Writes the command, with its length prefix, into exactly <see cref="SizeBytes"/> bytes.</summary>
    public abstract void Encode(Span<byte> destination);

    /// <summary>The command is committed and applied; the result may still be a refusal by the state machine.</summary>
    public abstract void Complete(in CommandResult result);

    /// <summary>The command was not taken, or its outcome is unknown: the exception's code says which.</summary>
    public abstract void Fail(BrokerException refusal);
}

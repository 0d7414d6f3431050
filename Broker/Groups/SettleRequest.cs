namespace Broker.Groups;

internal enum SettleKind
{
    /// <summary>Finished: never again.</summary>
    Ack,

    /// <summary>Again, after a delay.</summary>
    Nack,

    /// <summary>Not at all: a dead letter.</summary>
    Terminate,

    /// <summary>Not yet: the lease is to be longer.</summary>
    Extend,
}

/// <param name="Id">Comes back in the answer.</param>
/// <param name="Kind">What is to become of the records.</param>
/// <param name="Token">Names them.</param>
/// <param name="DelayMs">
/// Of Nack: how long they wait; null: as the settings say. Of Extend: how long the lease holds from now on; null: the
/// group's ack wait.
/// </param>
/// <param name="Reason">Of Terminate.</param>
internal readonly record struct SettleRequest(
    long Id, SettleKind Kind, DeliveryToken Token, long? DelayMs = null, string? Reason = null);

/// <param name="Id">Of the request.</param>
/// <param name="Lost">How many of its records were not the consumer's any more; they come again.</param>
internal readonly record struct SettleAnswer(long Id, int Lost);

/// <summary>A record that is to become a dead letter.</summary>
/// <param name="Topic">Its topic's number.</param>
/// <param name="Turn">See <see cref="GroupProgress.Turn"/>.</param>
/// <param name="Offset">Its offset.</param>
/// <param name="Attempts">How often it was delivered.</param>
/// <param name="Reason">In the consumer's words; null: it was delivered too often.</param>
internal readonly record struct DyingRecord(int Topic, int Turn, long Offset, int Attempts, string? Reason);
